package plan

import (
	"math/big"
	"slices"

	"swell.dev/swell/billing"
)

// optimum is the commitment with the lowest cost over the days a to b, and the lowest of those.
//
// A unit of commitment in n intervals costs n. In an interval whose commitment ends within use of discount d it saves
// 1/(1−d), the list price of what it pays for; in one whose use is all covered it saves nothing. As use of higher
// discounts is covered first, savings fall as the commitment grows: the cost is convex and piecewise linear, and is
// least at the first break point from which it doesn't fall any more. With one discount that is the d-quantile of the
// use.
func (f *profile) optimum(a, b int) billing.Money {
	type kink struct {
		at     billing.Money
		change *big.Rat // of the slope
	}
	weights := map[billing.Discount]*big.Rat{}
	weight := func(d billing.Discount) *big.Rat {
		w := weights[d]
		if w == nil {
			w = big.NewRat(int64(billing.WholeDiscount), int64(billing.WholeDiscount-d))
			weights[d] = w
		}
		return w
	}
	slope := new(big.Rat)
	var kinks []kink
	for k := f.days[a]; k < f.days[b]; k++ {
		slope.Add(slope, big.NewRat(1, 1))
		var at billing.Money
		var last *big.Rat
		for _, g := range f.groups[k] {
			w := weight(g.discount)
			if last == nil {
				slope.Sub(slope, w)
			} else if w != last {
				kinks = append(kinks, kink{at, new(big.Rat).Sub(last, w)})
			}
			at, last = at.Plus(g.quantity.At(g.off)), w
		}
		if last != nil {
			kinks = append(kinks, kink{at, last})
		}
	}
	slices.SortFunc(kinks, func(a, b kink) int { return a.at.Compare(b.at) })
	var at billing.Money
	for _, k := range kinks {
		if slope.Sign() >= 0 {
			break
		}
		at = k.at
		slope.Add(slope, k.change)
	}
	return at
}

// best is the optimum in whole units of the currency's decimal places: the better of the two next to it.
func (f *profile) best(a, b, places int) billing.Money {
	exact := f.optimum(a, b)
	below, above := exact.Round(places, billing.Down), exact.Round(places, billing.Up)
	lower, upper := f.outcome(below, a, b), f.outcome(above, a, b)
	if upper.Cost.Compare(lower.Cost) < 0 {
		return above
	}
	return below
}
