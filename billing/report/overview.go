package report

import (
	"cmp"
	"slices"
	"time"

	"swell.dev/swell/billing"
)

// Overview is a report with what stands around it on a page: cost over time, plans' utilisation, what has changed
// since the time before, and the pods that were resized most.
type Overview struct {
	Report    *Report
	ByProject *Report // in the chart's steps
	ByClass   *Report
	Before    *Report // of the time before, by project
	Plans     []PlanUse
	Projects  []Mover // by how much they changed
	Workloads []Mover
	Resized   Resized
	Made      time.Time
}

// Sizes of an overview's parts.
const (
	chartSeries = 7      // of a chart, and all others
	mostMovers  = 10     // that are told of
	moverGroups = 20_000 // that are compared
)

// Gathering makes an overview of charges.
type Gathering struct {
	query                         Query
	now                           time.Time
	main, byProject, byClass      *Accumulator
	projects, workloads           *Accumulator
	projectsBefore, workloadsPast *Accumulator
	plans                         planUse
	resized                       resizing
	scratch                       []byte
}

// NewGathering begins an overview.
func NewGathering(q Query, now time.Time) (*Gathering, error) {
	q, err := q.Normal()
	if err != nil {
		return nil, err
	}
	chart := q
	chart.Step, chart.Limit = chartStep(q), chartSeries
	all := q
	all.Step, all.Limit = NoStep, moverGroups
	g := &Gathering{query: q, now: now, plans: planUse{}, resized: newResizing(q)}
	for _, a := range []struct {
		into **Accumulator
		of   Query
		by   Dimension
	}{
		{&g.byProject, chart, Dimension{kind: project}}, {&g.byClass, chart, Dimension{kind: class}},
		{&g.projects, all, Dimension{kind: project}}, {&g.workloads, all, Dimension{kind: workload}},
		{&g.projectsBefore, all.Before(now), Dimension{kind: project}}, {&g.workloadsPast, all.Before(now), Dimension{kind: workload}},
	} {
		a.of.By = []Dimension{a.by}
		if *a.into, err = NewAccumulator(a.of); err != nil {
			return nil, err
		}
	}
	g.main, err = NewAccumulator(q)
	return g, err
}

// chartStep is hours for up to three days, days for up to a hundred, else months.
func chartStep(q Query) Step {
	switch d := q.To.Sub(q.From); {
	case d <= 73*time.Hour:
		return Hourly
	case d <= 100*24*time.Hour:
		return Daily
	}
	return Monthly
}

// Cuts are the times at which charges have to be divided.
func (g *Gathering) Cuts() ([]int64, error) {
	cuts, err := g.query.Cuts()
	if err != nil {
		return nil, err
	}
	more, err := g.byProject.query.Cuts()
	cuts = append(cuts, more...)
	slices.Sort(cuts)
	return slices.Compact(cuts), err
}

// Before is the time before the report's, of which AddBefore wants the charges.
func (g *Gathering) Before() Query { return g.projectsBefore.query }

// Add adds a charge of the report's time.
func (g *Gathering) Add(c *billing.Charge) error {
	if !g.query.matches(c, &g.scratch) {
		return nil
	}
	for _, a := range [...]*Accumulator{g.main, g.byProject, g.byClass, g.projects, g.workloads} {
		if err := a.Add(c); err != nil {
			return err
		}
	}
	g.plans.add(c)
	g.resized.add(c)
	return nil
}

// AddBefore adds a charge of the time before.
func (g *Gathering) AddBefore(c *billing.Charge) error {
	if err := g.projectsBefore.Add(c); err != nil {
		return err
	}
	return g.workloadsPast.Add(c)
}

// Overview answers what came so far.
func (g *Gathering) Overview(currency string) (*Overview, error) {
	out := &Overview{Made: g.now, Plans: g.plans.sorted(), Resized: g.resized.most()}
	var projects, workloads, workloadsPast *Report
	for _, r := range []struct {
		into **Report
		of   *Accumulator
	}{
		{&out.Report, g.main}, {&out.ByProject, g.byProject}, {&out.ByClass, g.byClass}, {&out.Before, g.projectsBefore},
		{&projects, g.projects}, {&workloads, g.workloads}, {&workloadsPast, g.workloadsPast},
	} {
		var err error
		if *r.into, err = r.of.Report(currency); err != nil {
			return nil, err
		}
	}
	out.Projects, out.Workloads = movers(projects, out.Before), movers(workloads, workloadsPast)
	return out, nil
}

// Mover is what a project or a workload costs, and cost in the time before.
type Mover struct {
	Name        string
	Now, Before billing.Money // with plans
}

// Change is how much more it costs.
func (m *Mover) Change() billing.Money { return m.Now.Minus(m.Before) }

// movers are those whose cost changed most, either way. Rows of others aren't comparable.
func movers(now, before *Report) []Mover {
	byName := map[string]*Mover{}
	var all []*Mover
	of := func(r *Row) *Mover {
		m := byName[r.Key[0]]
		if m == nil {
			m = &Mover{Name: r.Key[0]}
			byName[m.Name], all = m, append(all, m)
		}
		return m
	}
	for i := range now.Rows {
		if r := &now.Rows[i]; !r.Others {
			of(r).Now = r.Effective
		}
	}
	for i := range before.Rows {
		if r := &before.Rows[i]; !r.Others {
			of(r).Before = r.Effective
		}
	}
	slices.SortFunc(all, func(x, y *Mover) int {
		return cmp.Or(magnitude(y.Change()).Compare(magnitude(x.Change())), cmp.Compare(x.Name, y.Name))
	})
	var out []Mover
	for _, m := range all {
		if len(out) < mostMovers && m.Change().Sign() != 0 {
			out = append(out, *m)
		}
	}
	return out
}

func magnitude(m billing.Money) billing.Money {
	if m.Sign() < 0 {
		return m.Neg()
	}
	return m
}
