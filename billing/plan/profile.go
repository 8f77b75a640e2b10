package plan

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"

	"swell.dev/swell/billing"
)

// profile is the use that a plan could cover, by its intervals.
type profile struct {
	plan   *billing.Plan
	spans  []span
	days   []int           // days[d] is the first span of day d; one more entry ends the last day
	list   []billing.Money // of each span: what the use costs at list
	groups [][]group       // of each span, in the order in which a plan covers them
}

// group is use in one interval that is alike to the plan.
type group struct {
	discount   billing.Discount
	price, off billing.Price
	quantity   billing.Quantity
}

// profileOf sums what is left of cells.
func profileOf(p *billing.Plan, h *History, left []billing.Quantity) (*profile, error) {
	all, err := seriesOf(h.Cells, h.From, h.To)
	if err != nil {
		return nil, err
	}
	f := &profile{plan: p, spans: spans(p, h.From, h.To)}
	f.list, f.groups = make([]billing.Money, len(f.spans)), make([][]group, len(f.spans))
	for i := range all {
		s := &all[i]
		discount, ok := p.Discount(s.item)
		if !ok || s.item.Price == 0 || !p.Scope.Covers(s.account, s.project, s.item.SKU.Class) {
			continue
		}
		if at, bad := s.crosses(h.Cells, f.spans); bad {
			return nil, fmt.Errorf("%s: a cell crosses %s, where an interval of offer %q would begin or end", s.seriesKey, instant(at), p.Name)
		}
		of := group{discount: discount, price: s.item.Price, off: s.item.Price.Off(discount)}
		s.within(h.Cells, f.spans, func(c int32, k int) {
			if !f.add(k, of, left[c]) {
				err = fmt.Errorf("%s: within a day: %w", s.seriesKey, billing.ErrTooLarge)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	for _, groups := range f.groups {
		slices.SortFunc(groups, func(a, b group) int {
			return cmp.Or(cmp.Compare(b.discount, a.discount), cmp.Compare(a.price, b.price))
		})
	}
	f.count()
	return f, nil
}

func (f *profile) add(k int, of group, q billing.Quantity) bool {
	if q == 0 {
		return true
	}
	at := slices.IndexFunc(f.groups[k], func(g group) bool { return g.discount == of.discount && g.price == of.price })
	if at < 0 {
		at = len(f.groups[k])
		f.groups[k] = append(f.groups[k], of)
	}
	g := &f.groups[k][at]
	if g.quantity > math.MaxInt64-q {
		return false
	}
	g.quantity += q
	f.list[k] = f.list[k].Plus(q.At(of.price))
	return true
}

// count finds the days' first spans.
func (f *profile) count() {
	days := *f.plan
	days.Interval = billing.Day
	for _, d := range spans(&days, f.plan.Start.UnixMilli(), f.plan.End.UnixMilli()) {
		f.days = append(f.days, sort.Search(len(f.spans), func(k int) bool { return f.spans[k].from >= d.from }))
	}
	f.days = append(f.days, len(f.spans))
}

// Days is how many days of the plan's zone there are.
func (f *profile) Days() int { return len(f.days) - 1 }

// outcomes are what a commitment would have come to in each of the spans from the days a to b.
func (f *profile) outcomes(commitment billing.Money, a, b int) []Outcome {
	var out []Outcome
	for k := f.days[a]; k < f.days[b]; k++ {
		o := Outcome{Intervals: 1, List: f.list[k], Cost: commitment.Plus(f.list[k]), Commitment: commitment, Unused: commitment}
		for _, g := range f.groups[k] {
			q := g.quantity
			if g.off > 0 {
				q = min(q, o.Unused.Buys(g.off))
			}
			o.Unused = o.Unused.Minus(q.At(g.off))
			o.Cost = o.Cost.Minus(q.At(g.price))
		}
		out = append(out, o)
	}
	return out
}

// outcome is their sum.
func (f *profile) outcome(commitment billing.Money, a, b int) Outcome {
	return total(f.outcomes(commitment, a, b))
}
