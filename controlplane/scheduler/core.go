package scheduler

import (
	"fmt"

	"swell.dev/swell/controlplane"
)

// core is the ledger and what decides upon it. Its methods are called one at a time.
type core struct {
	fleet   fleet
	pods    map[string]*reservation // by uid
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
	resize controlplane.Demand // else: a deferred resize was admitted
}

func newCore() *core {
	return &core{fleet: newFleet(), pods: map[string]*reservation{}, pending: newPending()}
}

func (c *core) take() []decision {
	out := c.decisions
	c.decisions = nil
	return out
}

// place reserves room. A pod that has its node already keeps it.
func (c *core) place(req controlplane.PlaceRequest) (string, error) {
	if r := c.pods[req.UID]; r != nil {
		return r.node.spec.Name, nil
	}
	n := c.fleet.find(&req)
	if n == nil {
		return "", c.why(&req)
	}
	c.pending.remove(req.UID)
	c.reserve(n, &req)
	return n.spec.Name, nil
}

// pend remembers a pod until there is room, which may be at once.
func (c *core) pend(req controlplane.PlaceRequest) {
	if c.pods[req.UID] != nil {
		return
	}
	if n := c.fleet.find(&req); n != nil {
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
	c.forgetWish(r)
	delete(c.pods, uid)
	n := r.node
	n.pods--
	n.giveBack(r.ports)
	c.use(n, r.reserved(), controlplane.Demand{})
	c.fleet.forget(n)
	c.fill(n)
}

// restore enters a pod that has its node, whatever room that has.
func (c *core) restore(req controlplane.PlaceRequest) {
	c.release(req.UID)
	c.reserve(c.fleet.get(req.NodeName), &req)
}

func (c *core) setNode(spec controlplane.Node) {
	c.reasons.stale()
	c.fill(c.fleet.set(spec))
}

func (c *core) removeNode(name string) {
	if n := c.fleet.nodes[name]; n != nil {
		c.reasons.stale()
		c.fleet.remove(n)
	}
}

// fill gives a node's free room to those who wait for it.
func (c *core) fill(n *node) {
	c.retryDeferred(n)
	for {
		w := c.pending.oldestFor(n)
		if w == nil {
			return
		}
		c.pending.remove(w.req.UID)
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
}

func notFound(uid string) error {
	return fmt.Errorf("pod with uid %q: %w", uid, controlplane.ErrNotFound)
}
