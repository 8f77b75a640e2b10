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
// compiler and no headers are needed. They look up the task's group, and up to seven groups above it, in a map of
// those that are watched; a task that isn't stopped costs one look at a field. With nothing opened, nothing is
// loaded. Pressure stall information would be a fourth way, but where there are quotas there is cpu.stat, which says
// the same without a threshold.
package throttle
