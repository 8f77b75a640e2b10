package scheduler

import (
	"fmt"
	"strings"

	"swell.dev/swell/controlplane"
)

// resize admits another size, or remembers that it is wished. It replaces an earlier wish of the pod.
func (c *core) resize(uid string, q controlplane.ResizeRequest) (controlplane.ResizeAnswer, error) {
	r := c.pods[uid]
	if r == nil {
		w := c.pending.pods[uid]
		if w == nil {
			return controlplane.ResizeAnswer{}, notFound(uid)
		}
		req := w.req // a pod that has no node yet waits with its new size
		req.Demand = q.Demand
		if req.BoostRequired {
			req.Demand.CPUMilli += req.BoostCPUMilli
		}
		c.pend(req)
		return controlplane.ResizeAnswer{Verdict: controlplane.ResizeAdmitted}, nil
	}
	r.undo = &sizes{r.allocated, r.actual, r.wish}
	c.forgetWish(r)
	answer := c.judge(r, q.Demand)
	if answer.Verdict == controlplane.ResizeAdmitted {
		c.makeRoomFor(r, q.Demand)
		c.allocate(r, q.Demand)
	} else {
		q.Infeasible = answer.Verdict == controlplane.ResizeInfeasible
		c.wish(r, &wish{ResizeRequest: q})
	}
	c.stats.count(answer.Verdict)
	if r.undo.wish != nil { // what that kept may be somebody's
		c.fill(r.node)
		c.settle()
	}
	return answer, nil
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
		c.wish(r, before.wish)
	}
	c.fill(r.node)
	c.settle()
}

// judge tells what becomes of a size that a pod asks for.
func (c *core) judge(r *reservation, d controlplane.Demand) controlplane.ResizeAnswer {
	switch {
	case c.admits(r, d):
		return controlplane.ResizeAnswer{Verdict: controlplane.ResizeAdmitted}
	case r.node.neverHolds(d):
		return controlplane.ResizeAnswer{Verdict: controlplane.ResizeInfeasible, Message: r.node.tooSmallFor(d)}
	}
	return controlplane.ResizeAnswer{Verdict: controlplane.ResizeDeferred, Message: r.short(d)}
}

// neverHolds tells that the node is too small, even empty. Of a host that isn't announced nothing is known.
func (n *node) neverHolds(d controlplane.Demand) bool {
	capacity := n.spec.Capacity
	return capacity != (controlplane.Demand{}) && !d.Fits(capacity)
}

// tooSmallFor and short say what lacks, as the kubelet does: CPU in thousandths, memory in bytes.
func (n *node) tooSmallFor(d controlplane.Demand) string {
	var lacks []string
	for _, q := range quantities {
		if wanted, capacity := q.of(d), q.of(n.spec.Capacity); wanted > capacity {
			lacks = append(lacks, fmt.Sprintf("%s, requested: %d, capacity: %d", q.name, wanted, capacity))
		}
	}
	return "Node didn't have enough capacity: " + strings.Join(lacks, "; ")
}

func (r *reservation) short(d controlplane.Demand) string {
	n := r.node
	capacity, free, holds, grows := n.spec.Capacity, n.freeFor(r), r.sized(), r.growth(d)
	if capacity == (controlplane.Demand{}) {
		return fmt.Sprintf("Node %s isn't connected: what it has room for isn't known", n.spec.Name)
	}
	var lacks []string
	for _, q := range quantities {
		if q.of(grows) > max(q.of(free), 0) {
			used := q.of(capacity) - q.of(free) - q.of(holds) // by others, and by what starts here beyond its size
			lacks = append(lacks, fmt.Sprintf("%s, requested: %d, used: %d, capacity: %d", q.name, q.of(d), used, q.of(capacity)))
		}
	}
	return "Node didn't have enough resource: " + strings.Join(lacks, "; ")
}

var quantities = []struct {
	name string
	of   func(controlplane.Demand) int64
}{
	{"cpu", func(d controlplane.Demand) int64 { return d.CPUMilli }},
	{"memory", func(d controlplane.Demand) int64 { return d.MemoryBytes }},
}

// growth is what a size takes beyond what the pod holds for its size. What isn't more than what is admitted doesn't grow.
func (r *reservation) growth(d controlplane.Demand) controlplane.Demand {
	more := d.Max(r.actual).Sub(r.sized()).Max(controlplane.Demand{})
	if d.CPUMilli <= r.allocated.CPUMilli {
		more.CPUMilli = 0
	}
	if d.MemoryBytes <= r.allocated.MemoryBytes {
		more.MemoryBytes = 0
	}
	return more
}

// freeFor is the room for a resize of the pod, that of slots included: it is before pods that come, but what
// others leave for another's resize is that one's, and memory that is lent has to come back first.
func (n *node) freeFor(r *reservation) controlplane.Demand {
	free := n.unclaimed().Add(n.slotRoom)
	free.MemoryBytes -= n.lent
	for _, o := range n.deferred {
		if o != r && o.wish.reclaims {
			free = free.Sub(o.keeps())
		}
	}
	return free
}

// admits tells whether the pod's node has the room that the new size takes beyond what the pod holds; slots
// give theirs up, see makeRoomFor. What doesn't grow is always admitted, also where the node is over its
// capacity.
func (c *core) admits(r *reservation, d controlplane.Demand) bool {
	free, more := r.node.freeFor(r), r.growth(d)
	return (more.CPUMilli == 0 || more.CPUMilli <= free.CPUMilli) && (more.MemoryBytes == 0 || more.MemoryBytes <= free.MemoryBytes)
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
