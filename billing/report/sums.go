package report

import (
	"errors"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
)

// Sums are what charges come to, exactly.
type Sums struct {
	Millis    int64               // pods × time; a pod is counted once, whatever it is charged for
	Quantity  [5]billing.Quantity // by billing.Resource, bursts included
	List      billing.Money       // without plans
	Billed    billing.Money       // to be paid
	Effective billing.Money       // with plans' commitments laid onto the use that they cover
	Burst     billing.Money       // of List, for what was used beyond sizes
}

// Saving is what plans have saved: negative where a commitment was left unused.
func (s *Sums) Saving() billing.Money { return s.List.Minus(s.Effective) }

// plus adds others' sums.
func (s *Sums) plus(o *Sums) error {
	s.Millis += o.Millis
	for i, q := range o.Quantity {
		if err := s.use(i, q); err != nil {
			return err
		}
	}
	s.List, s.Billed = s.List.Plus(o.List), s.Billed.Plus(o.Billed)
	s.Effective, s.Burst = s.Effective.Plus(o.Effective), s.Burst.Plus(o.Burst)
	return nil
}

var errTooMuch = errors.New("report: quantities sum to more than can be told")

func (s *Sums) use(of int, q billing.Quantity) error {
	sum := s.Quantity[of] + q
	if (q > 0) != (sum > s.Quantity[of]) && q != 0 {
		return errTooMuch
	}
	s.Quantity[of] = sum
	return nil
}

// tally adds charges up.
type tally struct {
	Sums
	pod  usagev1.ID // of the segment that was charged last
	upTo int64      // until when its time is counted
}

func (t *tally) add(c *billing.Charge) error {
	if c.Item != nil {
		if err := t.use(int(c.Item.SKU.Resource), c.Quantity); err != nil {
			return err
		}
		if c.Burst != 0 {
			t.Burst = t.Burst.Plus(c.Burst.At(c.Item.Price))
		}
	}
	t.List, t.Billed, t.Effective = t.List.Plus(c.List), t.Billed.Plus(c.Billed), t.Effective.Plus(c.Effective)
	if c.Segment == nil || c.Kind != billing.Usage || c.Minimum {
		return nil
	}
	if t.pod != c.Segment.ID {
		t.pod, t.upTo = c.Segment.ID, c.From
	}
	if from := max(t.upTo, c.From); c.To > from {
		t.Millis += c.To - from
		t.upTo = c.To
	}
	return nil
}
