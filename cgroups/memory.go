package cgroups

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"
)

// MemoryInUseError is a limit below what a group uses and doesn't give back. Nothing was changed.
type MemoryInUseError struct {
	Path         string
	Limit, Usage int64 // bytes
}

func (e *MemoryInUseError) Error() string {
	return fmt.Sprintf("cgroup %s: %d bytes of memory are in use, more than the limit of %d", e.Path, e.Usage, e.Limit)
}

// A shrink asks the kernel to reclaim this often, with a wait in between that gives a throttled process
// the time to release something.
const (
	reclaims    = 20
	reclaimWait = 10 * time.Millisecond
)

// SetMemory sets the memory limit in bytes, or Unlimited. It never makes the kernel kill: a limit that
// is below the usage is brought about by reclaiming, and given up with a MemoryInUseError if it can't be.
func (g *Group) SetMemory(ctx context.Context, limit int64) error {
	was, err := g.memoryLimit()
	if err != nil {
		return err
	}
	if limit == was {
		return nil
	}
	grows := limit == Unlimited || (was != Unlimited && limit > was)
	if grows {
		return g.writeMemory(limit)
	}
	if g.h.version == 1 {
		return g.shrinkV1(ctx, limit)
	}
	return g.shrinkV2(ctx, limit)
}

func (g *Group) writeMemory(limit int64) error {
	value := strconv.FormatInt(limit, 10)
	if limit == Unlimited && g.h.version == 2 {
		value = "max"
	}
	return g.write(Memory, g.memoryFile(), value)
}

// shrinkV1 lets the kernel reclaim: it refuses with EBUSY, and kills nobody, when it can't.
func (g *Group) shrinkV1(ctx context.Context, limit int64) error {
	for attempt := 0; ; attempt++ {
		err := g.writeMemory(limit)
		if !errors.Is(err, syscall.EBUSY) {
			return err
		}
		if attempt == reclaims || !pause(ctx) {
			usage, err := g.readInt(Memory, "memory.usage_in_bytes")
			if err != nil {
				return err
			}
			return &MemoryInUseError{g.path, limit, usage}
		}
	}
}

// shrinkV2 sets memory.high first, which slows the group down and reclaims but doesn't kill, and sets
// memory.max only once the usage is below it.
func (g *Group) shrinkV2(ctx context.Context, limit int64) error {
	high, err := g.read(Memory, "memory.high")
	if err != nil {
		return err
	}
	usage, err := g.readInt(Memory, "memory.current")
	if err != nil {
		return err
	}
	if usage < limit-limit/8 { // far enough below that no spike gets there between two lines
		return g.writeMemory(limit)
	}
	// The margin below the limit is for what a process allocates while the limit is written.
	if err := g.write(Memory, "memory.high", strconv.FormatInt(limit-limit/32, 10)); err != nil {
		return err
	}
	err = g.reclaimBelow(ctx, limit)
	if err == nil {
		err = g.writeMemory(limit)
	}
	return errors.Join(err, g.write(Memory, "memory.high", high))
}

func (g *Group) reclaimBelow(ctx context.Context, limit int64) error {
	for attempt := 0; ; attempt++ {
		usage, err := g.readInt(Memory, "memory.current")
		if err != nil {
			return err
		}
		if usage <= limit-limit/64 {
			return nil
		}
		if attempt == reclaims {
			return &MemoryInUseError{g.path, limit, usage}
		}
		// EAGAIN: less was reclaimed than asked for. A kernel before 5.19 has no such file; writing
		// memory.high has reclaimed already.
		err = g.write(Memory, "memory.reclaim", strconv.FormatInt(usage-limit+limit/32, 10))
		if err != nil && !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.ENOENT) {
			return err
		}
		if err != nil && !pause(ctx) {
			return &MemoryInUseError{g.path, limit, usage}
		}
	}
}

func pause(ctx context.Context) bool {
	timer := time.NewTimer(reclaimWait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
