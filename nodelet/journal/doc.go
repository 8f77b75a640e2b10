// Package journal keeps a node's metering segments in a file until the control plane has them.
//
// The file is a log of frames (internal/framelog), one per group of changes that were made durable together;
// a body is a list of records in JSON. Damage is an error that says where: dropping a frame would lose
// billable time.
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
//   - A segment ends with its day, UTC, and goes on as another of the same size, some minutes after midnight, so that
//     ends before midnight that are told late are still known.
package journal
