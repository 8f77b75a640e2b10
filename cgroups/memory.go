package cgroups

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	return fmt.Sprintf("cgroup %s: %d bytes of memory are in use, more than the limit of %d allows", e.Path, e.Usage, e.Limit)
}

// A shrink asks the kernel to reclaim this often, with a wait in between that gives a process the time to
// release something.
const (
	reclaims    = 20
	reclaimWait = 10 * time.Millisecond
)

// maxRoom bounds what a limit on version 2 keeps free at first, for what processes take between the
// look at the usage and the write of the limit; memory.high slows them down meanwhile.
const maxRoom = 16 << 20

// SetMemory sets the memory limit in bytes, rounded down to whole pages, or Unlimited. It never makes the
// kernel kill: a limit that is below the usage is brought about by reclaiming, and given up with a
// MemoryInUseError if it can't be. A limit of version 1 on memory and swap together stays as far above;
// memory.high is lifted at first, and is for the caller to set again.
func (g *Group) SetMemory(ctx context.Context, limit int64) error {
	if err := g.Lift(); err != nil {
		return err
	}
	return g.setMemory(ctx, limit, 0)
}

// setMemory sets memory.high along with the limit, after it.
func (g *Group) setMemory(ctx context.Context, limit, high int64) error {
	if limit < 0 && limit != Unlimited {
		return fmt.Errorf("cgroup %s: memory limit of %d bytes", g.path, limit)
	}
	limit, high = wholePages(limit), wholePages(high)
	was, err := g.memoryLimit()
	if err != nil {
		return err
	}
	if g.h.version == 1 {
		return g.setMemoryV1(ctx, was, limit)
	}
	q, err := g.memoryQoS()
	if err != nil {
		return err
	}
	if smaller(limit, was) {
		return g.shrinkV2(ctx, limit, q.High, high)
	}
	if limit != was {
		err = g.writeV2(limit)
	}
	if err != nil || high == q.High {
		return err
	}
	return g.setHigh(high)
}

func wholePages(bytes int64) int64 {
	if bytes == Unlimited {
		return bytes
	}
	return bytes / pageSize * pageSize
}

func (g *Group) writeV2(limit int64) error {
	if limit == Unlimited {
		return g.set(Memory, g.memoryFile(), "max")
	}
	return g.setInt(Memory, g.memoryFile(), limit)
}

// shrinkV2 reclaims until the usage allows the limit. memory.reclaim leaves no trace, should this process
// be killed; a kernel before 5.19 lacks it, and memory.high, which reclaims too, does its work. Afterwards
// memory.high is what it shall be, or what it was if the limit can't be had.
func (g *Group) shrinkV2(ctx context.Context, limit, wasHigh, high int64) error {
	room := min(limit/32, maxRoom)
	for attempt, reclaimed := 0, false; ; attempt++ {
		usage, err := g.readInt(Memory, "memory.current")
		if err != nil {
			return err
		}
		if reclaimed || usage <= limit-room/2 {
			err := g.commitV2(limit, room)
			next := high
			if err != nil {
				next = wasHigh
			}
			ended := g.setHigh(next)
			var inUse *MemoryInUseError
			if ended != nil || !errors.As(err, &inUse) {
				return errors.Join(err, ended)
			}
			usage = inUse.Usage
		}
		if attempt == reclaims {
			return &MemoryInUseError{g.path, limit, usage}
		}
		err = g.write(Memory, "memory.reclaim", strconv.FormatInt(max(usage-limit+room, pageSize), 10))
		goOn := ctx.Err() == nil
		switch {
		case err == nil:
			reclaimed = true
		case errors.Is(err, fs.ErrNotExist):
			reclaimed, goOn = true, pause(ctx)
		case errors.Is(err, syscall.EAGAIN): // less than was asked for
			reclaimed, goOn = false, pause(ctx)
		default:
			return err
		}
		if !goOn {
			return &MemoryInUseError{g.path, limit, usage}
		}
	}
}

// commitV2 writes a limit that the usage allows. memory.high slows processes down that take more
// meanwhile, and makes them reclaim, but never kills. The caller gives memory.high back.
func (g *Group) commitV2(limit, room int64) error {
	if err := g.write(Memory, "memory.high", strconv.FormatInt(limit-room, 10)); err != nil {
		return err
	}
	usage, err := g.readInt(Memory, "memory.current")
	if err != nil {
		return err
	}
	if usage > limit-room/2 {
		return &MemoryInUseError{g.path, limit, usage}
	}
	return g.writeV2(limit)
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
