package opencost

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// filter holds for allocations whose property has one of the values, or none of them.
type filter struct {
	of     property
	not    bool
	values []string
}

func (f *filter) holds(a *subject) bool {
	value := f.of.valueOf(a)
	return slices.ContainsFunc(f.values, func(v string) bool {
		if prefix, ok := strings.CutSuffix(v, "*"); ok {
			return strings.HasPrefix(value, prefix)
		}
		return v == value
	}) != f.not
}

// lists are the filters of OpenCost's first API, a list of values each; labels are NAME:VALUE.
var lists = map[string]string{"filterClusters": "cluster", "filterNodes": "node", "filterNamespaces": "namespace",
	"filterControllerKinds": "controllerKind", "filterControllers": "controller", "filterPods": "pod"}

var filterFields = map[string]string{"cluster": "cluster", "node": "node", "namespace": "namespace", "controllerKind": "controllerKind",
	"controllerName": "controller", "pod": "pod", "label": "label"}

func parseFilters(parameter, s string) ([]filter, error) {
	switch of, isList := lists[parameter]; {
	case parameter == "filter":
		return parseFilter(s)
	case isList:
		return []filter{{of: property{name: of}, values: split(s)}}, nil
	case parameter == "filterLabels":
		var out []filter
		for _, pair := range split(s) {
			name, value, ok := strings.Cut(pair, ":")
			if !ok {
				return nil, fmt.Errorf("%q: want NAME:VALUE", pair)
			}
			at := slices.IndexFunc(out, func(f filter) bool { return f.of.label == name })
			if at < 0 {
				at, out = len(out), append(out, filter{of: property{"label", name}})
			}
			out[at].values = append(out[at].values, value)
		}
		return out, nil
	}
	return nil, errors.New("it isn't offered here: want filter, such as namespace:\"web\"")
}

func split(s string) []string {
	var out []string
	for _, v := range strings.Split(s, ",") {
		out = append(out, strings.TrimSpace(v))
	}
	return out
}

// parseFilter reads conditions that all have to hold, with + or a space between them:
// namespace:"a","b"+label[app]!:"web".
func parseFilter(s string) ([]filter, error) {
	wrong := func(at string) error {
		return fmt.Errorf("%q at %q: want conditions such as namespace:\"a\",\"b\" or label[app]!:\"web\" with + between them, of %s",
			s, at, "cluster, node, namespace, controllerKind, controllerName, pod, label[NAME]")
	}
	var out []filter
	for rest := strings.TrimLeft(s, "+ \t"); rest != ""; rest = strings.TrimLeft(rest, "+ \t") {
		at := rest
		n := strings.IndexFunc(rest, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') })
		if n <= 0 {
			return nil, wrong(at)
		}
		name, known := filterFields[rest[:n]]
		f := filter{of: property{name: name}}
		rest = rest[n:]
		if strings.HasPrefix(rest, "[") {
			key, after, closed := strings.Cut(rest[1:], "]")
			if known = known && closed && key != ""; known {
				f.of.label, rest = strings.Trim(key, `"`), after
			}
		}
		if !known || (f.of.label != "") != (name == "label") {
			return nil, wrong(at)
		}
		rest, f.not = strings.CutPrefix(rest, "!")
		var ok bool
		if rest, ok = strings.CutPrefix(rest, ":"); !ok {
			return nil, wrong(at)
		}
		for more := true; more; rest, more = strings.CutPrefix(rest, ",") {
			rest = strings.TrimLeft(rest, " ")
			after, quoted := strings.CutPrefix(rest, `"`)
			value, left, closed := strings.Cut(after, `"`)
			if !quoted || !closed {
				return nil, wrong(at)
			}
			f.values, rest = append(f.values, value), left
		}
		out = append(out, f)
	}
	return out, nil
}
