package scheduler

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/controlplane"
)

const expelledMessage = "deleting due to NoExecute taint"

// expel decides anew which of the node's pods its taints drive out, and when.
func (c *core) expel(n *node) {
	for _, r := range n.held {
		c.doom(r)
	}
}

// doom decides when the pod has to go. What was decided before is void.
func (c *core) doom(r *reservation) {
	r.doom++
	after, ever := r.tolerated()
	switch {
	case ever || r.leaving:
	case after == 0:
		c.expelNow(r)
	default:
		c.decisions = append(c.decisions, decision{kind: expelled, uid: r.uid, key: r.key(), node: r.node.spec.Name, after: after, doom: r.doom})
	}
}

// doomed is called when the time is over that a pod was given.
func (c *core) doomed(uid string, doom uint16) {
	if r := c.pods[uid]; r != nil && r.doom == doom && !r.leaving {
		c.expelNow(r)
	}
}

func (c *core) expelNow(r *reservation) {
	c.regard(r, func() { r.leaving = true })
	c.decisions = append(c.decisions, decision{
		kind: evicted, uid: r.uid, key: r.key(), node: r.node.spec.Name, reason: controlplane.Expelled, message: expelledMessage,
	})
}

// tolerated is how long the pod may stay on its node: ever, or the shortest time that its tolerations give
// for a taint; no time for a taint that none of them covers.
func (r *reservation) tolerated() (after time.Duration, ever bool) {
	if r.node.pool == nil || !r.node.pool.expels {
		return 0, true
	}
	ever = true
	for i := range r.node.pool.taints {
		t := &r.node.pool.taints[i]
		if t.Effect != corev1.TaintEffectNoExecute {
			continue
		}
		covered := false
		if r.plan != nil {
			for j := range r.plan.tolerations {
				x := &r.plan.tolerations[j]
				if !controlplane.Covers(x, t) {
					continue
				}
				covered = true
				if x.TolerationSeconds == nil {
					continue
				}
				if d := time.Duration(max(*x.TolerationSeconds, 0)) * time.Second; ever || d < after {
					after, ever = d, false
				}
			}
		}
		if !covered {
			return 0, false
		}
	}
	return after, ever
}
