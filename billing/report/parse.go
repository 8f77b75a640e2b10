package report

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

// ParseQuery reads what a report of a period tells from a URL's parameters: by, step, filter, labelSelector, limit.
// What isn't given is by project. A dimension hour, day or month stands for the step.
func ParseQuery(v url.Values, from, to time.Time, zone *time.Location) (Query, error) {
	q := Query{From: from, To: to, Zone: zone}
	var err error
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
