package opencost

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxSets        = 10_000
	maxAllocations = 200_000 // in all sets
)

// Request is what a client asks for.
type Request struct {
	Window Window
	Idle   bool // with what commitments were left unused

	sets      []Window
	aggregate []property
	filters   []filter
}

// property is what allocations are told apart by.
type property struct {
	name  string
	label string // of name "label"
}

var properties = []string{"cluster", "node", "namespace", "controllerKind", "controller", "pod", "deployment", "statefulset", "daemonset", "job",
	"department", "environment", "owner", "product", "team", "label"}

// aliases are labels that OpenCost knows by other names.
var aliases = map[string]string{"department": "department", "environment": "env", "owner": "owner", "product": "app", "team": "team"}

// byDefault is how allocations are named that aren't aggregated; containers have no names here.
var byDefault = []property{{name: "cluster"}, {name: "node"}, {name: "namespace"}, {name: "pod"}, {name: "container"}}

func parseProperty(s string) (property, error) {
	name, label, has := strings.Cut(strings.TrimSpace(s), ":")
	for _, p := range properties {
		if strings.EqualFold(p, name) && has == (p == "label") && (!has || label != "") {
			return property{p, label}, nil
		}
	}
	return property{}, fmt.Errorf("%q: want one of %s:NAME", s, strings.Join(properties, ", "))
}

// Parse reads a request's parameters. Parameters that choose, share or hide costs in ways that aren't known are
// refused; those that say how OpenCost should work, such as resolution, don't matter.
func Parse(v url.Values, now time.Time) (*Request, error) {
	q := &Request{}
	var err error
	invalid := func(name string) (*Request, error) { return nil, fmt.Errorf("Invalid '%s' parameter: %w", name, err) }
	if q.Window, err = parseWindow(v.Get("window"), now); err != nil {
		return invalid("window")
	}
	for _, s := range strings.FieldsFunc(strings.Join(v["aggregate"], ","), func(r rune) bool { return r == ',' }) {
		p, perr := parseProperty(s)
		if err = perr; err != nil {
			return invalid("aggregate")
		}
		if !slices.Contains(q.aggregate, p) {
			q.aggregate = append(q.aggregate, p)
		}
	}
	if len(q.aggregate) == 0 {
		q.aggregate = byDefault
	}
	for _, name := range []string{"idle", "includeIdle"} {
		if q.Idle, err = boolean(v, name, q.Idle); err != nil {
			return invalid(name)
		}
	}
	for _, name := range []string{"shareIdle", "idleByNode", "shareLB"} {
		on, ferr := boolean(v, name, false)
		if err = ferr; err == nil && on {
			err = fmt.Errorf("%q: it isn't offered here: want false", v.Get(name))
		}
		if err != nil {
			return invalid(name)
		}
	}
	step := v.Get("step")
	if how := strings.ToLower(v.Get("accumulate")); how != "" {
		switch all, berr := strconv.ParseBool(how); {
		case how == "all" || (berr == nil && all):
			step = ""
		case berr == nil || how == "none":
		case slices.Contains([]string{"hour", "day", "week", "month"}, how):
			step = how
		default:
			err = fmt.Errorf("%q: want true, false, or one of hour, day, week, month", how)
			return invalid("accumulate")
		}
	}
	q.sets = []Window{q.Window}
	if step != "" {
		if q.sets, err = q.Window.steps(step); err != nil {
			return invalid("step")
		}
	}
	for name, values := range v {
		if strings.HasPrefix(name, "filter") && strings.Join(values, "") != "" {
			more, ferr := parseFilters(name, strings.Join(values, ","))
			if err = ferr; err != nil {
				return invalid(name)
			}
			q.filters = append(q.filters, more...)
		}
		if strings.HasPrefix(name, "share") && !strings.HasPrefix(name, "shareIdle") && name != "shareLB" && name != "shareSplit" && strings.Join(values, "") != "" && values[0] != "false" {
			err = fmt.Errorf("%q: it isn't offered here: want none", values[0])
			return invalid(name)
		}
	}
	return q, nil
}

func boolean(v url.Values, name string, otherwise bool) (bool, error) {
	s := v.Get(name)
	if s == "" {
		return otherwise, nil
	}
	on, err := strconv.ParseBool(s)
	if err != nil {
		return false, fmt.Errorf("%q: want true or false", s)
	}
	return on, nil
}

// Cuts are the times, in Unix milliseconds, at which charges have to be divided.
func (q *Request) Cuts() []int64 {
	out := []int64{q.Window.Start.UnixMilli()}
	for _, s := range q.sets {
		out = append(out, s.End.UnixMilli())
	}
	return out
}
