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
	ranks   []rankSum // what all of them hold, by rank
	kins    kins
	plans   plans
	crowds  crowds
	filters map[string]*filter
	search  search
	pending pending
	boosts  BoostStats
	reasons reasons
	wishes  uint64 // how many there ever were
	stats   Stats

	stirred map[*line]bool // pods wait there whom what other pods did may help
	relined []*crowd       // whose pods wait by other rules than before
	freed   []*node        // on which a claim was given up
	quiet   bool           // what happens is only tried out

	decisions []decision // made since they were last taken

	// For tests: they see each choice before it is made, and each claim when it has been.
	watch       func(*node, *controlplane.PlaceRequest)
	watchClaims func(*claim)
}

// reservation is what one pod holds on its node.
type reservation struct {
	uid       string
	name      string
	kin       *kin // nil: it is a slot
	node      *node
	ports     []controlplane.HostPort
	plan      *plan               // nil: it has no rules
	created   int64               // in nanoseconds; who is younger goes first
	allocated controlplane.Demand // admitted
	actual    controlplane.Demand // the most that may be actuated, from the last report and what was admitted since
	wish      *wish               // a resize that waits in node.deferred
	gives     *reservation        // whose resize it leaves for
	undo      *sizes              // before the last resize
	boost     *boost              // beyond that, while it starts; nil: none was ever asked for
	ahead     *ahead              // of a slot, which has no pod yet
	claim     *claim              // that waits for this pod to leave
	rank      rank
	index     int32  // in node.held
	doom      uint16 // counts what was decided about its node's taints
	leaving   bool   // its room will be free
}

// sizes is what a resize changes of a reservation.
type sizes struct {
	allocated, actual controlplane.Demand
	wish              *wish
}

func (r *reservation) key() controlplane.Key {
	return controlplane.Key{Resource: "pods", Namespace: r.kin.namespace, Name: r.name}
}

func newCore() *core {
	return &core{
		fleet: newFleet(), pods: map[string]*reservation{}, slots: newSlots(), kins: newKins(), plans: newPlans(), crowds: newCrowds(), filters: map[string]*filter{},
		pending: newPending(), stirred: map[*line]bool{},
	}
}

// place gives the pod a slot of its workload, or reserves room. A pod that has its node already keeps it.
func (c *core) place(req controlplane.PlaceRequest) (controlplane.Placement, error) {
	if r := c.pods[req.UID]; r != nil {
		return controlplane.Placement{Node: r.node.spec.Name}, nil
	}
	if r := c.takeSlot(&req); r != nil {
		p := controlplane.Placement{Node: r.node.spec.Name, Slot: r.uid, Depth: r.ahead.depth}
		c.convert(r, &req)
		c.unpend(req.UID)
		c.settle()
		return p, nil
	}
	n := c.findBoosted(&req)
	if n == nil {
		n = c.find(&req)
	}
	if n == nil {
		return controlplane.Placement{}, c.why(&req)
	}
	c.unpend(req.UID)
	c.reserve(n, &req)
	c.settle()
	return controlplane.Placement{Node: n.spec.Name}, nil
}

// find answers the best node for the pod, nil if none has room. Slots are given up for it if need be.
func (c *core) find(req *controlplane.PlaceRequest) *node {
	if n := c.findFree(req); n != nil {
		return n
	}
	return c.findAmongSlots(req)
}

// pend remembers a pod until there is room, which may be at once, or is made at the cost of lesser pods.
func (c *core) pend(req controlplane.PlaceRequest) {
	if c.pods[req.UID] != nil {
		return
	}
	c.unpend(req.UID)
	if n := c.find(&req); n != nil {
		c.bind(n, req)
	} else {
		c.preempt(c.wait(req)) // or takes a pool's room back
	}
	c.settle()
}

// release gives back what a pod holds and forgets what it waits for.
func (c *core) release(uid string) {
	c.unpend(uid)
	if r := c.pods[uid]; r != nil {
		n := r.node
		c.drop(r)
		c.fleet.forget(n)
		c.fill(n)
	}
	c.settle()
}

// drop takes a reservation out; who waits for its room isn't served yet.
func (c *core) drop(r *reservation) {
	n := r.node
	c.forgetWish(r)
	c.forgetBoost(r)
	delete(c.pods, r.uid)
	c.forsake(r)
	if r.ahead != nil {
		c.unshelve(r)
		c.count(r, -1)
	}
	n.letGo(r)
	n.giveBack(r.ports)
	c.use(r, r.reserved(), controlplane.Demand{})
	if r.kin != nil {
		c.account(r, controlplane.Demand{}, -1)
		c.leaveCrowds(r)
		c.unplan(r.plan)
		c.kins.leave(r.kin)
	}
}

// restore enters a pod that has its node, whatever room that has.
func (c *core) restore(req controlplane.PlaceRequest) {
	c.release(req.UID)
	req.Demand, req.BoostCPUMilli, req.BoostRequired = req.Size(), 0, false // its nodelet tells
	wish := req.Resize
	req.Resize = nil
	c.reserve(c.fleet.get(req.NodeName), &req)
	if wish != nil {
		c.remember(c.pods[req.UID], *wish)
	}
	c.settle()
}

func (c *core) setNode(spec controlplane.Node) {
	c.reasons.stale()
	n := c.fleet.get(spec.Name)
	if n.differs(&spec) {
		c.giveUpAll(n) // they were placed by what it was
		c.withdraw(n)
		c.fleet.set(spec)
		c.deposit(n)
		c.expel(n)
	} else {
		c.fleet.set(spec)
	}
	c.reindexHolder(n)
	c.shedSlots(n)
	c.judgeAgain(n)
	c.review(n)
	c.fill(n)
	c.settle()
}

func (c *core) removeNode(name string) {
	if n := c.fleet.nodes[name]; n != nil && n.known {
		c.reasons.stale()
		c.giveUpAll(n)
		c.withdraw(n)
		c.lendNothing(n)
		c.fleet.remove(n)
		c.deposit(n)
		c.review(n)
		c.settle()
	}
}

// fill gives a node's free room to those who wait for it, and then lets them make room there.
func (c *core) fill(n *node) {
	if len(n.claims) > 0 {
		c.honour(n)
	}
	c.makeRoom(n, controlplane.Demand{}, nil, 0) // who is there already may hold more than before
	c.retryDeferred(n)
	c.reclaimOn(n)
	for {
		w := c.firstFor(n)
		if w == nil {
			break
		}
		c.unpend(w.req.UID)
		c.makeRoom(n, w.req.Demand, w.req.HostPorts, 1)
		c.bind(n, w.req)
	}
	c.takeBackOn(n)
	c.preemptOn(n)
	c.grantWaiting(n)
}

func (c *core) bind(n *node, req controlplane.PlaceRequest) {
	c.reserve(n, &req)
	c.decisions = append(c.decisions, decision{kind: bound, uid: req.UID, request: &req, node: n.spec.Name})
}

func (c *core) reserve(n *node, req *controlplane.PlaceRequest) {
	if c.watch != nil {
		seen := *req
		c.watch(n, &seen)
	}
	r := &reservation{uid: req.UID, node: n, allocated: req.Size(), ports: req.HostPorts}
	c.hold(r)
	c.identify(r, req)
	c.boostAtStart(r, req)
}

// hold takes the room, for a pod or a slot.
func (c *core) hold(r *reservation) {
	c.pods[r.uid] = r
	r.node.hold(r)
	r.node.ports = append(r.node.ports, r.ports...)
	c.use(r, controlplane.Demand{}, r.allocated)
}

// identify says which pod has the room: from then on rules and ranks look at it.
func (c *core) identify(r *reservation, req *controlplane.PlaceRequest) {
	r.kin, r.name, r.created = c.kins.join(req.Key.Namespace, req.Labels), req.Key.Name, req.Created.UnixNano()
	r.rank, r.leaving, r.plan = rankOf(req), req.Leaving, c.planOf(req)
	if r.plan != nil {
		r.plan.uses++
	}
	c.joinCrowds(r)
	c.account(r, r.reserved(), 1)
	if r.node.pool != nil && r.node.pool.expels {
		c.doom(r)
	}
}

func (c *core) unplan(p *plan) {
	if p != nil {
		p.uses--
	}
}

// use replaces what a pod holds on its node.
func (c *core) use(r *reservation, was, is controlplane.Demand) {
	c.reasons.changes++
	n := r.node
	n.used = n.used.Add(is).Sub(was)
	c.account(r, is.Sub(was), 0)
	if len(n.claims) > 0 {
		n.reckon()
	}
	if len(n.deferred) > 0 {
		n.reckonWishes()
	}
	c.reindex(n)
}

// reindex moves the node to where its room belongs.
func (c *core) reindex(n *node) {
	c.fleet.reindex(n)
	if len(n.slots) > 0 || n.holds {
		c.reindexHolder(n)
	}
}

func notFound(uid string) error {
	return fmt.Errorf("pod with uid %q: %w", uid, controlplane.ErrNotFound)
}
