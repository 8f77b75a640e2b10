package cgroups

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// GuardMemory has processes that come to the group's memory limit wait for a higher one instead of being killed,
// until UnguardMemory, which whoever guards must be there to call.
//
// On version 2 that is memory.high, room bytes below the limit: the kernel stops what takes more, the longer the
// further it is above, so that the limit itself is seconds away. Caches are reclaimed there. On version 1 the
// kernel's OOM killer is switched off for the group: at the limit, page faults wait; a system call that needs memory
// for itself fails with ENOMEM.
func (g *Group) GuardMemory(room int64) error {
	if g.h.version == 1 {
		return g.write(Memory, oomControlFile, "1")
	}
	limit, err := g.memoryLimit()
	if err != nil || limit == Unlimited {
		return err
	}
	return g.write(Memory, "memory.high", strconv.FormatInt(wholePages(max(limit-room, pageSize)), 10))
}

// UnguardMemory has the kernel kill again at the limit, what waits there included. On version 2 memory.high is what it
// shall be without a guard; 0: none.
func (g *Group) UnguardMemory(high int64) error {
	if g.h.version == 1 {
		return g.write(Memory, oomControlFile, "0")
	}
	return g.setHigh(high)
}

const oomControlFile = "memory.oom_control"

// MemoryAlarm is readable when a group has come near to its memory limit.
type MemoryAlarm struct {
	fds []int
	v2  bool
}

// OpenMemoryAlarm watches the group. On version 2 the alarm is for it and all groups in it, each at its guard
// (memory.events). On version 1 it is for the group alone: when its usage passes near, in bytes, and when it waits at
// its limit.
func (g *Group) OpenMemoryAlarm(near int64) (*MemoryAlarm, error) {
	a := &MemoryAlarm{v2: g.h.version == 2}
	if a.v2 {
		path := g.dir(Memory) + "/memory.events"
		fd, err := retry(func() (int, error) { return syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0) })
		if err != nil {
			return nil, wrap(g, pathError("open", path, err))
		}
		a.fds = []int{fd}
		_, err = a.Clear(fd)
		return a, err
	}
	for _, of := range []struct{ file, args string }{
		{oomControlFile, ""},
		{"memory.usage_in_bytes", strconv.FormatInt(max(wholePages(near), pageSize), 10)},
	} {
		if err := g.addEvent(a, of.file, of.args); err != nil {
			return nil, errors.Join(err, a.Close())
		}
	}
	return a, nil
}

// AlarmsBelow reports whether an alarm of the group is one of all groups in it as well.
func (g *Group) AlarmsBelow() bool { return g.h.version == 2 }

// MemoryUse is what a group uses.
type MemoryUse struct {
	Working int64 // bytes, without inactive file pages
	Waits   bool  // something waits at the limit for a guard's sake
}

// MemoryUse reads what the group uses.
func (g *Group) MemoryUse() (MemoryUse, error) {
	var u MemoryUse
	file, inactive := "memory.current", "inactive_file"
	if g.h.version == 1 {
		file, inactive = "memory.usage_in_bytes", "total_inactive_file"
		control, err := g.readFields(Memory, oomControlFile)
		if err != nil {
			return u, err
		}
		u.Waits = control["under_oom"] != 0
	}
	used, err := g.readInt(Memory, file)
	if err != nil {
		return u, err
	}
	stat, err := g.readFields(Memory, "memory.stat")
	u.Working = max(used-stat[inactive], 0)
	return u, err
}

// addEvent has the kernel count events of a file of version 1 (cgroup.event_control).
func (g *Group) addEvent(a *MemoryAlarm, file, args string) error {
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return wrap(g, err)
	}
	a.fds = append(a.fds, event)
	path := g.dir(Memory) + "/" + file
	fd, err := retry(func() (int, error) { return syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0) })
	if err != nil {
		return wrap(g, pathError("open", path, err))
	}
	err = g.write(Memory, "cgroup.event_control", fmt.Sprintf("%d %d %s", event, fd, args))
	return errors.Join(err, syscall.Close(fd)) // the kernel holds what it needs of it
}

// Files are what to poll: for POLLPRI on version 2, for POLLIN on version 1.
func (a *MemoryAlarm) Files() (fds []int, events uint32) {
	if a.v2 {
		return a.fds, unix.EPOLLPRI
	}
	return a.fds, unix.EPOLLIN
}

// Clear readies one of the files for the next alarm. It reports false when there was none.
func (a *MemoryAlarm) Clear(fd int) (alarmed bool, err error) {
	var b [512]byte
	if a.v2 { // having been read is what ends it
		_, err := retry(func() (int, error) { return syscall.Pread(fd, b[:], 0) })
		return true, pathError("read", "memory.events", err)
	}
	n, err := retry(func() (int, error) { return syscall.Read(fd, b[:8]) })
	if errors.Is(err, syscall.EAGAIN) {
		return false, nil
	}
	return err == nil && n == 8 && binary.NativeEndian.Uint64(b[:]) > 0, err
}

// Close ends the alarm.
func (a *MemoryAlarm) Close() error {
	var errs []error
	for _, fd := range a.fds {
		errs = append(errs, syscall.Close(fd))
	}
	a.fds = nil
	return errors.Join(errs...)
}
