package plan

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"swell.dev/swell/billing"
)

// pool is what a plan's intervals have left.
type pool struct {
	plan  *billing.Plan
	spans []span
	left  []billing.Money // of each span's commitment
	list  []billing.Money // what is covered costs at list
}

// tier is use that is covered in one go: of one plan, at one discount and price.
type tier struct {
	tierKey
	series []int // ascending
}

type tierKey struct {
	discount billing.Discount
	price    billing.Price // at list
	pool     int
}

// Apply lays the plans onto the use of [from, to), in Unix milliseconds. Cells lie within it, in any order, and cross
// none of the plans' Boundaries; what is covered is the same however use is cut into cells.
//
// Every interval that touches [from, to) counts with its whole commitment, whatever part of it is seen: callers
// widen the time with Whole, and take from the result what they asked for. Of an interval that isn't over, the rest
// of the commitment is in Unused. A plan that was returned counts as never bought, and use that best-effort or a
// price of zero has is never covered.
func Apply(plans []*billing.Plan, cells []billing.Cell, from, to int64) (*Result, error) {
	all, err := seriesOf(cells, from, to)
	if err != nil {
		return nil, err
	}
	pools, err := poolsOf(inForce(plans), from, to)
	if err != nil {
		return nil, err
	}
	tiers, err := tiersOf(pools, all, cells)
	if err != nil {
		return nil, err
	}
	left := make([]billing.Quantity, len(cells))
	for i := range cells {
		left[i] = cells[i].Quantity
	}
	var covers []Cover
	var of []int32
	for _, t := range tiers {
		p := &pools[t.pool]
		shares, err := p.shares(t, all, cells, left)
		if err != nil {
			return nil, err
		}
		price := t.price.Off(t.discount)
		for _, s := range t.series {
			all[s].within(cells, p.spans, func(c int32, k int) {
				q := shares[k].Next(left[c])
				if q == 0 {
					return
				}
				left[c] -= q
				draw := q.At(price)
				p.left[k] = p.left[k].Minus(draw)
				p.list[k] = p.list[k].Plus(q.At(t.price))
				covers, of = append(covers, Cover{p.plan, t.discount, q, draw}), append(of, c)
			})
		}
	}
	r := &Result{Uses: usesOf(pools)}
	r.covers, r.first = indexed(covers, of, len(cells))
	return r, nil
}

func poolsOf(plans []*billing.Plan, from, to int64) ([]pool, error) {
	var pools []pool
	for _, p := range plans {
		if p.Commitment.Sign() < 0 {
			return nil, fmt.Errorf("savings plan %q: commitment %s: want none that is negative", p.Name, p.Commitment)
		}
		s := spans(p, from, to)
		if len(s) == 0 {
			continue
		}
		pools = append(pools, pool{p, s, slices.Repeat([]billing.Money{p.Commitment}, len(s)), make([]billing.Money, len(s))})
	}
	return pools, nil
}

// tiersOf are the tiers in the order in which they are covered.
func tiersOf(pools []pool, all []series, cells []billing.Cell) ([]tier, error) {
	index := map[tierKey]int{}
	var tiers []tier
	for i := range pools {
		p := pools[i].plan
		for s := range all {
			item := all[s].item
			discount, ok := p.Discount(item)
			if !ok || item.Price == 0 || !p.Scope.Covers(all[s].account, all[s].project, item.SKU.Class) {
				continue
			}
			if at, bad := all[s].crosses(cells, pools[i].spans); bad {
				return nil, fmt.Errorf("%s: a cell crosses %s, where an interval of savings plan %q begins or ends", all[s].seriesKey, instant(at), p.Name)
			}
			key := tierKey{discount, item.Price, i}
			t, known := index[key]
			if !known {
				t = len(tiers)
				index[key] = t
				tiers = append(tiers, tier{tierKey: key})
			}
			tiers[t].series = append(tiers[t].series, s)
		}
	}
	slices.SortFunc(tiers, func(a, b tier) int {
		return cmp.Or(cmp.Compare(b.discount, a.discount), cmp.Compare(a.price, b.price), cmp.Compare(a.pool, b.pool))
	})
	return tiers, nil
}

// shares are what each interval can still pay for of the use in a tier.
func (p *pool) shares(t tier, all []series, cells []billing.Cell, left []billing.Quantity) ([]billing.Share, error) {
	wanted := make([]billing.Quantity, len(p.spans))
	tooMuch := false
	for _, s := range t.series {
		all[s].within(cells, p.spans, func(c int32, k int) {
			if wanted[k] > math.MaxInt64-left[c] {
				tooMuch = true
				return
			}
			wanted[k] += left[c]
		})
	}
	if tooMuch {
		return nil, fmt.Errorf("savings plan %q: use within an interval: %w", p.plan.Name, billing.ErrTooLarge)
	}
	price := t.price.Off(t.discount)
	shares := make([]billing.Share, len(p.spans))
	for k := range shares {
		pays := wanted[k]
		if price > 0 {
			pays = min(pays, p.left[k].Buys(price))
		}
		shares[k] = billing.NewShare(pays, wanted[k])
	}
	return shares, nil
}

func usesOf(pools []pool) []Use {
	var uses []Use
	for _, p := range pools {
		for k, s := range p.spans {
			uses = append(uses, Use{p.plan, s.from, s.to, p.plan.Commitment, p.plan.Commitment.Minus(p.left[k]), p.left[k], p.list[k]})
		}
	}
	slices.SortStableFunc(uses, func(a, b Use) int { return cmp.Compare(a.From, b.From) })
	return uses
}
