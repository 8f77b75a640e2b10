package throttle

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// Flags of the kernel's (linux/bpf.h).
const (
	noPrealloc  = 1      // BPF_F_NO_PREALLOC
	forceWakeup = 1 << 1 // BPF_RB_FORCE_WAKEUP
)

// levels is how many groups, from a task's own upwards, are looked up.
const levels = 8

// program is what a rung runs in the kernel.
func program(rung Rung, kernel *btf.Spec, groups, events *ebpf.Map) (*ebpf.ProgramSpec, error) {
	f := &fields{kernel: kernel}
	spec := &ebpf.ProgramSpec{Name: "swell_throttle", Type: ebpf.Tracing, License: "GPL"}
	var ins asm.Instructions
	switch rung {
	case Fentry: // (struct cfs_rq *)
		spec.AttachType, spec.AttachTo = ebpf.AttachTraceFEntry, "throttle_cfs_rq"
		ins = asm.Instructions{asm.LoadMem(asm.R6, asm.R1, 0, asm.DWord)}
	default: // (bool preempt, struct task_struct *prev, struct task_struct *next, …)
		spec.AttachType, spec.AttachTo = ebpf.AttachTraceRawTp, "sched_switch"
		ins = asm.Instructions{asm.LoadMem(asm.R6, asm.R1, 8, asm.DWord)}
		if f.has("task_struct", "throttled") { // since Linux 6.18, where a task is stopped on its way to user space
			ins = append(ins,
				asm.LoadMem(asm.R2, asm.R6, f.at("task_struct", "throttled"), asm.Byte),
				asm.JEq.Imm(asm.R2, 0, "out"),
				asm.LoadMem(asm.R6, asm.R6, f.at("task_struct", "se", "cfs_rq"), asm.DWord))
		} else { // of the group or one above it
			ins = append(ins,
				asm.LoadMem(asm.R6, asm.R6, f.at("task_struct", "se", "cfs_rq"), asm.DWord),
				asm.LoadMem(asm.R2, asm.R6, f.at("cfs_rq", "throttle_count"), asm.Word),
				asm.JEq.Imm(asm.R2, 0, "out"))
		}
	}
	ins = append(ins, asm.LoadMem(asm.R6, asm.R6, f.at("cfs_rq", "tg"), asm.DWord))
	ins = append(ins, climb(f, groups, events)...)
	ins = append(ins, asm.Mov.Imm(asm.R0, 0).WithSymbol("out"), asm.Return())
	spec.Instructions = ins
	return spec, f.err
}

// climb goes up from the task_group in R6 and tells of each group that is watched.
func climb(f *fields, groups, events *ebpf.Map) asm.Instructions {
	var ins asm.Instructions
	for level := range levels {
		above := fmt.Sprintf("above%d", level)
		if level == levels-1 {
			above = "out"
		}
		if level > 0 {
			parent := asm.LoadMem(asm.R6, asm.R6, f.at("task_group", "parent"), asm.DWord)
			ins = append(ins, parent.WithSymbol(fmt.Sprintf("above%d", level-1)))
		}
		ins = append(ins,
			asm.JEq.Imm(asm.R6, 0, "out"), // above the root
			asm.LoadMem(asm.R7, asm.R6, f.at("task_group", "css", "cgroup"), asm.DWord),
			asm.JEq.Imm(asm.R7, 0, "out"), // an autogroup
			asm.LoadMem(asm.R7, asm.R7, f.at("cgroup", "kn"), asm.DWord),
			asm.LoadMem(asm.R7, asm.R7, f.at("kernfs_node", "id"), asm.DWord),
			asm.StoreMem(asm.RFP, -8, asm.R7, asm.DWord),
			asm.LoadMapPtr(asm.R1, groups.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -8),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, above),
			asm.Mov.Reg(asm.R9, asm.R0))
		ins = append(ins, tell(events, above)...)
	}
	return ins
}

// tell sends an event, unless one was sent just before, and goes on at the label. R9 is the group's value in the
// map, fp-8 its id.
func tell(events *ebpf.Map, next string) asm.Instructions {
	return asm.Instructions{
		asm.FnKtimeGetNs.Call(),
		asm.LoadMem(asm.R1, asm.R9, 0, asm.DWord),
		asm.Mov.Reg(asm.R2, asm.R0),
		asm.Sub.Reg(asm.R2, asm.R1),
		asm.JLT.Imm(asm.R2, int32(quietTime.Nanoseconds()), next),
		asm.StoreMem(asm.R9, 0, asm.R0, asm.DWord),
		asm.StoreMem(asm.RFP, -16, asm.R0, asm.DWord),
		asm.FnGetSmpProcessorId.Call(),
		asm.StoreMem(asm.RFP, -24, asm.R0, asm.DWord), // and the id at fp-8: an event
		asm.LoadMapPtr(asm.R1, events.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -eventBytes),
		asm.Mov.Imm(asm.R3, eventBytes),
		asm.Mov.Imm(asm.R4, forceWakeup),
		asm.FnRingbufOutput.Call(),
		asm.JEq.Imm(asm.R0, 0, next),
		asm.Mov.Imm(asm.R1, 1),
		asm.AddAtomic.Mem(asm.R9, asm.R1, asm.DWord, 8), // lost; other CPUs may count one at the same time
	}
}
