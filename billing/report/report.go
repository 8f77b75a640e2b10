package report

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"swell.dev/swell/billing"
)

// Report is charges summed up.
type Report struct {
	Query    Query
	Currency string
	Rows     []Row // by period, then by key; what is beyond the limit last in its period
	Total    Sums
	Charges  int64 // how many
	LeftOut  int64 // groups without rows of their own; at least so many, where they are more than can be counted
}

// Row is what the charges of a group in a period come to.
type Row struct {
	Period Period
	Key    []string // by Query.By
	Others bool     // it is all groups that have no row of their own; Key is empty
	Sums
}

// Accumulator makes a report of charges.
type Accumulator struct {
	query   Query
	periods []Period
	most    int // groups
	groups  map[string]*group
	others  map[int]*tally // by period: of groups that came when there were too many
	total   tally
	charges int64
	scratch []byte
	key     []byte
	lastKey []byte // whose group is last
	last    *group
}

type group struct {
	key   []string
	cells []cell // ordered by period
}

type cell struct {
	period int
	tally
}

// NewAccumulator begins a report.
func NewAccumulator(q Query) (*Accumulator, error) {
	q, err := q.Normal()
	if err != nil {
		return nil, err
	}
	periods, err := q.Step.periods(q.From, q.To, q.Zone)
	if err != nil {
		return nil, err
	}
	return &Accumulator{
		query: q, periods: periods, most: min(maxGroups, maxCells/len(periods)),
		groups: map[string]*group{}, others: map[int]*tally{},
	}, nil
}

// Add adds a charge, if the report is about it.
func (a *Accumulator) Add(c *billing.Charge) error {
	if !a.query.matches(c, &a.scratch) {
		return nil
	}
	a.charges++
	if err := a.total.add(c); err != nil {
		return err
	}
	return a.tallyOf(c).add(c)
}

func (a *Accumulator) tallyOf(c *billing.Charge) *tally {
	at := 0
	if len(a.periods) > 1 {
		at = periodOf(a.periods, c.From)
	}
	a.key = a.key[:0]
	for _, d := range a.query.By {
		before := len(a.key)
		a.key = d.append(a.key, c)
		a.key = binary.LittleEndian.AppendUint32(a.key, uint32(len(a.key)-before))
	}
	if a.last == nil || !bytes.Equal(a.key, a.lastKey) {
		g := a.groups[string(a.key)]
		if g == nil {
			if len(a.groups) == a.most {
				return a.other(at)
			}
			g = &group{}
			for _, d := range a.query.By {
				g.key = append(g.key, string(d.append(nil, c)))
			}
			a.groups[string(a.key)] = g
		}
		a.last, a.lastKey = g, append(a.lastKey[:0], a.key...)
	}
	return a.last.at(at)
}

func (a *Accumulator) other(period int) *tally {
	t := a.others[period]
	if t == nil {
		t = &tally{}
		a.others[period] = t
	}
	return t
}

// at answers the group's cell of a period. Charges come mostly in order.
func (g *group) at(period int) *tally {
	n := len(g.cells)
	if n > 0 && g.cells[n-1].period == period {
		return &g.cells[n-1].tally
	}
	i, found := slices.BinarySearchFunc(g.cells, period, func(c cell, p int) int { return cmp.Compare(c.period, p) })
	if !found {
		g.cells = slices.Insert(g.cells, i, cell{period: period})
	}
	return &g.cells[i].tally
}

// Report answers what came so far. A group has rows of its own if it is among the dearest, by what it costs with
// plans, as many as the limit says.
func (a *Accumulator) Report(currency string) (*Report, error) {
	out := &Report{Query: a.query, Currency: currency, Total: a.total.Sums, Charges: a.charges}
	all := make([]*group, 0, len(a.groups))
	cost := make(map[*group]billing.Money, len(a.groups))
	for _, g := range a.groups {
		all = append(all, g)
		var sum billing.Money
		for i := range g.cells {
			sum = sum.Plus(g.cells[i].Effective)
		}
		cost[g] = sum
	}
	slices.SortFunc(all, func(x, y *group) int {
		return cmp.Or(cost[y].Compare(cost[x]), slices.Compare(x.key, y.key))
	})
	others := map[int]*Sums{}
	add := func(period int, s *Sums) error {
		if others[period] == nil {
			others[period] = &Sums{}
		}
		return others[period].plus(s)
	}
	for at, t := range a.others {
		if err := add(at, &t.Sums); err != nil {
			return nil, err
		}
		out.LeftOut = 1
	}
	for i, g := range all {
		for j := range g.cells {
			c := &g.cells[j]
			if i < a.query.Limit {
				out.Rows = append(out.Rows, Row{Period: a.periods[c.period], Key: g.key, Sums: c.Sums})
			} else if err := add(c.period, &c.Sums); err != nil {
				return nil, err
			}
		}
	}
	out.LeftOut += int64(max(len(all)-a.query.Limit, 0))
	for at, s := range others {
		out.Rows = append(out.Rows, Row{Period: a.periods[at], Key: make([]string, len(a.query.By)), Others: true, Sums: *s})
	}
	slices.SortFunc(out.Rows, func(x, y Row) int {
		return cmp.Or(cmp.Compare(x.Period.From, y.Period.From), cmp.Compare(b2i(x.Others), b2i(y.Others)), slices.Compare(x.Key, y.Key))
	})
	return out, nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
