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
const levels = 4

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
	ins = append(ins, find(f, groups)...)
	ins = append(ins, tell(events)...)
	ins = append(ins, asm.Mov.Imm(asm.R0, 0).WithSymbol("out"), asm.Return())
	spec.Instructions = ins
	return spec, f.err
}

// find looks for a watched group, beginning with the task_group in R6. It leaves the map's value in R9, the
// group's id at fp-8, and goes out if there is none.
func find(f *fields, groups *ebpf.Map) asm.Instructions {
	var ins asm.Instructions
	for level := range levels {
		next := fmt.Sprintf("above%d", level)
		at := asm.JEq.Imm(asm.R6, 0, "out")
		if level > 0 {
			at = at.WithSymbol(fmt.Sprintf("above%d", level-1))
		}
		last := level == levels-1
		if last {
			next = "out"
		}
		ins = append(ins, at,
			asm.LoadMem(asm.R7, asm.R6, f.at("task_group", "css", "cgroup"), asm.DWord),
			asm.JEq.Imm(asm.R7, 0, "out"), // an autogroup
			asm.LoadMem(asm.R7, asm.R7, f.at("cgroup", "kn"), asm.DWord),
			asm.LoadMem(asm.R7, asm.R7, f.at("kernfs_node", "id"), asm.DWord),
			asm.StoreMem(asm.RFP, -8, asm.R7, asm.DWord),
			asm.LoadMapPtr(asm.R1, groups.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -8),
			asm.FnMapLookupElem.Call(),
			asm.Mov.Reg(asm.R9, asm.R0))
		if last {
			ins = append(ins, asm.JEq.Imm(asm.R9, 0, next))
			continue
		}
		ins = append(ins,
			asm.JNE.Imm(asm.R9, 0, "found"),
			asm.LoadMem(asm.R6, asm.R6, f.at("task_group", "parent"), asm.DWord))
	}
	return ins
}

// tell sends an event, unless one was sent just before. R9 is the group's value, fp-8 its id.
func tell(events *ebpf.Map) asm.Instructions {
	return asm.Instructions{
		asm.FnKtimeGetNs.Call().WithSymbol("found"),
		asm.LoadMem(asm.R1, asm.R9, 0, asm.DWord),
		asm.Mov.Reg(asm.R2, asm.R0),
		asm.Sub.Reg(asm.R2, asm.R1),
		asm.JLT.Imm(asm.R2, int32(quietTime.Nanoseconds()), "out"),
		asm.StoreMem(asm.R9, 0, asm.R0, asm.DWord),
		asm.StoreMem(asm.RFP, -16, asm.R0, asm.DWord), // and the id at fp-8: an event
		asm.LoadMapPtr(asm.R1, events.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -eventBytes),
		asm.Mov.Imm(asm.R3, eventBytes),
		asm.Mov.Imm(asm.R4, forceWakeup),
		asm.FnRingbufOutput.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.LoadMem(asm.R1, asm.R9, 8, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R9, 8, asm.R1, asm.DWord),
	}
}
