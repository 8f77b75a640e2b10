package cgroups

import (
	"fmt"
	"strconv"
	"syscall"
)

// Quota is a group's CPU quota with its file held open, for whoever changes it often: a write takes one to two
// microseconds, where SetCPU takes tens of them. It belongs to one goroutine.
type Quota struct {
	fd    int
	v2    bool
	group string
	buf   [48]byte
}

// OpenQuota opens the group's quota. It stays valid as long as the group does.
func (g *Group) OpenQuota() (*Quota, error) {
	file := "cpu.cfs_quota_us"
	if g.h.version == 2 {
		file = "cpu.max"
	}
	fd, err := g.openToWrite(CPU, file)
	if err != nil {
		return nil, err
	}
	return &Quota{fd: fd, v2: g.h.version == 2, group: g.path}, nil
}

func (g *Group) openToWrite(controller, file string) (fd int, err error) {
	path := g.dir(controller) + "/" + file
	fd, err = retry(func() (int, error) { return syscall.Open(path, syscall.O_WRONLY|syscall.O_CLOEXEC, 0) })
	if err != nil {
		return -1, wrap(g, pathError("open", path, err))
	}
	return fd, nil
}

// Set writes µs of CPU per Period, or Unlimited. It neither allocates nor looks at what the kernel holds
// afterwards; of a group that is gone the error is fs.ErrNotExist.
func (q *Quota) Set(quota int64) error {
	b := q.buf[:0]
	switch {
	case q.v2 && quota == Unlimited:
		b = append(b, "max "...)
	case q.v2:
		b = append(strconv.AppendInt(b, quota, 10), ' ')
	default:
		b = strconv.AppendInt(b, quota, 10)
	}
	if q.v2 { // without its quota the period would reset the limit, so both are written
		b = strconv.AppendInt(b, Period, 10)
	}
	if _, err := retry(func() (int, error) { return syscall.Pwrite(q.fd, b, 0) }); err != nil {
		return fmt.Errorf("cgroup %s: CPU quota of %d µs: %w", q.group, quota, pathError("write", "", err))
	}
	return nil
}

// Close lets go of the file. The quota stays.
func (q *Quota) Close() error { return syscall.Close(q.fd) }
