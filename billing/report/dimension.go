package report

import (
	"fmt"
	"slices"
	"strings"

	"swell.dev/swell/billing"
)

// Dimension is what charges are grouped or chosen by.
type Dimension struct {
	kind  dimension
	label string // of label
}

type dimension uint8

const (
	pod dimension = iota
	uid
	workload
	project
	account
	label
	class
	qos
	region
	node
	item
	resource
	planName
	kind
)

var dimensionNames = []string{"pod", "uid", "workload", "project", "account", "label", "class", "qos", "region", "node", "item", "resource", "plan", "kind"}

// Dimensions are the names that ParseDimension knows.
func Dimensions() []string {
	names := slices.Clone(dimensionNames)
	names[label] = "label:KEY"
	return names
}

// ParseDimension reads a dimension: project, label:team.
func ParseDimension(s string) (Dimension, error) {
	name, key, hasKey := strings.Cut(s, ":")
	if name == "namespace" { // a project is one
		name = "project"
	}
	at := slices.Index(dimensionNames, name)
	if at < 0 || (dimension(at) == label) != hasKey || (hasKey && key == "") {
		return Dimension{}, fmt.Errorf("dimension %q: want one of %s", s, strings.Join(Dimensions(), ", "))
	}
	return Dimension{dimension(at), key}, nil
}

// MustDimension is ParseDimension for constants.
func MustDimension(s string) Dimension {
	d, err := ParseDimension(s)
	if err != nil {
		panic(err)
	}
	return d
}

// String writes what ParseDimension reads.
func (d Dimension) String() string {
	if d.kind == label {
		return "label:" + d.label
	}
	return dimensionNames[d.kind]
}

// append writes a charge's value: nothing where it has none, as a plan's own charges have no pod. Names of pods and
// workloads are unique only within their project, which stands before them.
func (d Dimension) append(to []byte, c *billing.Charge) []byte {
	s := c.Segment
	switch d.kind {
	case project:
		return append(to, c.Project...)
	case account:
		return append(to, c.Account...)
	case planName:
		if c.Plan != nil {
			to = append(to, c.Plan.Name...)
		}
		return to
	case kind:
		return append(to, c.Kind.String()...)
	case item:
		if c.Item != nil {
			to = append(to, c.Item.ID...)
		}
		return to
	case resource:
		if c.Item != nil {
			to = append(to, c.Item.SKU.Resource.String()...)
		}
		return to
	}
	if s == nil {
		return to
	}
	switch d.kind {
	case pod:
		return append(append(append(to, c.Project...), '/'), s.Pod...)
	case workload:
		return append(append(append(to, c.Project...), '/'), billing.WorkloadOf(s).Name...)
	case uid:
		return append(to, s.PodUID...)
	case label:
		return append(to, s.Labels[d.label]...)
	case class:
		return append(to, s.ComputeClass...)
	case qos:
		return append(to, s.QoS...)
	case region:
		return append(to, s.Region...)
	case node:
		return append(to, s.Node...)
	}
	panic("dimension " + d.String())
}
