// Package journal keeps a node's metering segments in a file until the control plane has them.
//
// The file begins with a line that names its format and goes on with frames, one per group of changes that
// were made durable together, by one sync:
//
//	mark, 4 bytes | length of the body, 4 bytes | CRC-32C of the body, 4 bytes | body: JSON, a list of records
//
// A frame is written when the one before it is on the disk. So a crash can only leave the last one torn;
// nobody was told of what is in it, and it is cut off at the next start. A frame that can't be read although
// a readable one follows is damage, and an error that says where: dropping it would lose billable time.
//
// Acknowledgements are written along with the next frame. One that a crash forgets is asked for again, and
// the control plane knows a segment that it has by its ID.
//
// # Time
//
// All boundaries are whole milliseconds of one clock (bootclock), which is kept in the journal and is level
// with the wall clock whenever the first pod of an idle node starts. Segments of a pod abut exactly, always:
//
//   - A restart of the nodelet, however long, is no boundary at all.
//   - Containers don't outlive their host. While anything is open the journal notes once a minute that time
//     goes on; after a boot, every segment of the boot before ends at the last time that was noted, and a
//     segment of no size (0 milli-CPU, 0 bytes), which costs nothing, stands for the time until the pod
//     starts again or is stopped.
//   - A pod that starts again after a stop has such a segment in between.
package journal
