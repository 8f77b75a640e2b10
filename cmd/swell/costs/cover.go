package costs

import (
	"context"
	"slices"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/ledger"
	"swell.dev/swell/billing/plan"
	"swell.dev/swell/billing/rating"
)

// coverage is what plans pay for of a query's use.
type coverage struct {
	uses  []plan.Use // that begin in the query's time
	atoms []int64    // beginnings of the slices of time that cells are of
	cells map[cellKey]*cellShare
}

type cellKey struct {
	from    int64
	project string
	item    *billing.Item
}

// cellShare hands a cell's covers out to its lines: each cover takes its share of what those before have left.
type cellShare struct {
	covers []plan.Cover
	shares []billing.Share
}

// cover sums the use that plans can pay for, of all projects, since they share, and applies the plans to it.
func (e *Engine) cover(ctx context.Context, q Query) (*coverage, error) {
	plans := plansOf(q)
	from, to := plan.Whole(plans, q.From.UnixMilli(), q.To.UnixMilli())
	wide := q
	wide.From, wide.To = time.UnixMilli(from), time.UnixMilli(to)
	wide.Cuts = cuts(from, to, q.Cuts, []int64{q.From.UnixMilli(), q.To.UnixMilli()}, plan.Boundaries(plans, from, to))
	c := &coverage{cells: map[cellKey]*cellShare{}, atoms: append([]int64{from}, wide.Cuts...)}
	if len(plans) == 0 {
		return c, nil
	}
	wide.Project, wide.Account, wide.Pod, wide.UID = "", "", "", ""
	cells, err := e.cellsOf(ctx, wide, c.atoms, eligible(plans))
	if err != nil {
		return nil, err
	}
	result, err := plan.Apply(plans, cells, from, to)
	if err != nil {
		return nil, err
	}
	for i := range cells {
		covers := result.Covers(i)
		if len(covers) == 0 {
			continue
		}
		s := &cellShare{covers: covers}
		left := cells[i].Quantity
		for _, v := range covers {
			s.shares = append(s.shares, billing.NewShare(v.Quantity, left))
			left -= v.Quantity
		}
		c.cells[cellKey{cells[i].From, cells[i].Project, cells[i].Item}] = s
	}
	for _, u := range result.Uses {
		if u.From >= q.From.UnixMilli() && u.From < q.To.UnixMilli() {
			c.uses = append(c.uses, u)
		}
	}
	return c, nil
}

// Uses answers what became of the intervals of plans that begin in a query's time.
func (e *Engine) Uses(ctx context.Context, q Query) ([]plan.Use, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	c, err := e.cover(ctx, e.fix(q))
	if err != nil {
		return nil, err
	}
	return c.uses, nil
}

// plansOf are the plans that have to do with a query's time.
func plansOf(q Query) []*billing.Plan {
	from, to := plan.Whole(q.plans, q.From.UnixMilli(), q.To.UnixMilli())
	return slices.DeleteFunc(slices.Clone(q.plans), func(p *billing.Plan) bool {
		return !p.Returned.IsZero() || p.Start.UnixMilli() >= to || p.End.UnixMilli() <= from
	})
}

// eligible tells whether any of the plans could pay for an item.
func eligible(plans []*billing.Plan) func(*billing.Item) bool {
	known := map[*billing.Item]bool{}
	return func(i *billing.Item) bool {
		ok, seen := known[i]
		if !seen {
			ok = slices.ContainsFunc(plans, func(p *billing.Plan) bool { _, ok := p.Discount(i); return ok })
			known[i] = ok
		}
		return ok
	}
}

// Cells answers what was used in a query's time, summed by project, item and the slices of time that its cuts make.
func (e *Engine) Cells(ctx context.Context, q Query) ([]billing.Cell, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	q = e.fix(q)
	q.Cuts = cuts(q.From.UnixMilli(), q.To.UnixMilli(), q.Cuts)
	return e.cellsOf(ctx, q, append([]int64{q.From.UnixMilli()}, q.Cuts...), func(*billing.Item) bool { return true })
}

func (e *Engine) cellsOf(ctx context.Context, q Query, atoms []int64, wanted func(*billing.Item) bool) ([]billing.Cell, error) {
	end := q.To.UnixMilli()
	index := map[cellKey]int{}
	var cells []billing.Cell
	err := e.lines(ctx, q, func(l *billing.Line) error {
		if !wanted(l.Item) {
			return nil
		}
		a := atomOf(atoms, l.From)
		key := cellKey{atoms[a], l.Segment.Namespace, l.Item}
		i, ok := index[key]
		if !ok {
			account := e.cfg.Account(key.project)
			if q.Account != "" && account != q.Account {
				return nil
			}
			to := end
			if a+1 < len(atoms) {
				to = atoms[a+1]
			}
			i = len(cells)
			index[key] = i
			cells = append(cells, billing.Cell{From: key.from, To: to, Account: account, Project: key.project, Item: l.Item})
		}
		cells[i].Quantity += l.Quantity
		return nil
	})
	return cells, err
}

// atomOf answers the slice of time that begins last at or before t.
func atomOf(atoms []int64, t int64) int {
	i, found := slices.BinarySearch(atoms, t)
	if found {
		return i
	}
	return i - 1
}

// lines rates the segments of a query, cut at its cuts and bounds, and yields the lines within its time.
func (e *Engine) lines(ctx context.Context, q Query, yield func(*billing.Line) error) error {
	from, to := q.From.UnixMilli(), q.To.UnixMilli()
	rater := &rating.Rater{Books: e.cfg.Books, Cuts: cuts(from-1, to+1, q.Cuts, []int64{from, to}), Now: q.now.UnixMilli()}
	within := func(l *billing.Line) error {
		if l.From < from || l.From >= to {
			return nil
		}
		return yield(l)
	}
	least := rating.NewMinimum(e.cfg.Books)
	if !least.Needed() {
		return e.cfg.Ledger.Each(ctx, q.filter(), func(s *usagev1.Segment) error { return rater.Rate(s, within) })
	}
	// What is missing to a minimum duration is known once a pod's other segments are: some are beyond the time asked for.
	wide := q.filter()
	wide.From, wide.To = q.From.Add(-least.Longest()), q.To.Add(least.Longest())
	if err := e.cfg.Ledger.Each(ctx, wide, func(s *usagev1.Segment) error {
		least.Add(s)
		return rater.Rate(s, within)
	}); err != nil {
		return err
	}
	return least.Flush(wide.To.UnixMilli(), within)
}

var _ facts = (*ledger.Ledger)(nil)
