package plan

import (
	"fmt"
	"slices"
	"time"

	"swell.dev/swell/billing"
)

// Simulation is what a demand costs in several ways.
type Simulation struct {
	From, To int64         // Unix milliseconds: the whole days of the zone that the trace has
	Days     int           //
	List     billing.Money // each second at list
	Peak     billing.Money // the most that each class asks for at any time, kept for all of the time, at list: a fixed fleet
	Plans    []Simulated   // the plan that saves most first
}

// Simulated is one plan on the demand.
type Simulated struct {
	Recommendation
	Peak billing.Money // the fixed fleet with this plan, which its use never leaves unused
}

// Simulate compares candidates on a demand, by days of the zone for all whose offer leaves it to the buyer.
func Simulate(t *Trace, items Items, candidates []Candidate, zone *time.Location, o Options) (*Simulation, error) {
	candidates = slices.Clone(candidates)
	for i := range candidates {
		candidates[i].Zone = zone
	}
	start, end := wholeDays(zone, t.From, t.To)
	s := &Simulation{From: start.UnixMilli(), To: end.UnixMilli()}
	day := &billing.Plan{Interval: billing.Day, Zone: zone, Start: start, End: end}
	if s.Days = len(spans(day, s.From, s.To)); s.Days == 0 {
		return nil, fmt.Errorf("trace %s: %s to %s: want at least one whole day of %s", t.name, instant(t.From), instant(t.To), zone)
	}
	cells, err := t.Cells(items, Boundaries(append(Planned(candidates, s.From, s.To), day), t.From, t.To))
	if err != nil {
		return nil, err
	}
	cells = slices.DeleteFunc(cells, func(c billing.Cell) bool { return c.From < s.From || c.To > s.To })
	for i := range cells {
		s.List = s.List.Plus(cells[i].Quantity.At(cells[i].Item.Price))
	}
	fleet, err := t.peak(items, s.From, s.To)
	if err != nil {
		return nil, err
	}
	for i := range fleet {
		s.Peak = s.Peak.Plus(fleet[i].Quantity.At(fleet[i].Item.Price))
	}
	best, err := Recommend(&History{From: s.From, To: s.To, Cells: cells}, candidates, o)
	if err != nil {
		return nil, err
	}
	for _, r := range best {
		p := Simulated{Recommendation: r}
		for _, c := range fleet {
			price := c.Item.Price
			if d, ok := r.Candidate.Plan(billing.Money{}, s.From, s.To).Discount(c.Item); ok && r.Candidate.Scope.Covers("", "", c.Item.SKU.Class) {
				price = price.Off(d)
			}
			p.Peak = p.Peak.Plus(c.Quantity.At(price))
		}
		s.Plans = append(s.Plans, p)
	}
	return s, nil
}

// peak is a fleet that each class's demand fits into at any time.
func (t *Trace) peak(items Items, from, to int64) ([]billing.Cell, error) {
	most := map[string]row{}
	var classes []string
	for _, r := range t.rows {
		if r.to <= from || r.from >= to {
			continue
		}
		m, known := most[r.class]
		if !known {
			classes = append(classes, r.class)
		}
		m.line = r.line
		m.milli, m.bytes = max(m.milli, r.milli), max(m.bytes, r.bytes)
		most[r.class] = m
	}
	slices.Sort(classes)
	fleet := &Trace{From: from, To: to, name: t.name}
	for _, class := range classes {
		fleet.rows = append(fleet.rows, row{from: from, to: to, class: class, milli: most[class].milli, bytes: most[class].bytes, line: most[class].line})
	}
	return fleet.Cells(items, nil)
}
