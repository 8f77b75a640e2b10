package plan

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"swell.dev/swell/billing"
)

// span is one interval of a plan, in Unix milliseconds.
type span struct{ from, to int64 }

// spans are the intervals of a plan that touch [from, to), whole.
func spans(p *billing.Plan, from, to int64) []span {
	start, end := max(from, p.Start.UnixMilli()), min(to, p.End.UnixMilli())
	var out []span
	for at := start; at < end; {
		begin, next := p.Bounds(time.UnixMilli(at))
		s := span{begin.UnixMilli(), next.UnixMilli()}
		out = append(out, s)
		at = s.to
	}
	return out
}

// Boundaries are the instants within (from, to) at which an interval of a plan begins or ends, sorted: no cell may
// cross one. Times are in Unix milliseconds.
func Boundaries(plans []*billing.Plan, from, to int64) []int64 {
	var cuts []int64
	for _, p := range inForce(plans) {
		for _, s := range spans(p, from, to) {
			cuts = append(cuts, s.from, s.to)
		}
	}
	cuts = slices.DeleteFunc(cuts, func(at int64) bool { return at <= from || at >= to })
	slices.Sort(cuts)
	return slices.Compact(cuts)
}

// Whole widens [from, to) to the time whose use decides what is covered within it. A plan's interval is decided by
// all of its use, and by what plans of higher discounts have left of that use, in whole intervals of theirs: days of
// different zones reach beyond each other, by a day for each plan and discount at most. Plans that can't cover the
// same use don't widen each other's time.
func Whole(plans []*billing.Plan, from, to int64) (int64, int64) {
	var steps []step
	for _, p := range inForce(plans) {
		for _, d := range p.Discounts {
			steps = append(steps, step{plan: p, discount: d, span: span{from, to}})
		}
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(b.discount.Discount, a.discount.Discount) })
	whole := span{from, to}
	for i := len(steps) - 1; i >= 0; i-- {
		s := &steps[i]
		// What is covered last depends on all that is covered before.
		for j := i + 1; j < len(steps); j++ {
			if s.meets(&steps[j]) {
				s.span = s.span.with(steps[j].span)
			}
		}
		if touching := spans(s.plan, s.span.from, s.span.to); len(touching) > 0 {
			s.span = s.span.with(touching[0]).with(touching[len(touching)-1])
			whole = whole.with(s.span)
		} else {
			s.span = span{from, to} // it covers nothing that others wait for
		}
	}
	return whole.from, whole.to
}

// step is a plan's cover at one discount, and the time in which it has to be known.
type step struct {
	plan     *billing.Plan
	discount billing.PlanDiscount
	span     span
}

// meets reports whether two steps may cover the same use, or draw from the same commitment.
func (s *step) meets(o *step) bool {
	same := func(a, b string) bool { return a == "" || b == "" || a == b }
	a, b := s.plan.Scope, o.plan.Scope
	return s.plan == o.plan || same(a.Account, b.Account) && same(a.Project, b.Project) && same(a.Class, b.Class) &&
		same(s.discount.Class, o.discount.Class) && same(s.discount.Resource, o.discount.Resource) &&
		same(s.discount.Model, o.discount.Model) && same(s.discount.Region, o.discount.Region)
}

func (s span) with(o span) span { return span{min(s.from, o.from), max(s.to, o.to)} }

// inForce are the plans that count, in the order in which those of equal discounts cover equal use.
func inForce(plans []*billing.Plan) []*billing.Plan {
	var out []*billing.Plan
	for _, p := range plans {
		if p.Returned.IsZero() {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b *billing.Plan) int {
		return cmp.Or(cmp.Compare(width(a.Scope), width(b.Scope)), a.Start.Compare(b.Start),
			strings.Compare(a.Name, b.Name), strings.Compare(a.UID, b.UID))
	})
	return out
}

// width orders scopes from narrow to wide.
func width(s billing.Scope) (w int) {
	if s.Project == "" {
		w += 4
	}
	if s.Class == "" {
		w += 2
	}
	if s.Account == "" {
		w++
	}
	return w
}
