package scheduler

import (
	"maps"
	"slices"

	"swell.dev/swell/controlplane"
)

// joinCrowds counts a pod among those that rules look for, and where it keeps others out.
func (c *core) joinCrowds(r *reservation)  { c.census1(r, 1) }
func (c *core) leaveCrowds(r *reservation) { c.census1(r, -1) }

func (c *core) census1(r *reservation, by int) {
	if len(c.crowds.all) == 0 {
		return
	}
	for _, x := range c.crowds.of(r.kin.namespace, r.kin.labels) {
		for _, s := range x.censuses {
			s.add(r.node, by)
		}
		c.stir(x)
	}
	if r.plan == nil {
		return
	}
	for _, s := range r.plan.keeps {
		s.add(r.node, by)
	}
	if len(r.plan.keeps) > 0 {
		for _, x := range r.plan.crowds {
			c.stir(x)
		}
	}
}

// stir notes that pods which wait may be helped by what happened among the crowd's.
func (c *core) stir(x *crowd) {
	if c.quiet {
		return
	}
	for l := range x.lines {
		c.stirred[l] = true
	}
}

func (c *core) stirAll() {
	for _, l := range c.pending.lines {
		if l.social() {
			c.stirred[l] = true
		}
	}
}

// withdraw takes a node out of all counts before its labels change; deposit puts it in again.
func (c *core) withdraw(n *node) {
	for _, x := range c.crowds.all {
		for _, s := range x.censuses {
			s.withdraw(n)
		}
		for _, s := range x.holders {
			s.withdraw(n)
		}
	}
	for _, l := range c.filters {
		l.withdraw(n)
	}
}

func (c *core) deposit(n *node) {
	if n.known {
		for _, l := range c.filters {
			l.deposit(n)
		}
	}
	for _, x := range c.crowds.all {
		for _, s := range x.censuses {
			s.deposit(n)
		}
		for _, s := range x.holders {
			s.deposit(n)
		}
	}
	c.stirAll()
}

// settle gives nodes to pods that wait and that what other pods did has helped, until nothing moves.
func (c *core) settle() {
	for len(c.relined) > 0 || len(c.freed) > 0 || len(c.stirred) > 0 {
		if len(c.relined) > 0 {
			c.reline()
			continue
		}
		if len(c.freed) > 0 {
			n := c.freed[0]
			c.freed = c.freed[1:]
			c.fill(n)
			continue
		}
		lines := slices.SortedFunc(maps.Keys(c.stirred), func(a, b *line) int {
			if len(a.heap) == 0 || len(b.heap) == 0 {
				return len(b.heap) - len(a.heap) // an empty one is done with
			}
			return precedence(a.heap[0], b.heap[0])
		})
		l := lines[0]
		if len(l.heap) == 0 {
			clear(c.stirred)
			return
		}
		w := l.heap[0]
		n := c.find(&w.req)
		if n == nil {
			delete(c.stirred, l)
			c.preemptLine(l)
			continue
		}
		c.unpend(w.req.UID)
		c.bind(n, w.req)
		if len(l.heap) == 0 {
			delete(c.stirred, l)
		}
	}
}

// reline sorts pods that wait into lines anew which a rule that is new to the scheduler looks for.
func (c *core) reline() {
	crowds := c.relined
	c.relined = nil
	var again []*waiting
	for _, w := range c.pending.pods {
		if slices.ContainsFunc(crowds, func(x *crowd) bool { return x.matches(w.req.Key.Namespace, w.req.Labels) }) {
			again = append(again, w)
		}
	}
	for _, w := range again {
		c.pending.leave(c, w)
		c.pending.enter(c, w)
	}
}

// update takes over a pod's labels and tolerations, which may change while it waits or runs.
func (c *core) update(req controlplane.PlaceRequest) {
	if w := c.pending.pods[req.UID]; w != nil {
		next := w.req
		next.Labels, next.Rules = req.Labels, req.Rules
		c.pend(next)
		return
	}
	r := c.pods[req.UID]
	if r == nil || r.kin == nil {
		return
	}
	next := c.planOf(&req)
	c.leaveCrowds(r)
	c.unplan(r.plan)
	c.kins.leave(r.kin)
	if r.kin, r.plan = c.kins.join(req.Key.Namespace, req.Labels), next; next != nil {
		next.uses++
	}
	c.joinCrowds(r)
	if r.node.pool != nil && r.node.pool.expels {
		c.doom(r)
	}
	c.settle()
}
