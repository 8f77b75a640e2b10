package scheduler

import (
	"slices"

	"swell.dev/swell/controlplane"
)

// boost is the CPU that a pod has beyond its size while it starts, in milli-CPU. It is in memory only: after a
// restart the nodelets tell of it again. It takes free room and makes nobody give way, not even slots.
type boost struct {
	ask     int64 // the wish that the rest is of; 0: that of the placement
	want    int64
	granted int64 // never more than is wanted
	held    int64 // by what the nodelet says
}

// takes is what counts as taken: what was granted may be used by now, and what is held is.
func (b *boost) takes() int64 {
	if b == nil {
		return 0
	}
	return max(b.granted, b.held)
}

// sized is what a pod takes without its boost.
func (r *reservation) sized() controlplane.Demand { return r.allocated.Max(r.actual) }

func (r *reservation) reserved() controlplane.Demand {
	d := r.sized()
	d.CPUMilli += r.boost.takes()
	return d
}

// findBoosted answers the best node with free room for the pod and its boost, nil if there is none.
func (c *core) findBoosted(req *controlplane.PlaceRequest) *node {
	if req.BoostCPUMilli <= 0 || req.BoostRequired {
		return nil // or any room for it is room for both
	}
	more := *req
	more.Demand.CPUMilli += req.BoostCPUMilli
	return c.findFree(&more)
}

// boostAtStart grants a pod that has just got its room what it wants beyond, if that is free, or was taken with the
// room. If it isn't it is asked for no more, until the pod's nodelet does.
func (c *core) boostAtStart(r *reservation, req *controlplane.PlaceRequest) {
	milli := req.BoostCPUMilli
	if milli <= 0 {
		return
	}
	r.boost = &boost{want: milli}
	if req.BoostRequired || milli <= r.node.free().CPUMilli {
		c.setBoost(r, func(b *boost) { b.granted = milli })
		c.boosts.Granted++
	} else {
		c.boosts.Deferred++
	}
}

// setBoost changes a boost, and what its pod takes with it.
func (c *core) setBoost(r *reservation, change func(*boost)) {
	was, milli := r.reserved(), r.boost.takes()
	change(r.boost)
	c.boosts.CPUMilli += r.boost.takes() - milli
	if is := r.reserved(); is != was {
		c.use(r, was, is)
	}
}

// BoostStats counts startup boosts.
type BoostStats struct {
	CPUMilli          int64 // that is granted or held now
	Granted, Deferred int64 // wishes, since the start; one that was deferred may have been granted later
}

// boost takes over what a pod's nodelet tells, and answers what is granted; false: the pod has no room here. A
// wish that isn't granted waits for room that becomes free.
func (c *core) boost(uid string, ask, want, held int64) (granted int64, ok bool) {
	r := c.pods[uid]
	if r == nil || r.ahead != nil {
		return 0, false
	}
	if r.boost == nil {
		r.boost = &boost{}
	}
	b, before, again := r.boost, r.reserved(), ask == r.boost.ask
	c.setBoost(r, func(b *boost) {
		b.ask, b.want, b.held = ask, max(want, 0), max(held, 0)
		b.granted = min(b.granted, b.want)
	})
	switch n := r.node; {
	case c.grant(r):
		c.boosts.Granted++
	case b.granted < b.want && !again && n.known:
		c.boosts.Deferred++
	}
	n := r.node
	n.waiting = slices.DeleteFunc(n.waiting, func(x *reservation) bool { return x == r })
	if b.granted < b.want {
		n.waiting = append(n.waiting, r)
	}
	if r.reserved().CPUMilli < before.CPUMilli {
		c.fill(n)
	}
	c.settle()
	return b.granted, true
}

// grant grants all that is wanted, or nothing more.
func (c *core) grant(r *reservation) bool {
	b := r.boost
	free := r.node.free().CPUMilli
	if b.granted == b.want || !r.node.known || free < max(0, b.want-b.takes()) {
		return false
	}
	c.setBoost(r, func(b *boost) { b.granted = b.want })
	return true
}

// grantWaiting gives what is left of a node's room to those who start there, in the order in which they asked.
func (c *core) grantWaiting(n *node) {
	if len(n.waiting) == 0 {
		return
	}
	n.waiting = slices.DeleteFunc(n.waiting, func(r *reservation) bool {
		if !c.grant(r) {
			return false
		}
		c.boosts.Granted++
		c.decisions = append(c.decisions, decision{kind: boosted, uid: r.uid, node: n.spec.Name, ask: r.boost.ask, boost: r.boost.granted})
		return true
	})
}

func (c *core) forgetBoost(r *reservation) {
	c.boosts.CPUMilli -= r.boost.takes()
	if r.boost != nil && len(r.node.waiting) > 0 {
		r.node.waiting = slices.DeleteFunc(r.node.waiting, func(x *reservation) bool { return x == r })
	}
}

// Boost tells what a pod wants and holds beyond its size while it starts, in milli-CPU, as its nodelet has reported
// it in the wish of that number. It answers what is granted: all, or what was granted before. Boosted tells when
// there is more. False: the pod has no room here.
func (s *Scheduler) Boost(uid string, ask, want, held int64) (granted int64, known bool) {
	s.call(func(c *core) {
		granted, known = c.boost(uid, ask, want, held)
	})
	return granted, known
}

// BoostOf answers what was granted last, and to which wish; false: nothing was decided here.
func (s *Scheduler) BoostOf(uid string) (ask, granted int64, decided bool) {
	s.call(func(c *core) {
		if r := c.pods[uid]; r != nil && r.boost != nil {
			ask, granted, decided = r.boost.ask, r.boost.granted, true
		}
	})
	return ask, granted, decided
}

// BoostStats answers what there is of boosts, and has been.
func (s *Scheduler) BoostStats() (st BoostStats) {
	s.call(func(c *core) { st = c.boosts })
	return st
}
