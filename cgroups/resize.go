package cgroups

import (
	"context"
	"errors"
)

// Change is a group's next limits.
type Change struct {
	Group *Group
	To    Limits
}

// Resize changes a pod's group and groups in it as one: memory before CPU; a pod that grows is changed
// before its containers and one that shrinks after them; containers that shrink before those that grow.
// Protection of memory falls before the limits change and rises after them. If a step fails, those before
// it are undone, even when ctx has ended. What a Resize that was killed half-way left is put right by the
// next one that succeeds, whatever it asks for.
func Resize(ctx context.Context, pod Change, containers []Change) error {
	r := &resize{ctx: ctx}
	p, err := r.begin(pod)
	if err != nil {
		return err
	}
	steps := make([]step, len(containers))
	for i, c := range containers {
		if steps[i], err = r.begin(c); err != nil {
			return err
		}
	}
	for _, resource := range []resource{protectLess, memory, protectMore, cpu} {
		if !resource.shrinks(p) {
			r.do(resource, p)
		}
		for _, shrink := range []bool{true, false} {
			for _, s := range steps {
				if resource.shrinks(s) == shrink {
					r.do(resource, s)
				}
			}
		}
		if resource.shrinks(p) {
			r.do(resource, p)
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

// step is a change with what the kernel held before.
type step struct {
	Change
	was   Limits
	burst int64
}

// resource is what is written as one.
type resource struct {
	shrinks func(step) bool
	same    func(step) bool
	set     func(context.Context, step) error
	undo    func(context.Context, step) error
}

var memory = resource{
	shrinks: func(s step) bool { return smaller(wholePages(s.To.Memory), s.was.Memory) },
	same: func(s step) bool {
		return wholePages(s.To.Memory) == s.was.Memory && s.Group.kept(s.To.MemoryQoS).High == s.was.High
	},
	set:  func(ctx context.Context, s step) error { return s.Group.setMemory(ctx, s.To.Memory, s.To.High) },
	undo: func(ctx context.Context, s step) error { return s.Group.setMemory(ctx, s.was.Memory, s.was.High) },
}

var cpu = resource{
	shrinks: func(s step) bool { return smaller(s.To.Quota, s.was.Quota) },
	same:    func(s step) bool { return s.To.Quota == s.was.Quota && s.Group.sameShares(s.To.Shares, s.was.Shares) },
	set:     func(_ context.Context, s step) error { return s.Group.SetCPU(s.To.Shares, s.To.Quota) },
	undo: func(_ context.Context, s step) error {
		if err := s.Group.SetCPU(s.was.Shares, s.was.Quota); err != nil {
			return err
		}
		return s.Group.restoreBurst(s.burst) // which a smaller quota made smaller
	},
}

type resize struct {
	ctx  context.Context
	undo []func(context.Context) error
	err  error
}

// begin notes what the kernel holds.
func (r *resize) begin(c Change) (step, error) {
	s := step{Change: c}
	var err error
	s.was, err = c.Group.Read()
	if err == nil {
		s.burst, err = c.Group.burst()
	}
	return s, err
}

func (r *resize) do(of resource, s step) {
	if r.err != nil || of.same(s) {
		return
	}
	// A step that fails may have done a part, so it is undone as well.
	r.undo = append(r.undo, func(ctx context.Context) error { return of.undo(ctx, s) })
	r.err = of.set(r.ctx, s)
}

func (r *resize) finish() error {
	if r.err == nil {
		return nil
	}
	errs := []error{r.err}
	for i := len(r.undo) - 1; i >= 0; i-- {
		errs = append(errs, r.undo[i](context.WithoutCancel(r.ctx)))
	}
	return errors.Join(errs...)
}
