package cgroups

import (
	"context"
	"errors"
	"io/fs"
	"strconv"
	"syscall"
)

// The limit and the usage of memory and swap together are absent where swap isn't counted.
const (
	swapFile      = "memory.memsw.limit_in_bytes"
	swapUsageFile = "memory.memsw.usage_in_bytes"
)

// setMemoryV1 moves both limits. The one of memory and swap may never be the smaller.
func (g *Group) setMemoryV1(ctx context.Context, was, limit int64) error {
	if limit == was {
		return nil
	}
	swap, err := g.swapLimit()
	if err != nil {
		return err
	}
	if swap == Unlimited {
		return g.writeV1(ctx, g.memoryFile(), limit)
	}
	next := int64(Unlimited)
	if limit != Unlimited {
		next = swap - was + limit
	}
	type write struct {
		file     string
		from, to int64
	}
	first, second := write{swapFile, swap, next}, write{g.memoryFile(), was, limit}
	if smaller(limit, was) {
		first, second = second, first
	}
	if err := g.writeV1(ctx, first.file, first.to); err != nil {
		return err
	}
	err = g.writeV1(ctx, second.file, second.to)
	if err == nil {
		return nil
	}
	return errors.Join(err, g.writeV1(context.WithoutCancel(ctx), first.file, first.from))
}

// swapLimit is Unlimited where there is none.
func (g *Group) swapLimit() (int64, error) {
	n, err := g.readInt(Memory, swapFile)
	if errors.Is(err, fs.ErrNotExist) || n >= v1Unlimited {
		return Unlimited, nil
	}
	return n, err
}

// writeV1 lets the kernel reclaim: it refuses with EBUSY, and kills nobody, when it can't.
func (g *Group) writeV1(ctx context.Context, file string, limit int64) error {
	for attempt := 0; ; attempt++ {
		var err error
		if limit == Unlimited {
			err = g.write(Memory, file, strconv.Itoa(Unlimited)) // read as v1Unlimited
		} else {
			err = g.setInt(Memory, file, limit)
		}
		if !errors.Is(err, syscall.EBUSY) {
			return err
		}
		if attempt == reclaims || !pause(ctx) {
			usageFile := "memory.usage_in_bytes"
			if file == swapFile {
				usageFile = swapUsageFile
			}
			usage, err := g.readInt(Memory, usageFile)
			if err != nil {
				return err
			}
			return &MemoryInUseError{g.path, limit, usage}
		}
	}
}
