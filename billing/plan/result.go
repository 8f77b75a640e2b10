package plan

import "swell.dev/swell/billing"

// Cover is a part of a cell that a plan pays for.
type Cover struct {
	Plan     *billing.Plan
	Discount billing.Discount
	Quantity billing.Quantity
	Draw     billing.Money // of the commitment: the quantity at the discounted price, exactly
}

// Use is what became of one interval's commitment.
type Use struct {
	Plan       *billing.Plan
	From, To   int64 // Unix milliseconds; the whole interval, also where it begins before or ends after the time applied
	Commitment billing.Money
	Used       billing.Money // the sum of the draws
	Unused     billing.Money // the rest; always also what is too little to pay for 1e-9 of a unit-hour
	List       billing.Money // what the covered use costs at list
}

// Saved is how much less is paid than at list; it is negative where the plan costs more than it covers.
func (u *Use) Saved() billing.Money { return u.List.Minus(u.Commitment) }

// Result says what plans cover.
type Result struct {
	Uses   []Use // by beginning, then in the order in which plans of equal discounts cover
	covers []Cover
	first  []int32 // covers of cell i are covers[first[i]:first[i+1]]
}

// Covers are the parts of a cell (by its index) that plans pay for, in the order in which they were applied. What
// remains of the cell is at list.
func (r *Result) Covers(cell int) []Cover { return r.covers[r.first[cell]:r.first[cell+1]] }

// Left is what remains of a cell's quantity at list.
func (r *Result) Left(cell int, q billing.Quantity) billing.Quantity {
	for _, c := range r.Covers(cell) {
		q -= c.Quantity
	}
	return q
}

// indexed are the covers in order of their cells; of has the cell of each.
func indexed(covers []Cover, of []int32, cells int) ([]Cover, []int32) {
	first := make([]int32, cells+1)
	for _, c := range of {
		first[c+1]++
	}
	for i := range cells {
		first[i+1] += first[i]
	}
	next := append([]int32(nil), first...)
	out := make([]Cover, len(covers))
	for i, c := range of {
		out[next[c]] = covers[i]
		next[c]++
	}
	return out, first
}
