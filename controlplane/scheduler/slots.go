package scheduler

import (
	"slices"

	"swell.dev/swell/controlplane"
)

// A slot is a reservation without a pod: it holds the room of one of its workload. Who asks for it takes it
// over as it is, in constant time. To everybody else its room counts as free: it is given up when a real pod
// or a resize finds no other.

// ahead is what makes a reservation a slot.
type ahead struct {
	workload controlplane.Workload
	depth    controlplane.SlotDepth
	index    int // among those of this depth
}

// shelf is the slots of one workload, by how far they have come.
type shelf [controlplane.SlotContainer + 1][]*reservation

// slots holds the slots of all workloads.
type slots struct {
	shelves map[controlplane.Workload]*shelf // none is empty
	count   int
	room    controlplane.Demand // that they hold
	holders tree                // nodes with slots, by the room that they have if they give those up
}

func newSlots() slots { return slots{shelves: map[controlplane.Workload]*shelf{}} }

// looks bounds how many slots of a depth are looked at for one pod. All of a workload suit its pods but for
// what has changed about their nodes since, so the first one nearly always does.
const looks = 8

// takeSlot gives a pod the deepest slot of its workload on a node that accepts it, nil if there is none.
func (c *core) takeSlot(req *controlplane.PlaceRequest) *reservation {
	if req.Template == 0 || req.NodeName != "" || c.slots.count == 0 {
		return nil
	}
	s := c.slots.shelves[req.Workload()]
	if s == nil {
		return nil
	}
	look := c.ready(req)
	for depth := len(s) - 1; depth > 0; depth-- {
		line := s[depth]
		for i := len(line) - 1; i >= max(0, len(line)-looks); i-- {
			if r := line[i]; r.allocated == req.Size() && r.node.boosts(req) && look.acceptsInSlot(r.node) {
				return r
			}
		}
	}
	return nil
}

// boosts tells that a pod which takes a slot here gets the boost that it requires.
func (n *node) boosts(req *controlplane.PlaceRequest) bool {
	return !req.BoostRequired || req.BoostCPUMilli <= n.free().CPUMilli
}

// acceptsInSlot is accepts for a pod that takes a slot here: the slot has the pod's room and ports.
func (s *search) acceptsInSlot(n *node) bool {
	return n.known && n.spec.Ready && !n.spec.Cordoned && n.matches(s.req.NodeSelector) && s.mayHave(n.pool) && s.allows(n)
}

// addSlot places a slot like a pod, in room that nobody else can use now.
func (c *core) addSlot(req controlplane.PlaceRequest) (string, error) {
	if r := c.pods[req.UID]; r != nil {
		return r.node.spec.Name, nil
	}
	if c.planOf(&req).social() {
		return "", controlplane.ErrNoCapacity // where its pod may be depends on the pods that are there by then
	}
	req.Demand, req.BoostRequired = req.Size(), false // of its pod, when it comes
	n := c.findFree(&req)
	if n == nil {
		return "", controlplane.ErrNoCapacity // why is nobody's question: no pod waits for it
	}
	r := &reservation{uid: req.UID, node: n, allocated: req.Demand, ports: req.HostPorts, ahead: &ahead{workload: req.Workload()}}
	c.hold(r)
	c.count(r, 1)
	c.shelve(r, controlplane.SlotCapacity)
	return n.spec.Name, nil
}

// deepen takes over how far a slot has come. What isn't a slot any more is left alone.
func (c *core) deepen(uid string, depth controlplane.SlotDepth) {
	if r := c.pods[uid]; r != nil && r.ahead != nil && depth > controlplane.SlotNone && depth <= controlplane.SlotContainer {
		c.unshelve(r)
		c.shelve(r, depth)
	}
}

// removeSlot gives a slot's room back, unless a pod has it by now.
func (c *core) removeSlot(uid string) bool {
	r := c.pods[uid]
	if r == nil || r.ahead == nil {
		return false
	}
	c.release(uid)
	return true
}

// giveUp gives up a slot that its owner didn't ask to remove, and tells.
func (c *core) giveUp(r *reservation) {
	c.decisions = append(c.decisions, decision{kind: givenUp, uid: r.uid, node: r.node.spec.Name})
	c.drop(r)
	if len(r.node.waiting) > 0 && !slices.Contains(c.freed, r.node) {
		c.freed = append(c.freed, r.node) // what is left over does for a boost perhaps
	}
}

// giveUpAll gives up all slots of a node.
func (c *core) giveUpAll(n *node) {
	for len(n.slots) > 0 {
		c.giveUp(n.slots[0])
	}
}

// convert makes a slot its pod's reservation.
func (c *core) convert(r *reservation, req *controlplane.PlaceRequest) {
	c.unshelve(r)
	c.count(r, -1)
	r.ahead = nil
	c.reindexHolder(r.node)
	c.identify(r, req)
	c.boostAtStart(r, req)
}

func (c *core) shelve(r *reservation, depth controlplane.SlotDepth) {
	s := c.slots.shelves[r.ahead.workload]
	if s == nil {
		s = &shelf{}
		c.slots.shelves[r.ahead.workload] = s
	}
	r.ahead.depth, r.ahead.index = depth, len(s[depth])
	s[depth] = append(s[depth], r)
}

func (c *core) unshelve(r *reservation) {
	s := c.slots.shelves[r.ahead.workload]
	line := s[r.ahead.depth]
	last := len(line) - 1
	line[r.ahead.index] = line[last]
	line[r.ahead.index].ahead.index = r.ahead.index
	line[last] = nil
	s[r.ahead.depth] = line[:last]
	for _, l := range s {
		if len(l) > 0 {
			return
		}
	}
	delete(c.slots.shelves, r.ahead.workload)
}

// count enters a slot into the sums of its node and of all (by 1), or takes it out (by -1).
func (c *core) count(r *reservation, by int64) {
	held := controlplane.Demand{CPUMilli: by * r.allocated.CPUMilli, MemoryBytes: by * r.allocated.MemoryBytes}
	c.slots.room = c.slots.room.Add(held)
	c.slots.count += int(by)
	n := r.node
	n.slotRoom = n.slotRoom.Add(held)
	if by > 0 {
		n.slots = append(n.slots, r)
	} else {
		n.slots = slices.DeleteFunc(n.slots, func(x *reservation) bool { return x == r })
	}
	c.reindexHolder(n)
}

// reindexHolder moves a node to where it belongs among those with slots.
func (c *core) reindexHolder(n *node) {
	if n.holds {
		c.slots.holders.remove(n.heldAt)
		n.holds = false
	}
	if len(n.slots) == 0 || !n.known || !n.spec.Ready {
		return
	}
	free := n.freeWithSlots()
	n.heldAt, n.holds = slot{free.CPUMilli, free.MemoryBytes, n}, true
	c.slots.holders.insert(n.heldAt)
}

func (n *node) freeWithSlots() controlplane.Demand { return n.free().Add(n.slotRoom) }

// takesAnyway is takes, if need be with the room of slots.
func (s *search) takesAnyway(n *node) bool { return s.takes(n) || s.takesWithSlots(n) }

// takesWithSlots is takes if the node gives up its slots.
func (s *search) takesWithSlots(n *node) bool {
	req := s.req
	if len(n.slots) == 0 || !n.known || !n.spec.Ready || n.pods+n.claimedPods-len(n.slots) >= n.spec.MaxPods {
		return false
	}
	if req.NodeName != "" && req.NodeName != n.spec.Name || req.NodeName == "" && n.spec.Cordoned {
		return false
	}
	if !req.Demand.Fits(n.freeWithSlots()) || !n.matches(req.NodeSelector) {
		return false
	}
	for _, p := range req.HostPorts {
		for _, q := range n.ports {
			if p.Conflicts(q) && !slices.ContainsFunc(n.slots, func(r *reservation) bool { return slices.Contains(r.ports, q) }) {
				return false
			}
		}
	}
	if req.NodeName != "" {
		return s.acceptsByName(n)
	}
	return s.mayHave(n.pool) && s.allows(n)
}

// findAmongSlots makes room for a pod where slots hold it, best fit as if that room were free. It answers the
// node, nil if there is none.
func (c *core) findAmongSlots(req *controlplane.PlaceRequest) *node {
	if c.slots.count == 0 {
		return nil
	}
	p := c.planOf(req)
	if s, _ := c.shapeOf(req, p); c.reasons.current(s) {
		return nil // known to fit nowhere since the ledger last changed
	}
	look := c.readyWith(req, p)
	var n *node
	if req.NodeName != "" {
		if n = c.fleet.nodes[req.NodeName]; n == nil || !look.takesWithSlots(n) {
			return nil
		}
	} else {
		look.amongSlots = true
		if n = c.slots.holders.bestFit(look); n == nil {
			return nil
		}
	}
	c.makeRoom(n, req.Demand, req.HostPorts, 1)
	return n
}

// makeRoom gives up as few of a node's slots as need be for that much free room, ports and pods. For no room
// none goes but of a node that is beyond its capacity.
func (c *core) makeRoom(n *node, room controlplane.Demand, ports []controlplane.HostPort, pods int) {
	for _, p := range ports {
		for _, r := range slices.Clone(n.slots) {
			if slices.ContainsFunc(r.ports, p.Conflicts) {
				c.giveUp(r)
			}
		}
	}
	c.giveWay(n, pods, func() controlplane.Demand {
		free, bare := n.free(), n.unclaimed()
		if room.CPUMilli == 0 {
			free.CPUMilli = bare.CPUMilli
		}
		if room.MemoryBytes == 0 {
			free.MemoryBytes = bare.MemoryBytes
		}
		return room.Sub(free)
	})
}

// giveWay gives up slots until nothing lacks any more.
func (c *core) giveWay(n *node, pods int, lacking func() controlplane.Demand) {
	for len(n.slots) > 0 {
		lacks := lacking()
		lacksPod := n.pods+n.claimedPods+pods > n.spec.MaxPods
		if lacks.CPUMilli <= 0 && lacks.MemoryBytes <= 0 && !lacksPod {
			return
		}
		c.giveUp(n.cheapest(lacks))
	}
}

// makeRoomFor gives up slots for another size of a pod, which was admitted.
func (c *core) makeRoomFor(r *reservation, d controlplane.Demand) {
	if len(r.node.slots) == 0 {
		return
	}
	grows := r.growth(d)
	c.giveWay(r.node, 0, func() controlplane.Demand {
		lacks := grows.Sub(r.node.freeFor(r).Sub(r.node.slotRoom))
		if grows.CPUMilli == 0 {
			lacks.CPUMilli = 0
		}
		if grows.MemoryBytes == 0 {
			lacks.MemoryBytes = 0
		}
		return lacks
	})
}

// cheapest is the slot to give up for what lacks: the smallest that is enough, else the one that brings most.
// Of equal ones the one that has come least far goes, then the first by UID.
func (n *node) cheapest(lacks controlplane.Demand) *reservation {
	brings := func(r *reservation) (enough bool, share float64) {
		part := func(has, lacks int64) float64 {
			if lacks <= 0 {
				return 0
			}
			return min(1, float64(has)/float64(lacks))
		}
		return lacks.Fits(r.allocated), part(r.allocated.CPUMilli, lacks.CPUMilli) + part(r.allocated.MemoryBytes, lacks.MemoryBytes)
	}
	better := func(a, b *reservation) bool {
		enoughA, shareA := brings(a)
		enoughB, shareB := brings(b)
		switch {
		case enoughA != enoughB:
			return enoughA
		case enoughA && a.allocated != b.allocated:
			return a.allocated.MemoryBytes < b.allocated.MemoryBytes || a.allocated.MemoryBytes == b.allocated.MemoryBytes && a.allocated.CPUMilli < b.allocated.CPUMilli
		case !enoughA && shareA != shareB:
			return shareA > shareB
		case a.ahead.depth != b.ahead.depth:
			return a.ahead.depth < b.ahead.depth
		}
		return a.uid < b.uid
	}
	best := n.slots[0]
	for _, r := range n.slots[1:] {
		if better(r, best) {
			best = r
		}
	}
	return best
}

// shedSlots gives up slots of a node that can't have them any more: all where none would be taken, else as
// many as are beyond its capacity.
func (c *core) shedSlots(n *node) {
	if n.known && n.spec.Ready && !n.spec.Cordoned {
		c.makeRoom(n, controlplane.Demand{}, nil, 0)
		return
	}
	c.giveUpAll(n)
}

func (c *core) room() (free, held controlplane.Demand) {
	for _, n := range c.fleet.nodes {
		if n.open() {
			free = free.Add(n.free())
		}
	}
	return free, c.slots.room
}
