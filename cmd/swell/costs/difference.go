package costs

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
)

// difference yields what the charges of one query have that those of another haven't, as charges: what is less is
// negative. Both come in the same order of their segments, so that two of them stand in memory at a time.
func (e *Engine) difference(ctx context.Context, was, is Query, yield func(*billing.Charge) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	nextWas, stopWas := iter.Pull2(e.groups(ctx, was))
	defer stopWas()
	nextIs, stopIs := iter.Pull2(e.groups(ctx, is))
	defer stopIs()
	a, err, moreA := nextWas()
	if err != nil {
		return err
	}
	b, err, moreB := nextIs()
	if err != nil {
		return err
	}
	for moreA || moreB {
		order := 0
		switch {
		case !moreB:
			order = -1
		case !moreA:
			order = 1
		default:
			order = a.compare(b)
		}
		var old, now []billing.Charge
		if order <= 0 {
			old = a.charges
		}
		if order >= 0 {
			now = b.charges
		}
		if err := subtract(old, now, yield); err != nil {
			return err
		}
		if order <= 0 {
			if a, err, moreA = nextWas(); err != nil {
				return err
			}
		}
		if order >= 0 {
			if b, err, moreB = nextIs(); err != nil {
				return err
			}
		}
	}
	return nil
}

// group are the charges of one segment, or, last, those of plans and operators.
type group struct {
	segment *usagev1.Segment // nil for the last
	minimum bool             // what is missing to the minimum duration, which comes behind all use
	charges []billing.Charge
}

func (g *group) compare(h *group) int {
	if d := cmp.Compare(g.rank(), h.rank()); d != 0 || g.segment == nil {
		return d
	}
	a, b := g.segment, h.segment
	if g.minimum {
		return strings.Compare(a.PodUID, b.PodUID)
	}
	return cmp.Or(cmp.Compare(dayOf(a), dayOf(b)), strings.Compare(a.PodUID, b.PodUID),
		cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.Sequence, b.Sequence))
}

func (g *group) rank() int {
	switch {
	case g.segment == nil:
		return 2
	case g.minimum:
		return 1
	}
	return 0
}

// dayOf is the UTC day of a segment's start, by which the ledger orders.
func dayOf(s *usagev1.Segment) int64 { return s.Start.Unix() / 86400 }

// groups are the charges of a query, by segment.
func (e *Engine) groups(ctx context.Context, q Query) iter.Seq2[*group, error] {
	return func(yield func(*group, error) bool) {
		var g *group
		over := false
		flush := func() error {
			if g != nil && !yield(g, nil) {
				over = true
				return errOver
			}
			return nil
		}
		err := e.Charges(ctx, q, func(c *billing.Charge) error {
			if g == nil || (c.Segment == nil) != (g.segment == nil) || c.Minimum != g.minimum || (c.Segment != nil && c.Segment.ID != g.segment.ID) {
				if err := flush(); err != nil {
					return err
				}
				g = &group{minimum: c.Minimum}
				if c.Segment != nil {
					s := *c.Segment
					g.segment = &s
				}
			}
			own := *c
			own.Segment = g.segment
			g.charges = append(g.charges, own)
			return nil
		})
		if err == nil {
			err = flush()
		}
		if err != nil && !over {
			yield(nil, err)
		}
	}
}

type over struct{}

func (over) Error() string { return "enough" }

var errOver = over{}

// subtract yields the charges of now less those of old.
func subtract(old, now []billing.Charge, yield func(*billing.Charge) error) error {
	same := func(a, b *billing.Charge) bool {
		return a.Kind == b.Kind && a.From == b.From && a.To == b.To && a.Item == b.Item && a.Plan == b.Plan && a.Adjustment == b.Adjustment &&
			a.Account == b.Account && a.Project == b.Project && sameSize(a.Segment, b.Segment)
	}
	left := slices.Clone(old)
	for i := range now {
		c := now[i]
		if k := slices.IndexFunc(left, func(o billing.Charge) bool { return same(&o, &c) }); k >= 0 {
			minus(&c, &left[k])
			left = slices.Delete(left, k, k+1)
		}
		if nothing(&c) {
			continue
		}
		if err := yield(&c); err != nil {
			return err
		}
	}
	for i := range left {
		c := left[i]
		c.Quantity, c.Burst, c.List, c.Billed, c.Effective = 0, 0, billing.Money{}, billing.Money{}, billing.Money{}
		minus(&c, &left[i])
		if nothing(&c) {
			continue
		}
		if err := yield(&c); err != nil {
			return err
		}
	}
	return nil
}

func sameSize(a, b *usagev1.Segment) bool {
	return a == nil || b == nil || a.CPUMilli == b.CPUMilli && a.MemoryBytes == b.MemoryBytes && a.GPU == b.GPU && a.StorageBytes == b.StorageBytes
}

func minus(c, old *billing.Charge) {
	c.Quantity -= old.Quantity
	c.Burst -= old.Burst
	c.List, c.Billed, c.Effective = c.List.Minus(old.List), c.Billed.Minus(old.Billed), c.Effective.Minus(old.Effective)
}

func nothing(c *billing.Charge) bool {
	return c.Quantity == 0 && c.Burst == 0 && c.List.IsZero() && c.Billed.IsZero() && c.Effective.IsZero()
}
