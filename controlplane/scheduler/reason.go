package scheduler

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"swell.dev/swell/controlplane"
)

// Unschedulable says why no node has room, in kube-scheduler's words. It is ErrNoCapacity; where no node
// could hold the pod even if it were empty, it is ErrInfeasible as well.
type Unschedulable struct {
	Message    string
	Infeasible bool
}

func (e *Unschedulable) Error() string { return e.Message }

// Is makes it one of the classes.
func (e *Unschedulable) Is(target error) bool {
	return target == controlplane.ErrNoCapacity || e.Infeasible && target == controlplane.ErrInfeasible
}

// reasons remembers the answers: a full cluster is asked the same again and again, and each answer takes a
// look at all nodes. What pods do changes little of an answer for a large fleet, so an answer holds for as
// many changes as an eighth of the nodes; what nodes do ends it at once.
type reasons struct {
	known   map[shape]reason
	changes int // counts what pods did
}

type reason struct {
	*Unschedulable
	asOf int
}

const changesPerNode = 8 // as a divisor

// stale forgets all answers.
func (r *reasons) stale() {
	if len(r.known) > 0 {
		clear(r.known)
	}
}

// current tells whether it was found out just now that there is no room.
func (r *reasons) current(s shape) bool {
	e, ok := r.known[s]
	return ok && e.asOf == r.changes
}

// recent answers what is known, nil if that is too old.
func (r *reasons) recent(s shape, nodes int) *Unschedulable {
	if e, ok := r.known[s]; ok && r.changes-e.asOf <= nodes/changesPerNode {
		return e.Unschedulable
	}
	return nil
}

// maxReasons bounds what is remembered.
const maxReasons = 1024

func (c *core) why(req *controlplane.PlaceRequest) *Unschedulable {
	p := c.planOf(req)
	s, _ := c.shapeOf(req, p)
	return c.whyOf(s, req, p)
}

func (c *core) whyOf(s shape, req *controlplane.PlaceRequest, p *plan) *Unschedulable {
	e := c.whyNot(s, req, p)
	if !req.BoostRequired {
		return e
	}
	cpu := resource.NewMilliQuantity(req.BoostCPUMilli, resource.DecimalSI)
	return &Unschedulable{Message: fmt.Sprintf("%s Of what it requests %s CPU are its startup boost, which is required.", e.Message, cpu), Infeasible: e.Infeasible}
}

// whyNot is whyOf for any pod that asks for as much.
func (c *core) whyNot(s shape, req *controlplane.PlaceRequest, p *plan) *Unschedulable {
	if e := c.reasons.recent(s, len(c.fleet.list)); e != nil {
		return e
	}
	e := c.explain(c.readyWith(req, p))
	if c.reasons.known == nil {
		c.reasons.known = map[shape]reason{}
	}
	if len(c.reasons.known) >= maxReasons {
		clear(c.reasons.known)
	}
	c.reasons.known[s] = reason{e, c.reasons.changes}
	return e
}

// refusal is what is against a pod on a node.
type refusal uint8

const (
	otherName refusal = iota
	notReady
	cordoned
	otherLabels
	otherClass
	tainted
	noPorts
	noSpread
	noTopology
	noMates
	foes
	kept
	tooManyPods
	noCPU
	noMemory
	refusals // how many there are
)

var refusalText = [refusals]string{
	otherName:   "node(s) didn't match the requested node name",
	notReady:    "node(s) were not ready",
	cordoned:    "node(s) were unschedulable",
	otherLabels: "node(s) didn't match Pod's node affinity/selector",
	otherClass:  "node(s) didn't offer the compute class ",
	tainted:     "node(s) had untolerated taint ",
	noPorts:     "node(s) didn't have free ports for the requested pod ports",
	noSpread:    "node(s) didn't match pod topology spread constraints",
	noTopology:  "node(s) didn't match pod topology spread constraints (missing required label)",
	noMates:     "node(s) didn't match pod affinity rules",
	foes:        "node(s) didn't match pod anti-affinity rules",
	kept:        "node(s) didn't satisfy existing pods anti-affinity rules",
	tooManyPods: "Too many pods",
	noCPU:       "Insufficient cpu",
	noMemory:    "Insufficient memory",
}

// tally counts nodes by what is against them.
type tally struct {
	counts [refusals]int
	taints map[string]int
}

// explain counts the nodes by what is against them: the first of the filters that refuses, or all the
// resources that are short.
func (c *core) explain(s *search) *Unschedulable {
	var t tally
	feasible := false
	for _, n := range c.fleet.list {
		feasible = feasible || s.req.Demand.Fits(n.spec.Capacity)
		t.add(s, n)
	}
	if len(c.fleet.list) == 0 {
		return &Unschedulable{Message: "no nodes available to schedule pods"}
	}
	parts := make([]string, 0, 4)
	for why, n := range t.counts {
		if n == 0 || refusal(why) == tainted {
			continue
		}
		text := refusalText[why]
		if refusal(why) == otherClass {
			text += s.class.String()
		}
		parts = append(parts, fmt.Sprintf("%d %s", n, text))
	}
	for taint, n := range t.taints {
		parts = append(parts, fmt.Sprintf("%d %s%s", n, refusalText[tainted], taint))
	}
	slices.Sort(parts)
	e := &Unschedulable{Message: fmt.Sprintf("0/%d nodes are available: %s.", len(c.fleet.list), strings.Join(parts, ", ")), Infeasible: !feasible}
	if e.Infeasible {
		e.Message += " No node could hold it, even empty."
	}
	return e
}

func (t *tally) add(s *search, n *node) {
	req, p := s.req, s.plan
	byName := req.NodeName != ""
	first := refusals
	switch {
	case byName && req.NodeName != n.spec.Name:
		first = otherName
	case !n.spec.Ready:
		first = notReady
	case n.spec.Cordoned && !byName:
		first = cordoned
	case !n.matches(req.NodeSelector) || p != nil && p.needed && !anyTerm(p.required, &n.spec):
		first = otherLabels
	case n.pool.classes&s.class == 0:
		first = otherClass
	case byName && s.expelled(n) || !byName && !s.mayHave(n.pool):
		t.taint(s, n)
		return
	case !n.hasPorts(req.HostPorts):
		first = noPorts
	case byName:
	case p.social() && !s.spreads(n):
		first = noSpread
		for i := range p.spreads {
			if sp := &p.spreads[i]; sp.hard {
				if _, ok := sp.census.at(n); !ok {
					first = noTopology
				}
			}
		}
	case p.social() && !s.joins(n):
		first = noMates
	case p.social() && !s.avoids(n):
		first = foes
	case s.isKept(n):
		first = kept
	}
	if first < refusals {
		if t.counts[first]++; first != noPorts {
			return
		}
	}
	free := n.free()
	if n.full() {
		t.counts[tooManyPods]++
	}
	if req.Demand.CPUMilli > free.CPUMilli {
		t.counts[noCPU]++
	}
	if req.Demand.MemoryBytes > free.MemoryBytes {
		t.counts[noMemory]++
	}
}

// taint names the first taint that isn't tolerated.
func (t *tally) taint(s *search, n *node) {
	for i := range n.pool.taints {
		x := &n.pool.taints[i]
		if !controlplane.Repels(x) || s.req.NodeName != "" && x.Effect != corev1.TaintEffectNoExecute || s.plan != nil && controlplane.Tolerates(s.plan.tolerations, x) {
			continue
		}
		if t.taints == nil {
			t.taints = map[string]int{}
		}
		t.taints[fmt.Sprintf("{%s: %s}", x.Key, x.Value)]++
		return
	}
}
