package plan

import (
	"time"

	"swell.dev/swell/billing"
)

// Candidate is a plan that could be bought.
type Candidate struct {
	Offer billing.Offer
	Zone  *time.Location // of an offer that leaves it to the buyer; nil: UTC
	Scope billing.Scope
}

// In is the zone of the candidate's days.
func (c *Candidate) In() *time.Location {
	switch {
	case c.Offer.Zone != nil:
		return c.Offer.Zone
	case c.Zone != nil:
		return c.Zone
	}
	return time.UTC
}

// Plan is the candidate as though it had been bought for the whole days of its zone within [from, to), in Unix
// milliseconds. It has no interval when there is no such day.
func (c *Candidate) Plan(commitment billing.Money, from, to int64) *billing.Plan {
	p := &billing.Plan{Name: c.Offer.Name, Interval: c.Offer.Interval, Zone: c.In(), Commitment: commitment, Discounts: c.Offer.Discounts, Scope: c.Scope}
	p.Start, p.End = wholeDays(c.In(), from, to)
	return p
}

// wholeDays are the first and the last midnight of a zone within [from, to].
func wholeDays(zone *time.Location, from, to int64) (start, end time.Time) {
	all := billing.Plan{Interval: billing.Day, Zone: zone, Start: time.UnixMilli(from).AddDate(0, 0, -3), End: time.UnixMilli(to).AddDate(0, 0, 3)}
	begin, next := all.Bounds(time.UnixMilli(from))
	if start = begin; begin.UnixMilli() < from {
		start = next
	}
	end, _ = all.Bounds(time.UnixMilli(to))
	if end.Before(start) {
		end = start
	}
	return start, end
}

// History is use in the past, to learn from.
type History struct {
	From, To int64           // Unix milliseconds
	Cells    []billing.Cell  // cut at the Boundaries of Plans and of what is Planned
	Plans    []*billing.Plan // bought already
}

// Planned are the plans whose Boundaries a history's cells must be cut at to be asked about the candidates, next to
// those of the plans that are bought.
func Planned(candidates []Candidate, from, to int64) []*billing.Plan {
	var out []*billing.Plan
	for i := range candidates {
		out = append(out, candidates[i].Plan(billing.Money{}, from, to))
	}
	return out
}

// left are the quantities that the plans bought already don't cover.
func (h *History) left() ([]billing.Quantity, error) {
	r, err := Apply(h.Plans, h.Cells, h.From, h.To)
	if err != nil {
		return nil, err
	}
	left := make([]billing.Quantity, len(h.Cells))
	for i := range h.Cells {
		left[i] = r.Left(i, h.Cells[i].Quantity)
	}
	return left, nil
}
