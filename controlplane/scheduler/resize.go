package scheduler

import (
	"slices"

	"swell.dev/swell/controlplane"
)

// resize admits another size, or defers it. It replaces an earlier wish of the pod.
func (c *core) resize(uid string, d controlplane.Demand) (controlplane.ResizeVerdict, error) {
	r := c.pods[uid]
	if r == nil {
		w := c.pending.pods[uid]
		if w == nil {
			return 0, notFound(uid)
		}
		req := w.req // a pod that has no node yet waits with its new size
		req.Demand = d
		c.pend(req)
		return controlplane.ResizeAdmitted, nil
	}
	r.undo = &sizes{r.allocated, r.actual, r.wish}
	c.forgetWish(r)
	if c.admits(r, d) {
		c.makeRoomFor(r, d)
		c.allocate(r, d)
		return controlplane.ResizeAdmitted, nil
	}
	// Of a host that isn't announced nothing is known, not even that it is too small.
	if capacity := r.node.spec.Capacity; capacity != (controlplane.Demand{}) && !d.Fits(capacity) {
		return controlplane.ResizeInfeasible, nil
	}
	c.wish(r, d)
	return controlplane.ResizeDeferred, nil
}

func (c *core) wish(r *reservation, d controlplane.Demand) {
	r.wish = &d
	r.node.deferred = append(r.node.deferred, r)
}

// revert takes the last resize of a pod back, of which its nodelet can't have learned.
func (c *core) revert(uid string) {
	r := c.pods[uid]
	if r == nil || r.undo == nil {
		return
	}
	before := *r.undo
	r.undo = nil
	c.forgetWish(r)
	was := r.reserved()
	r.allocated, r.actual = before.allocated, before.actual
	c.use(r, was, r.reserved())
	if before.wish != nil {
		c.wish(r, *before.wish)
	}
	c.fill(r.node)
	c.settle()
}

// admits tells whether the pod's node has the room that the new size takes beyond what the pod holds; slots
// give theirs up, see makeRoomFor. What doesn't grow is always admitted, also where the node is over its
// capacity.
func (c *core) admits(r *reservation, d controlplane.Demand) bool {
	free, holds, next := r.node.freeWithSlots(), r.sized(), d.Max(r.actual)
	fits := func(allocated, wanted, more, free int64) bool {
		return wanted <= allocated || more <= 0 || more <= free
	}
	return fits(r.allocated.CPUMilli, d.CPUMilli, next.CPUMilli-holds.CPUMilli, free.CPUMilli) &&
		fits(r.allocated.MemoryBytes, d.MemoryBytes, next.MemoryBytes-holds.MemoryBytes, free.MemoryBytes)
}

// allocate changes what is admitted. It never frees room: what was admitted may be actuated by now, until
// a report says otherwise.
func (c *core) allocate(r *reservation, d controlplane.Demand) {
	was := r.reserved()
	r.actual = r.sized()
	r.allocated = d
	c.use(r, was, r.reserved())
}

// actuated takes over the size that a pod's nodelet has reported.
func (c *core) actuated(uid string, d controlplane.Demand) {
	r := c.pods[uid]
	if r == nil {
		return
	}
	if r.undo != nil {
		r.undo.actual = d
	}
	was := r.reserved()
	r.actual = d
	if is := r.reserved(); is != was {
		c.use(r, was, is)
		c.fill(r.node)
		c.settle()
	}
}

func (c *core) forgetWish(r *reservation) {
	if r.wish == nil {
		return
	}
	r.wish = nil
	r.node.deferred = slices.DeleteFunc(r.node.deferred, func(x *reservation) bool { return x == r })
}

// retryDeferred admits the node's deferred resizes that fit now.
func (c *core) retryDeferred(n *node) {
	if len(n.deferred) == 0 {
		return
	}
	n.deferred = slices.DeleteFunc(n.deferred, func(r *reservation) bool {
		if !c.admits(r, *r.wish) {
			return false
		}
		d := *r.wish
		r.wish, r.undo = nil, nil
		c.makeRoomFor(r, d)
		c.allocate(r, d)
		c.decisions = append(c.decisions, decision{kind: resized, uid: r.uid, node: n.spec.Name, resize: d})
		return true
	})
}
