package report

import (
	"fmt"
	"sort"
	"time"

	"swell.dev/swell/billing"
)

// Step is what a report's time is divided into.
type Step uint8

// The steps.
const (
	NoStep  Step = iota
	Hourly       // hours of UTC
	Daily        // calendar days of the report's zone, of 23, 24 or 25 hours
	Monthly      // calendar months of the report's zone
)

var stepNames = []string{"none", "hour", "day", "month"}

// ParseStep knows none, hour, day and month.
func ParseStep(s string) (Step, error) {
	for i, name := range stepNames {
		if s == name {
			return Step(i), nil
		}
	}
	return 0, fmt.Errorf("step %q: want one of none, hour, day, month", s)
}

func (s Step) String() string { return stepNames[s] }

// next answers the end of the step that holds t.
func (s Step) next(t time.Time, zone *time.Location) time.Time {
	y, m, d := t.In(zone).Date()
	switch s {
	case Hourly:
		return t.UTC().Truncate(time.Hour).Add(time.Hour)
	case Daily:
		return billing.Midnight(y, m, d+1, zone)
	default:
		return billing.Midnight(y, m+1, 1, zone)
	}
}

// Period is a part of a report's time, in Unix milliseconds; the end isn't part of it.
type Period struct{ From, To int64 }

// maxPeriods are more than a year of hours.
const maxPeriods = 10_000

// periods divides [from, to).
func (s Step) periods(from, to time.Time, zone *time.Location) ([]Period, error) {
	end := to.UnixMilli()
	if s == NoStep {
		return []Period{{from.UnixMilli(), end}}, nil
	}
	var out []Period
	for at := from; at.UnixMilli() < end; {
		if len(out) == maxPeriods {
			return nil, fmt.Errorf("step %q: more than %d of them between %s and %s: want a longer step or less time",
				s, maxPeriods, from.In(zone).Format(time.RFC3339), to.In(zone).Format(time.RFC3339))
		}
		next := s.next(at, zone)
		out = append(out, Period{at.UnixMilli(), min(next.UnixMilli(), end)})
		at = next
	}
	return out, nil
}

// periodOf answers which period a charge is of: that in which it begins. A plan's interval may begin before the
// report or last beyond a period's end, where its zone isn't the report's.
func periodOf(periods []Period, from int64) int {
	return max(sort.Search(len(periods), func(i int) bool { return periods[i].From > from })-1, 0)
}
