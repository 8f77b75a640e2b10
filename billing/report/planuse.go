package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"swell.dev/swell/billing"
)

// PlanUse is what became of a plan's commitment on a day of its zone; an hourly plan's hours are summed up.
type PlanUse struct {
	Plan *billing.Plan
	Day  time.Time // its midnight
	PlanSums
}

// PlanSums are a plan's sums. A report that isn't of the whole account has no commitment, only what its use drew.
type PlanSums struct {
	Commitment billing.Money // billed
	Used       billing.Money // drawn by use
	Unused     billing.Money // lost
	List       billing.Money // what the use that it covered would have cost
}

// decided is what is used or lost already: of a day that isn't over, what is left isn't lost yet. It is nothing where
// the commitment isn't known.
func (p *PlanSums) decided() billing.Money {
	if p.Commitment.IsZero() {
		return billing.Money{}
	}
	return p.Used.Plus(p.Unused)
}

// Utilisation is how much of the commitment was used, to six places; empty where that isn't known yet.
func (p *PlanSums) Utilisation() string { return Share(p.Used, p.decided()) }

// Saving is what the plan has saved: negative if it cost more than it covered.
func (p *PlanSums) Saving() billing.Money { return p.List.Minus(p.Used).Minus(p.Unused) }

func (p *PlanSums) plus(o PlanSums) {
	p.Commitment, p.Used = p.Commitment.Plus(o.Commitment), p.Used.Plus(o.Used)
	p.Unused, p.List = p.Unused.Plus(o.Unused), p.List.Plus(o.List)
}

type planDay struct {
	plan *billing.Plan
	day  int64 // its midnight
}

type planUse map[planDay]*PlanSums

func (u planUse) add(c *billing.Charge) {
	if c.Plan == nil {
		return
	}
	zone := c.Plan.Zone
	if zone == nil {
		zone = time.UTC
	}
	y, m, d := time.UnixMilli(c.From).In(zone).Date()
	key := planDay{c.Plan, billing.Midnight(y, m, d, zone).UnixMilli()}
	s := u[key]
	if s == nil {
		s = &PlanSums{}
		u[key] = s
	}
	switch c.Kind {
	case billing.Usage:
		s.Used, s.List = s.Used.Plus(c.Effective), s.List.Plus(c.List)
	case billing.Purchase:
		s.Commitment = s.Commitment.Plus(c.Billed)
	case billing.Unused:
		s.Unused = s.Unused.Plus(c.Effective)
	}
}

// sorted are the uses by plan and day.
func (u planUse) sorted() []PlanUse {
	var out []PlanUse
	for k, s := range u {
		day := time.UnixMilli(k.day).UTC()
		if k.plan.Zone != nil {
			day = day.In(k.plan.Zone)
		}
		out = append(out, PlanUse{k.plan, day, *s})
	}
	slices.SortFunc(out, func(x, y PlanUse) int {
		return cmp.Or(strings.Compare(x.Plan.Name, y.Plan.Name), strings.Compare(x.Plan.UID, y.Plan.UID), x.Day.Compare(y.Day))
	})
	return out
}
