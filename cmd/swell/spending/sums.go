package spending

import (
	"maps"
	"time"

	"swell.dev/swell/billing"
	"swell.dev/swell/billing/plan"
)

// cell is what use is summed by.
type cell struct {
	atom    int32 // index of its slice of time
	project string
	item    *billing.Item
}

// sums are quantities by cell, and when each slice of a project's began to be used.
type sums struct {
	cells map[cell]billing.Quantity
	first map[begin]int64
}

type begin struct {
	atom    int32
	project string
}

func (s *sums) init() { s.cells, s.first = map[cell]billing.Quantity{}, map[begin]int64{} }

func (s *sums) add(c cell, q billing.Quantity, from int64) {
	s.cells[c] += q
	b := begin{c.atom, c.project}
	if at, ok := s.first[b]; !ok || from < at {
		s.first[b] = from
	}
}

// answer lays plans onto closed and open use together.
func (m *Meter) answer(going *sums, hourly map[string]billing.Money) ([]map[string]Project, error) {
	c := m.count
	end := func(atom int32) int64 {
		if int(atom)+1 < len(c.atoms) {
			return c.atoms[atom+1]
		}
		return c.to
	}
	accounts := map[string]string{}
	var cells []billing.Cell
	var keys []cell
	add := func(k cell, q billing.Quantity) {
		account, ok := accounts[k.project]
		if !ok {
			account = m.cfg.Account(k.project)
			accounts[k.project] = account
		}
		keys = append(keys, k)
		cells = append(cells, billing.Cell{From: c.atoms[k.atom], To: end(k.atom), Account: account, Project: k.project, Item: k.item, Quantity: q})
	}
	for k, q := range c.sums.cells {
		add(k, q+going.cells[k])
	}
	for k, q := range going.cells {
		if _, ok := c.sums.cells[k]; !ok {
			add(k, q)
		}
	}
	var covered *plan.Result
	if len(c.plans) > 0 {
		var err error
		if covered, err = plan.Apply(c.plans, cells, c.from, c.to); err != nil {
			return nil, err
		}
	}
	out := make([]map[string]Project, len(c.since))
	for i := range out {
		out[i] = map[string]Project{}
		for project, per := range hourly {
			out[i][project] = Project{PerHour: per}
		}
	}
	for i := range cells {
		left, cost := cells[i].Quantity, billing.Money{}
		if covered != nil {
			for _, v := range covered.Covers(i) {
				left -= v.Quantity
				cost = cost.Plus(v.Draw)
			}
		}
		cost = cost.Plus(left.At(cells[i].Item.Price))
		for j, t := range c.since {
			if cells[i].From >= t.UnixMilli() {
				p := out[j][keys[i].project]
				p.Spent = p.Spent.Plus(cost)
				out[j][keys[i].project] = p
			}
		}
	}
	c.firsts(going, out)
	return out, nil
}

// firsts fills in from when projects have used anything.
func (c *count) firsts(going *sums, out []map[string]Project) {
	all := maps.Clone(c.sums.first)
	for b, at := range going.first {
		if was, ok := all[b]; !ok || at < was {
			all[b] = at
		}
	}
	for b, at := range all {
		for j, t := range c.since {
			if c.atoms[b.atom] < t.UnixMilli() {
				continue
			}
			p := out[j][b.project]
			if first := time.UnixMilli(at).UTC(); p.First.IsZero() || first.Before(p.First) {
				p.First = first
			}
			out[j][b.project] = p
		}
	}
}
