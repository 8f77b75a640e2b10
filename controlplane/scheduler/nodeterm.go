package scheduler

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/controlplane"
)

// nodeTerm is a term of node affinity: all of its expressions hold.
type nodeTerm struct {
	labels []nodeExpr
	names  []nodeExpr // about the node's name
}

type nodeExpr struct {
	key    string
	op     corev1.NodeSelectorOperator
	values []string
	number int64 // of Gt and Lt
	broken bool  // Gt and Lt with what is no number: holds nowhere
}

func nodeTermOf(t *corev1.NodeSelectorTerm) nodeTerm {
	return nodeTerm{labels: nodeExprs(t.MatchExpressions), names: nodeExprs(t.MatchFields)}
}

func nodeExprs(list []corev1.NodeSelectorRequirement) []nodeExpr {
	var out []nodeExpr
	for _, r := range list {
		e := nodeExpr{key: r.Key, op: r.Operator, values: r.Values}
		if r.Operator == corev1.NodeSelectorOpGt || r.Operator == corev1.NodeSelectorOpLt {
			var err error
			if len(r.Values) == 1 {
				e.number, err = strconv.ParseInt(r.Values[0], 10, 64)
			}
			e.broken = err != nil || len(r.Values) != 1
		}
		out = append(out, e)
	}
	return out
}

// matches is false of a term without expressions, as in Kubernetes.
func (t *nodeTerm) matches(spec *controlplane.Node) bool {
	for i := range t.labels {
		value, has := spec.Labels[t.labels[i].key]
		if !t.labels[i].holds(value, has) {
			return false
		}
	}
	for i := range t.names {
		if !t.names[i].holds(spec.Name, true) {
			return false
		}
	}
	return len(t.labels)+len(t.names) > 0
}

func anyTerm(terms []nodeTerm, spec *controlplane.Node) bool {
	for i := range terms {
		if terms[i].matches(spec) {
			return true
		}
	}
	return false
}

func (e *nodeExpr) holds(value string, has bool) bool {
	switch e.op {
	case corev1.NodeSelectorOpIn:
		return has && slices.Contains(e.values, value)
	case corev1.NodeSelectorOpNotIn:
		return !has || !slices.Contains(e.values, value)
	case corev1.NodeSelectorOpExists:
		return has
	case corev1.NodeSelectorOpDoesNotExist:
		return !has
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		n, err := strconv.ParseInt(value, 10, 64)
		if !has || err != nil || e.broken {
			return false
		}
		if e.op == corev1.NodeSelectorOpGt {
			return n > e.number
		}
		return n < e.number
	}
	return false
}

// area is a part of the fleet: the nodes that have one of the labels, and some by name.
type area struct {
	labels []label
	names  []string
	size   int // how many nodes, at most
}

// maxLabels bounds the labels of an area. What has more is sought among all nodes.
const maxLabels = 16

// areaOf answers where nodes are that match the terms; false if the indexes don't tell.
func (f *fleet) areaOf(terms []nodeTerm) (area, bool) {
	var out area
	for i := range terms {
		best, found := area{}, false
		for j := range terms[i].labels {
			if a, ok := f.areaOfExpr(&terms[i].labels[j]); ok && (!found || a.size < best.size) {
				best, found = a, true
			}
		}
		for _, e := range terms[i].names {
			if e.op == corev1.NodeSelectorOpIn && (!found || len(e.values) < best.size) {
				best, found = area{names: e.values, size: len(e.values)}, true
			}
		}
		if !found {
			return area{}, false
		}
		out.labels, out.names = append(out.labels, best.labels...), append(out.names, best.names...)
		if out.size += best.size; len(out.labels) > maxLabels {
			return area{}, false
		}
	}
	return out, true
}

func (f *fleet) areaOfExpr(e *nodeExpr) (area, bool) {
	var out area
	add := func(v string) {
		l := label{e.key, v}
		if n := len(f.having[l]); n > 0 {
			out.labels = append(out.labels, l)
			out.size += n
		}
	}
	if e.op == corev1.NodeSelectorOpIn {
		if len(e.values) > maxLabels {
			return out, false
		}
		for i, v := range e.values {
			if !slices.Contains(e.values[:i], v) {
				add(v)
			}
		}
		return out, true
	}
	if e.holds("", false) && f.keyed[e.key] < len(f.list) || len(f.values[e.key]) > maxLabels {
		return out, false // it holds where the label isn't, or the label has too many values
	}
	for v := range f.values[e.key] {
		if e.holds(v, true) {
			add(v)
		}
	}
	return out, true
}
