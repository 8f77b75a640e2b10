// Package cgroups writes and reads control groups, version 1 and 2, by their files.
//
// A Hierarchy is where the kernel has its controllers; a Group is a path in it. Limits are written
// directly, checked by reading back, and changed in place in the order that the kernel accepts: a child's
// CPU quota may never be above its parent's, a memory limit below what is in use is refused (v1) or would
// kill (v2) and so is brought about step by step, and a change of several groups that fails half-way is
// undone. What a group uses is read as Stats.
//
// The groups that limits are set for belong to this package alone: on version 2 memory.high is a stage of a
// shrink and limits nothing at rest.
//
// On a host with both versions mounted, version 1 is used if it has the memory controller.
package cgroups
