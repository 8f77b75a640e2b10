// Package throttle tells, within tens of microseconds, that the kernel has stopped tasks of a control group
// because its CPU quota is used up.
//
// There are several ways to know, and the first that the host allows is taken:
//
//	fentry        an eBPF program at the entry of throttle_cfs_rq, where the kernel stops a group
//	sched_switch  an eBPF program at the tracepoint of a task switch, which looks whether the task that leaves
//	              the CPU does so because its group is stopped
//	poll          cpu.stat of each watched group, every few milliseconds
//
// The eBPF programs are written with the assembler and find the kernel's fields by its own BTF, so that no
// compiler and no headers are needed. They look up the group, and up to three groups above it, in a map of
// those that are watched; all others cost that look and nothing else. With nothing opened, nothing is loaded.
package throttle
