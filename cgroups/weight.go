package cgroups

import (
	"fmt"
	"strconv"
	"syscall"
)

// Weight is a group's CPU weight with its file held open, for whoever changes it together with a Quota. It belongs to
// one goroutine.
type Weight struct {
	fd    int
	v2    bool
	group string
	buf   [24]byte
}

// OpenWeight opens the group's weight. It stays valid as long as the group does.
func (g *Group) OpenWeight() (*Weight, error) {
	file := "cpu.shares"
	if g.h.version == 2 {
		file = "cpu.weight"
	}
	fd, err := g.openToWrite(CPU, file)
	if err != nil {
		return nil, err
	}
	return &Weight{fd: fd, v2: g.h.version == 2, group: g.path}, nil
}

// Set writes the weight of so many shares, as SetCPU does. It neither allocates nor looks at what the kernel holds
// afterwards; of a group that is gone the error is fs.ErrNotExist.
func (w *Weight) Set(shares uint64) error {
	value := min(max(shares, minShares), maxShares)
	if w.v2 {
		value = WeightOf(shares)
	}
	b := strconv.AppendUint(w.buf[:0], value, 10)
	if _, err := retry(func() (int, error) { return syscall.Pwrite(w.fd, b, 0) }); err != nil {
		return fmt.Errorf("cgroup %s: CPU weight of %d shares: %w", w.group, shares, pathError("write", "", err))
	}
	return nil
}

// Close lets go of the file. The weight stays.
func (w *Weight) Close() error { return syscall.Close(w.fd) }
