package scheduler

import (
	"slices"

	"swell.dev/swell/controlplane"
)

// claim keeps room for a pod that waits for others to leave a node. What they hold comes to it: nobody else
// gets it meanwhile, but for whom would have taken it from the pod itself.
type claim struct {
	waiting *waiting
	node    *node
	leave   []*reservation // that it waits for
}

// keeps is what the claim holds of the node's free room now: what the leaving pods don't bring.
func (cl *claim) keeps() (controlplane.Demand, int) {
	d := cl.waiting.req.Demand
	for _, r := range cl.leave {
		d = d.Sub(r.reserved())
	}
	pods := 0
	if len(cl.leave) == 0 {
		pods = 1
	}
	return d.Max(controlplane.Demand{}), pods
}

// reckon sums up what the node's claims keep.
func (n *node) reckon() {
	n.claimed, n.claimedPods = controlplane.Demand{}, 0
	for _, cl := range n.claims {
		d, pods := cl.keeps()
		n.claimed, n.claimedPods = n.claimed.Add(d), n.claimedPods+pods
	}
}

// claimFor sends a node's lesser pods away and keeps their room for the one that waits.
func (c *core) claimFor(w *waiting, s *sacrifice) {
	n := s.node
	var lost []*waiting
	for _, cl := range slices.Clone(n.claims) {
		if cl.waiting.line.shape.rank < w.line.shape.rank {
			lost = append(lost, cl.waiting)
			c.abandon(cl)
		}
	}
	w.claim = &claim{waiting: w, node: n, leave: s.leave}
	for _, r := range s.leave {
		if !r.leaving {
			reason, message := controlplane.Preempted, "preempting to accommodate a higher priority pod"
			if r.rank < firmest && w.line.shape.rank > firmest {
				reason, message = controlplane.Reclaimed, "reclaiming best-effort capacity for a pod of default quality of service"
			}
			c.decisions = append(c.decisions, decision{
				kind: evicted, uid: r.uid, key: r.key(), node: n.spec.Name, reason: reason, message: message, request: &w.req,
			})
		}
		c.regard(r, func() { r.leaving, r.claim = true, w.claim })
	}
	n.claims = append(n.claims, w.claim)
	n.reckon()
	c.reindex(n)
	if c.watchClaims != nil {
		c.watchClaims(w.claim)
	}
	c.makeRoom(n, controlplane.Demand{}, nil, 0)
	if len(s.leave) == 0 { // the room was kept for lesser pods that wait, or lent
		c.honour(n)
	}
	if w.claim != nil {
		c.decisions = append(c.decisions, decision{kind: nominated, uid: w.req.UID, request: &w.req, node: n.spec.Name})
	}
	for _, other := range lost {
		if c.pending.pods[other.req.UID] == other {
			c.preempt(other)
		}
	}
}

// dropClaim gives a claim up. Who leaves for it leaves nevertheless.
func (c *core) dropClaim(cl *claim) {
	cl.waiting.claim = nil
	for _, r := range cl.leave {
		c.regard(r, func() { r.claim = nil })
	}
	n := cl.node
	n.claims = slices.DeleteFunc(n.claims, func(o *claim) bool { return o == cl })
	n.reckon()
	c.reindex(n)
}

// abandon gives up the claim of a pod that goes on waiting, and tells.
func (c *core) abandon(cl *claim) {
	c.dropClaim(cl)
	c.decisions = append(c.decisions, decision{kind: nominated, uid: cl.waiting.req.UID, request: &cl.waiting.req})
}

// forsake takes a pod that is gone out of the claim that waits for it.
func (c *core) forsake(r *reservation) {
	if cl := r.claim; cl != nil {
		cl.leave = slices.DeleteFunc(cl.leave, func(o *reservation) bool { return o == r })
	}
	if r.gives != nil {
		w := r.gives.wish
		w.leave = slices.DeleteFunc(w.leave, func(o *reservation) bool { return o == r })
	}
}

// honour gives the node to those whose claimed room is there. A claim that all have left for and that still
// doesn't do, because of other rules, is given up.
func (c *core) honour(n *node) {
	inTurn := slices.SortedFunc(slices.Values(n.claims), func(a, b *claim) int { return precedence(a.waiting, b.waiting) })
	for _, cl := range inTurn {
		w := cl.waiting
		if w.claim != cl {
			continue
		}
		n.claims = slices.DeleteFunc(n.claims, func(o *claim) bool { return o == cl })
		n.reckon()
		if c.readyFor(w).takesAnyway(n) {
			c.dropClaim(cl)
			c.unpend(w.req.UID)
			c.makeRoom(n, w.req.Demand, w.req.HostPorts, 1)
			c.bind(n, w.req)
			continue
		}
		soon := len(cl.leave) > 0 || n.whenTakenBack(func() bool { return c.readyFor(w).takesAnyway(n) })
		n.claims = append(n.claims, cl)
		n.reckon()
		if !soon { // a resize has it, or other rules are against it
			c.abandon(cl)
			c.freed = append(c.freed, n)
			c.preempt(w)
		}
	}
}

// review gives claims up that a node can't keep as it is now.
func (c *core) review(n *node) {
	for _, cl := range slices.Clone(n.claims) {
		w := cl.waiting
		if w.claim == cl && !c.awaits(cl) {
			c.abandon(cl)
			c.freed = append(c.freed, n)
			c.preempt(w)
		}
	}
}

// awaits tells whether the claim will do once those have left that it waits for.
func (c *core) awaits(cl *claim) bool {
	n, w := cl.node, cl.waiting
	c.quiet = true
	claims := n.claims
	n.claims = slices.DeleteFunc(slices.Clone(claims), func(o *claim) bool { return o == cl })
	n.reckon()
	for _, r := range cl.leave {
		c.imagine(r, -1)
	}
	ok := c.readyFor(w).takesAnyway(n) || n.whenTakenBack(func() bool { return c.readyFor(w).takesAnyway(n) })
	for _, r := range cl.leave {
		c.imagine(r, 1)
	}
	n.claims = claims
	n.reckon()
	c.quiet = false
	return ok
}
