package throttle

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// onRaisedThread runs f on a thread of its own that comes before others, and waits for its end.
func onRaisedThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine, its priority with it
		raise()
		result <- f()
	}()
	return <-result
}

// raise has the calling thread run before others. Where neither is allowed it runs as they do. What it starts doesn't
// inherit that.
func raise() {
	fifo := unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK,
	}
	if unix.SchedSetAttr(0, &fifo, 0) != nil {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -20)
	}
}

// Rerun has the scheduler of a CPU choose anew who runs there, by its own rules: whoever runs keeps the CPU for its time
// slice otherwise, also when a task that has more claim to it may run again. The calling thread, which comes before
// all of them, goes there and back to rest. It is for what Watcher.Run calls; elsewhere it does nothing of use.
func Rerun(cpu int) {
	var allowed, there unix.CPUSet
	if cpu < 0 || unix.SchedGetaffinity(0, &allowed) != nil || !allowed.IsSet(cpu) {
		return
	}
	there.Set(cpu)
	if unix.SchedSetaffinity(0, &there) == nil {
		_ = unix.SchedSetaffinity(0, &allowed) // was allowed before
	}
}
