package plan

import "swell.dev/swell/billing"

// Outcome is what a plan came to, or would have, over some of its intervals.
type Outcome struct {
	Intervals  int
	List       billing.Money // what use that the plan may cover costs at list
	Cost       billing.Money // of it with the plan: commitments, and at list what they don't cover
	Commitment billing.Money // the sum of commitments
	Unused     billing.Money // of it
}

// Saved is what the plan saves; it is negative where the plan loses.
func (o *Outcome) Saved() billing.Money { return o.List.Minus(o.Cost) }

// Saving is Saved as a share of the list cost, an estimate's figure.
func (o *Outcome) Saving() float64 { return share(o.Saved(), o.List) }

// Utilisation is the share of the commitments that was used.
func (o *Outcome) Utilisation() float64 { return share(o.Commitment.Minus(o.Unused), o.Commitment) }

func share(part, whole billing.Money) float64 {
	if whole.IsZero() {
		return 0
	}
	return part.Float() / whole.Float()
}

func total(outcomes []Outcome) (sum Outcome) {
	for _, o := range outcomes {
		sum = sum.plus(o)
	}
	return sum
}

func (o Outcome) plus(b Outcome) Outcome {
	return Outcome{o.Intervals + b.Intervals, o.List.Plus(b.List), o.Cost.Plus(b.Cost), o.Commitment.Plus(b.Commitment), o.Unused.Plus(b.Unused)}
}
