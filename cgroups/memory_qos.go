package cgroups

import (
	"context"
	"strconv"
)

// MemoryQoS is what version 2 does for a group's memory beside its limit. Version 1 has nothing like it (its soft
// limit is reclaimed by other rules) and leaves it out. Groups are protected no further than those above them.
type MemoryQoS struct {
	Min  int64 // bytes that are never reclaimed for others
	Low  int64 // bytes that are reclaimed last
	High int64 // bytes above which processes are slowed down and have to reclaim; 0: none
}

// pages answers what the kernel keeps of it.
func (q MemoryQoS) pages() MemoryQoS {
	return MemoryQoS{wholePages(q.Min), wholePages(q.Low), wholePages(q.High)}
}

// kept answers what of it a group can hold. Version 1 has none.
func (g *Group) kept(q MemoryQoS) MemoryQoS {
	if g.h.version == 1 {
		return MemoryQoS{}
	}
	return q.pages()
}

// memoryQoS reads what the kernel holds.
func (g *Group) memoryQoS() (q MemoryQoS, err error) {
	if g.h.version == 1 {
		return q, nil
	}
	for _, f := range []struct {
		name string
		to   *int64
	}{{"memory.min", &q.Min}, {"memory.low", &q.Low}, {"memory.high", &q.High}} {
		if *f.to, err = g.readInt(Memory, f.name); err != nil {
			return q, err
		}
	}
	if q.High == Unlimited {
		q.High = 0
	}
	return q, nil
}

// setHigh writes memory.high; 0: none.
func (g *Group) setHigh(high int64) error {
	if g.h.version == 1 {
		return nil
	}
	value := "max"
	if high = wholePages(high); high != 0 {
		value = strconv.FormatInt(high, 10)
	}
	return g.set(Memory, "memory.high", value)
}

// setProtection writes memory.min and memory.low where they differ from what the group has.
func (g *Group) setProtection(to MemoryQoS) error {
	now, err := g.memoryQoS()
	if err != nil {
		return err
	}
	to = g.kept(to)
	if to.Min != now.Min {
		if err := g.setProtected("memory.min", to.Min); err != nil {
			return err
		}
	}
	if to.Low != now.Low {
		return g.setProtected("memory.low", to.Low)
	}
	return nil
}

// Protect sets what is protected of a group's memory; version 1 protects nothing.
func (g *Group) Protect(q MemoryQoS) error {
	if g.h.version == 1 {
		return nil
	}
	return g.setProtection(q)
}

// CanLimitSwap reports whether version 2 counts swap for groups.
func (g *Group) CanLimitSwap() bool {
	if g.h.version == 1 {
		return false
	}
	_, err := g.read(Memory, "memory.swap.max")
	return err == nil
}

func (g *Group) setProtected(file string, bytes int64) error {
	if bytes == Unlimited {
		return g.set(Memory, file, "max")
	}
	return g.setInt(Memory, file, bytes)
}

// Lift takes memory.high away. One that is left of a shrink that was killed half-way would slow the group down; the
// next Resize that succeeds sets the one that is due.
func (g *Group) Lift() error {
	q, err := g.memoryQoS()
	if err != nil || q.High == 0 {
		return err
	}
	return g.setHigh(0)
}

// Protection falls before a limit does and rises after it has, so that no more is ever protected than a group may
// have, nor more in a container than in its pod.
var (
	protectLess = resource{
		shrinks: func(step) bool { return true },
		same:    func(s step) bool { return s.between() == s.was.protection() },
		set:     func(_ context.Context, s step) error { return s.Group.setProtection(s.between()) },
		undo:    func(_ context.Context, s step) error { return s.Group.setProtection(s.was.MemoryQoS) },
	}
	protectMore = resource{
		shrinks: func(step) bool { return false },
		same:    func(s step) bool { return s.between() == s.Group.kept(s.To.protection()) },
		set:     func(_ context.Context, s step) error { return s.Group.setProtection(s.To.MemoryQoS) },
		undo:    func(_ context.Context, s step) error { return s.Group.setProtection(s.between()) },
	}
)

// protection is the part that protects.
func (q MemoryQoS) protection() MemoryQoS { return MemoryQoS{Min: q.Min, Low: q.Low} }

// between is what is protected both before and after.
func (s step) between() MemoryQoS {
	to := s.Group.kept(s.To.MemoryQoS)
	return MemoryQoS{Min: least(to.Min, s.was.Min), Low: least(to.Low, s.was.Low)}
}

func least(a, b int64) int64 {
	if smaller(a, b) {
		return a
	}
	return b
}
