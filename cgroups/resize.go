package cgroups

import (
	"context"
	"errors"
)

// Change is a group's present and next limits.
type Change struct {
	Group *Group
	To    Limits
}

// Resize changes a pod's group and groups in it as one: memory before CPU; a pod that grows is changed
// before its containers and one that shrinks after them; containers that shrink before those that grow.
// If a step fails, those before it are undone.
func Resize(ctx context.Context, pod Change, containers []Change) error {
	was, err := pod.Group.Read()
	if err != nil {
		return err
	}
	before := make([]Limits, len(containers))
	for i := range containers {
		if before[i], err = containers[i].Group.Read(); err != nil {
			return err
		}
	}
	r := &resize{ctx: ctx}
	memory := func(l Limits) int64 { return l.Memory }
	quota := func(l Limits) int64 { return l.Quota }
	for _, step := range []struct {
		of  func(Limits) int64
		set func(*Group, Limits) error
		eq  func(a, b Limits) bool
	}{
		{memory, func(g *Group, l Limits) error { return g.SetMemory(ctx, l.Memory) }, func(a, b Limits) bool { return a.Memory == b.Memory }},
		{quota, func(g *Group, l Limits) error { return g.SetCPU(l.Shares, l.Quota) }, func(a, b Limits) bool { return a.Quota == b.Quota && a.Shares == b.Shares }},
	} {
		if !step.eq(was, pod.To) && !smaller(step.of(pod.To), step.of(was)) {
			r.do(step.set, pod.Group, was, pod.To)
		}
		for _, shrink := range []bool{true, false} {
			for i, c := range containers {
				if !step.eq(before[i], c.To) && smaller(step.of(c.To), step.of(before[i])) == shrink {
					r.do(step.set, c.Group, before[i], c.To)
				}
			}
		}
		if !step.eq(was, pod.To) && smaller(step.of(pod.To), step.of(was)) {
			r.do(step.set, pod.Group, was, pod.To)
		}
	}
	return r.finish()
}

// smaller compares limits, of which Unlimited is the largest.
func smaller(a, b int64) bool {
	if a == Unlimited {
		return false
	}
	return b == Unlimited || a < b
}

type resize struct {
	ctx  context.Context
	undo []func() error
	err  error
}

func (r *resize) do(set func(*Group, Limits) error, g *Group, from, to Limits) {
	if r.err != nil {
		return
	}
	// A step that fails may have done a part, so it is undone as well.
	r.undo = append(r.undo, func() error { return set(g, from) })
	r.err = set(g, to)
}

func (r *resize) finish() error {
	if r.err == nil {
		return nil
	}
	errs := []error{r.err}
	for i := len(r.undo) - 1; i >= 0; i-- {
		if err := r.undo[i](); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
