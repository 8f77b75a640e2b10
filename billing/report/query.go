package report

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"swell.dev/swell/billing"
)

// Query says what a report tells.
type Query struct {
	From, To time.Time // To isn't part of it
	Zone     *time.Location
	Step     Step
	By       []Dimension     // none: one row for everything
	Match    []Match         // all have to hold
	Labels   labels.Selector // of pods; nil: all, and plans' own charges
	Limit    int             // how many groups have rows of their own; 0: DefaultLimit
}

// DefaultLimit is how many groups a report shows; the others are summed up in one row.
const DefaultLimit = 1000

// maxCells bounds a report's memory: groups × periods.
const maxCells = 1_000_000

// maxGroups bounds the groups among which the dearest are chosen. Those that come when there are so many already
// go into the row of others, whatever they cost.
const maxGroups = 100_000

// Match holds for charges that have one of the values.
type Match struct {
	Of     Dimension
	Values []string
}

// Normal checks the query and fills in defaults.
func (q Query) Normal() (Query, error) {
	if q.Zone == nil {
		q.Zone = time.UTC
	}
	if q.Limit == 0 {
		q.Limit = DefaultLimit
	}
	if !q.From.Before(q.To) {
		return q, fmt.Errorf("from %s: want a time before the end, %s", q.From.In(q.Zone).Format(time.RFC3339), q.To.In(q.Zone).Format(time.RFC3339))
	}
	periods, err := q.Step.periods(q.From, q.To, q.Zone)
	if err != nil {
		return q, err
	}
	if most := min(maxGroups, maxCells/len(periods)); q.Limit < 1 || q.Limit > most {
		return q, fmt.Errorf("limit %d: want between 1 and %d for %d periods", q.Limit, most, len(periods))
	}
	return q, nil
}

// Cuts are the times at which charges have to be divided so that each is of one period.
func (q Query) Cuts() ([]int64, error) {
	periods, err := q.Step.periods(q.From, q.To, q.Zone)
	if err != nil {
		return nil, err
	}
	cuts := []int64{q.From.UnixMilli()}
	for _, p := range periods {
		cuts = append(cuts, p.To)
	}
	return cuts, nil
}

// matches reports whether the report is about a charge. buf is scratch.
func (q *Query) matches(c *billing.Charge, buf *[]byte) bool {
	if q.Labels != nil && (c.Segment == nil || !q.Labels.Matches(labels.Set(c.Segment.Labels))) {
		return false
	}
	for i := range q.Match {
		m := &q.Match[i]
		*buf = m.Of.append((*buf)[:0], c)
		found := false
		for _, v := range m.Values {
			if string(*buf) == v {
				found = true
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}

// Before answers the query for the time before: as many calendar months where the report is of whole ones, else as
// long a time. Of a time that isn't over yet, it is as much as has passed.
func (q Query) Before(now time.Time) Query {
	from, to := q.From.In(q.Zone), q.To.In(q.Zone)
	midnight := func(t time.Time) bool {
		y, m, _ := t.Date()
		return t.Equal(billing.Midnight(y, m, 1, q.Zone))
	}
	out := q
	out.From, out.To = q.From.Add(-q.To.Sub(q.From)), q.From
	if midnight(from) && midnight(to) {
		months := (to.Year()-from.Year())*12 + int(to.Month()-from.Month())
		out.From = billing.Midnight(from.Year(), from.Month()-time.Month(months), 1, q.Zone)
	}
	if passed := out.From.Add(now.Sub(q.From)); now.After(q.From) && now.Before(q.To) && passed.Before(out.To) {
		out.To = passed
	}
	return out
}
