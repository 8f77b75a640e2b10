// Package journal keeps a node's metering segments in a file until the control plane has them.
//
// The file is a row of records, appended and synced before anybody is told:
//
//	length, 4 bytes | CRC-32C of the body, 4 bytes | body: JSON of one record
//
// A record starts a pod's segment, ends it (or both at one instant: a resize), acknowledges segments, or
// holds the clock's anchor. Those that wait at the same time share one sync. A torn record at the end is
// what a crash leaves of a write that nobody was told of; it is cut off. Damage anywhere else is an error
// that says where, since dropping it would lose billable time. When most of the file is settled it is
// written anew beside it and put in its place.
package journal
