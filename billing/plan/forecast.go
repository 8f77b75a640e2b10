package plan

import "swell.dev/swell/billing"

// Forecast is what a commitment would have come to, had it been there for the whole history. Other than in a
// Recommendation, plans bought already aren't taken to be first: where the new plan's discount is higher, it takes use
// from them, and what they lose is counted.
type Forecast struct {
	Candidate  Candidate
	Commitment billing.Money
	Days       int
	Outcome
	Risk
	Best billing.Money // the best commitment for what the others leave
}

// Foresee answers the forecast.
func Foresee(h *History, c Candidate, commitment billing.Money, o Options) (*Forecast, error) {
	trial := c.Plan(commitment, h.From, h.To)
	without, err := Apply(h.Plans, h.Cells, h.From, h.To)
	if err != nil {
		return nil, err
	}
	with, err := Apply(append([]*billing.Plan{trial}, h.Plans...), h.Cells, h.From, h.To)
	if err != nil {
		return nil, err
	}
	left := make([]billing.Quantity, len(h.Cells))
	for i := range h.Cells {
		left[i] = without.Left(i, h.Cells[i].Quantity)
	}
	f, err := profileOf(trial, h, left)
	if err != nil {
		return nil, err
	}
	outcomes := f.outcomes(commitment, 0, f.Days())
	for k := range outcomes {
		outcomes[k].Cost = commitment.Plus(f.list[k])
	}
	all, err := seriesOf(h.Cells, h.From, h.To)
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i].within(h.Cells, f.spans, func(c int32, k int) {
			now := with.Left(int(c), h.Cells[c].Quantity)
			outcomes[k].Cost = outcomes[k].Cost.Minus((left[c] - now).At(all[i].item.Price))
		})
	}
	k := 0
	for _, u := range with.Uses {
		if u.Plan == trial {
			outcomes[k].Unused = u.Unused
			k++
		}
	}
	return &Forecast{Candidate: c, Commitment: commitment, Days: f.Days(), Outcome: total(outcomes), Risk: f.risk(outcomes, c.Offer.TermDays),
		Best: f.best(0, f.Days(), o.places(c.Offer.Interval))}, nil
}
