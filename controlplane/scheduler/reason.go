package scheduler

import (
	"fmt"
	"slices"
	"strings"

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

// reasons remembers the answers since the ledger last changed: a full cluster is asked the same again and
// again, and each answer takes a look at all nodes.
type reasons struct{ known map[shape]*Unschedulable }

func (r *reasons) stale() {
	if len(r.known) > 0 {
		clear(r.known)
	}
}

// maxReasons bounds what is remembered.
const maxReasons = 1024

func (c *core) why(req *controlplane.PlaceRequest) *Unschedulable {
	s := shapeOf(req)
	if e := c.reasons.known[s]; e != nil {
		return e
	}
	e := c.explain(req)
	if c.reasons.known == nil {
		c.reasons.known = map[shape]*Unschedulable{}
	}
	if len(c.reasons.known) < maxReasons {
		c.reasons.known[s] = e
	}
	return e
}

// explain counts the nodes by what is against them: the first of the filters that refuses, or all the
// resources that are short.
func (c *core) explain(req *controlplane.PlaceRequest) *Unschedulable {
	counts := map[string]int{}
	total, feasible := 0, false
	for _, n := range c.fleet.nodes {
		if !n.known {
			continue
		}
		total++
		feasible = feasible || req.Demand.Fits(n.spec.Capacity)
		for _, why := range n.refuses(req) {
			counts[why]++
		}
	}
	if total == 0 {
		return &Unschedulable{Message: "no nodes available to schedule pods"}
	}
	parts := make([]string, 0, len(counts))
	for why, n := range counts {
		parts = append(parts, fmt.Sprintf("%d %s", n, why))
	}
	slices.Sort(parts)
	e := &Unschedulable{Message: fmt.Sprintf("0/%d nodes are available: %s.", total, strings.Join(parts, ", ")), Infeasible: !feasible}
	if e.Infeasible {
		e.Message += " No node could hold it, even empty."
	}
	return e
}

// refuses names what is against the pod on this node.
func (n *node) refuses(req *controlplane.PlaceRequest) []string {
	switch {
	case req.NodeName != "" && req.NodeName != n.spec.Name:
		return []string{"node(s) didn't match the requested node name"}
	case !n.spec.Ready:
		return []string{"node(s) were not ready"}
	case n.spec.Cordoned && req.NodeName == "":
		return []string{"node(s) were unschedulable"}
	case !n.matches(req.NodeSelector):
		return []string{"node(s) didn't match Pod's node affinity/selector"}
	}
	var out []string
	if !n.hasPorts(req.HostPorts) {
		out = append(out, "node(s) didn't have free ports for the requested pod ports")
	}
	free := n.free()
	if n.pods >= n.spec.MaxPods {
		out = append(out, "Too many pods")
	}
	if req.Demand.CPUMilli > free.CPUMilli {
		out = append(out, "Insufficient cpu")
	}
	if req.Demand.MemoryBytes > free.MemoryBytes {
		out = append(out, "Insufficient memory")
	}
	return out
}
