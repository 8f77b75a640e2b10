package report

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"swell.dev/swell/billing"
)

// Parameters are the names that ParseQuery reads.
var Parameters = []string{"from", "to", "zone", "by", "step", "filter", "labelSelector", "limit"}

// ParseQuery reads a query from a URL's parameters. What isn't given is this month so far, by project, in UTC.
// A dimension hour, day or month stands for the step.
func ParseQuery(v url.Values, now time.Time) (Query, error) {
	q := Query{Zone: time.UTC}
	var err error
	if name := v.Get("zone"); name != "" {
		if q.Zone, err = time.LoadLocation(name); err != nil || name == "Local" {
			return q, fmt.Errorf("zone %q: want a name of the IANA time zone database, such as Europe/Berlin or UTC", name)
		}
	}
	y, m, _ := now.In(q.Zone).Date()
	if q.From, err = parseTime("from", v.Get("from"), billing.Midnight(y, m, 1, q.Zone), q.Zone); err != nil {
		return q, err
	}
	if q.To, err = parseTime("to", v.Get("to"), now, q.Zone); err != nil {
		return q, err
	}
	if s := v.Get("step"); s != "" {
		if q.Step, err = ParseStep(s); err != nil {
			return q, err
		}
	}
	if q.By, q.Step, err = parseBy(v, q.Step); err != nil {
		return q, err
	}
	if q.Match, err = parseFilters(v["filter"]); err != nil {
		return q, err
	}
	if s := v.Get("labelSelector"); s != "" {
		if q.Labels, err = labels.Parse(s); err != nil {
			return q, fmt.Errorf("labelSelector %q: want one such as app=web,tier!=test: %w", s, err)
		}
	}
	if s := v.Get("limit"); s != "" {
		if q.Limit, err = strconv.Atoi(s); err != nil || q.Limit < 1 {
			return q, fmt.Errorf("limit %q: want a number of rows, 1 or more", s)
		}
	}
	return q.Normal()
}

func parseBy(v url.Values, step Step) ([]Dimension, Step, error) {
	names := []string{"project"}
	if v.Has("by") {
		names = strings.FieldsFunc(strings.Join(v["by"], ","), func(r rune) bool { return r == ',' })
	}
	var by []Dimension
	for _, name := range names {
		if s, err := ParseStep(name); err == nil && s != NoStep {
			if step != NoStep && step != s {
				return nil, step, fmt.Errorf("by %q: the step is %s already: want one of them", name, step)
			}
			step = s
			continue
		}
		d, err := ParseDimension(name)
		if err != nil {
			return nil, step, fmt.Errorf("by: %w, hour, day, month", err)
		}
		if slices.Contains(by, d) {
			return nil, step, fmt.Errorf("by %q: given twice", name)
		}
		by = append(by, d)
	}
	return by, step, nil
}

// parseFilters reads DIMENSION=VALUE; of one dimension any value may hold.
func parseFilters(all []string) ([]Match, error) {
	var out []Match
	for _, f := range all {
		name, value, ok := strings.Cut(f, "=")
		d, err := ParseDimension(name)
		if !ok || err != nil {
			return nil, fmt.Errorf("filter %q: want DIMENSION=VALUE, such as project=web, with a dimension of %s", f, strings.Join(Dimensions(), ", "))
		}
		at := slices.IndexFunc(out, func(m Match) bool { return m.Of == d })
		if at < 0 {
			at, out = len(out), append(out, Match{Of: d})
		}
		out[at].Values = append(out[at].Values, value)
	}
	return out, nil
}

// parseTime reads an instant (RFC 3339), or the first one of a day or a month of the zone.
func parseTime(field, s string, otherwise time.Time, zone *time.Location) (time.Time, error) {
	if s == "" {
		return otherwise, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	for _, form := range []string{time.DateOnly, "2006-01"} {
		if t, err := time.Parse(form, s); err == nil {
			return billing.Midnight(t.Year(), t.Month(), t.Day(), zone), nil
		}
	}
	return time.Time{}, fmt.Errorf("%s %q: want a time such as 2026-10-31T00:00:00Z, a day such as 2026-10-31, or a month such as 2026-10", field, s)
}
