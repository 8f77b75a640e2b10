package scheduler

import (
	"fmt"

	"swell.dev/swell/controlplane"
)

// core is the ledger and what decides upon it. Its methods are called one at a time.
type core struct {
	fleet   fleet
	pods    map[string]*reservation // by uid; slots as well
	slots   slots
	pending pending
	reasons reasons

	decisions []decision // made since they were last taken
}

// reservation is what one pod holds on its node.
type reservation struct {
	uid       string
	node      *node
	ports     []controlplane.HostPort
	allocated controlplane.Demand  // admitted
	actual    controlplane.Demand  // the most that may be actuated, from the last report and what was admitted since
	wish      *controlplane.Demand // a resize that waits in node.deferred
	undo      *sizes               // before the last resize
	ahead     *ahead               // of a slot, which has no pod yet
}

// sizes is what a resize changes of a reservation.
type sizes struct {
	allocated, actual controlplane.Demand
	wish              *controlplane.Demand
}

func (r *reservation) reserved() controlplane.Demand { return r.allocated.Max(r.actual) }

// decision is something that the core decided without being asked for it.
type decision struct {
	uid    string
	bound  *controlplane.PlaceRequest // a pending pod got its node
	node   string
	slot   bool                // a slot was given up
	resize controlplane.Demand // else: a deferred resize was admitted
}

func newCore() *core {
	return &core{fleet: newFleet(), pods: map[string]*reservation{}, slots: newSlots(), pending: newPending()}
}

func (c *core) take() []decision {
	out := c.decisions
	c.decisions = nil
	return out
}

// place gives the pod a slot of its workload, or reserves room. A pod that has its node already keeps it.
func (c *core) place(req controlplane.PlaceRequest) (controlplane.Placement, error) {
	if r := c.pods[req.UID]; r != nil {
		return controlplane.Placement{Node: r.node.spec.Name}, nil
	}
	if r := c.takeSlot(&req); r != nil {
		p := controlplane.Placement{Node: r.node.spec.Name, Slot: r.uid, Depth: r.ahead.depth}
		c.convert(r)
		c.pending.remove(req.UID)
		return p, nil
	}
	n := c.find(&req)
	if n == nil {
		return controlplane.Placement{}, c.why(&req)
	}
	c.pending.remove(req.UID)
	c.reserve(n, &req)
	return controlplane.Placement{Node: n.spec.Name}, nil
}

// find answers the best node for the pod, nil if none has room. Slots are given up for it if need be.
func (c *core) find(req *controlplane.PlaceRequest) *node {
	if n := c.fleet.find(req); n != nil {
		return n
	}
	return c.findAmongSlots(req)
}

// pend remembers a pod until there is room, which may be at once.
func (c *core) pend(req controlplane.PlaceRequest) {
	if c.pods[req.UID] != nil {
		return
	}
	if n := c.find(&req); n != nil {
		c.pending.remove(req.UID)
		c.bind(n, req)
		return
	}
	c.pending.add(req)
}

// release gives back what a pod holds and forgets what it waits for.
func (c *core) release(uid string) {
	c.pending.remove(uid)
	r := c.pods[uid]
	if r == nil {
		return
	}
	n := r.node
	c.drop(r)
	c.fleet.forget(n)
	c.fill(n)
}

// drop takes a reservation out; who waits for its room isn't served yet.
func (c *core) drop(r *reservation) {
	c.forgetWish(r)
	delete(c.pods, r.uid)
	n := r.node
	if r.ahead != nil {
		c.unshelve(r)
		c.count(r, -1)
	}
	n.pods--
	n.giveBack(r.ports)
	c.use(n, r.reserved(), controlplane.Demand{})
}

// restore enters a pod that has its node, whatever room that has.
func (c *core) restore(req controlplane.PlaceRequest) {
	c.release(req.UID)
	c.reserve(c.fleet.get(req.NodeName), &req)
}

func (c *core) setNode(spec controlplane.Node) {
	c.reasons.stale()
	n := c.fleet.set(spec)
	c.reindexHolder(n)
	c.shedSlots(n)
	c.fill(n)
}

func (c *core) removeNode(name string) {
	if n := c.fleet.nodes[name]; n != nil {
		c.reasons.stale()
		for len(n.slots) > 0 {
			c.giveUp(n.slots[0])
		}
		c.fleet.remove(n)
	}
}

// fill gives a node's free room to those who wait for it.
func (c *core) fill(n *node) {
	c.makeRoom(n, controlplane.Demand{}, nil, 0) // who is there already may hold more than before
	c.retryDeferred(n)
	for {
		w := c.pending.oldestFor(n)
		if w == nil {
			return
		}
		c.pending.remove(w.req.UID)
		c.makeRoom(n, w.req.Demand, w.req.HostPorts, 1)
		c.bind(n, w.req)
	}
}

func (c *core) bind(n *node, req controlplane.PlaceRequest) {
	c.reserve(n, &req)
	c.decisions = append(c.decisions, decision{uid: req.UID, bound: &req, node: n.spec.Name})
}

func (c *core) reserve(n *node, req *controlplane.PlaceRequest) {
	c.pods[req.UID] = &reservation{uid: req.UID, node: n, allocated: req.Demand, ports: req.HostPorts}
	n.pods++
	n.ports = append(n.ports, req.HostPorts...)
	c.use(n, controlplane.Demand{}, req.Demand)
}

// use replaces what one of the node's pods holds.
func (c *core) use(n *node, was, is controlplane.Demand) {
	c.reasons.stale()
	n.used.CPUMilli += is.CPUMilli - was.CPUMilli
	n.used.MemoryBytes += is.MemoryBytes - was.MemoryBytes
	c.fleet.reindex(n)
	if len(n.slots) > 0 || n.holds {
		c.reindexHolder(n)
	}
}

func notFound(uid string) error {
	return fmt.Errorf("pod with uid %q: %w", uid, controlplane.ErrNotFound)
}
