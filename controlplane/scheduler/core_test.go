package scheduler

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"swell.dev/swell/controlplane"
)

// TestPropertiesHold makes random calls and checks after each that nothing was promised twice, that the
// choice was the best one, that nobody waits for room that is there, and that a replay decides alike.
func TestPropertiesHold(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			first := walk(t, seed, true)
			if again := walk(t, seed, false); !slices.Equal(first, again) {
				t.Error("a replay decided otherwise")
			}
		})
	}
}

func walk(t *testing.T, seed uint64, check bool) []string {
	random := rand.New(rand.NewPCG(seed, 7))
	c := newCore()
	var log []string
	capacity := map[string]controlplane.Demand{}
	ahead := slotCheck{made: map[string]controlplane.PlaceRequest{}}
	pools := poolNodes{}
	for step := range 1500 {
		uid := fmt.Sprintf("p%d", random.IntN(120))
		if n := len(ahead.taken); n > 0 && random.IntN(3) == 0 {
			uid = ahead.taken[random.IntN(n)] // a pod that took a slot
		}
		d := controlplane.Demand{CPUMilli: random.Int64N(8) * 250, MemoryBytes: random.Int64N(8) * 256}
		switch random.IntN(20) {
		case 0:
			name := fmt.Sprintf("n%d", random.IntN(12))
			grown := capacity[name].Max(controlplane.Demand{CPUMilli: random.Int64N(5000), MemoryBytes: random.Int64N(5000)})
			capacity[name] = grown // never less than was promised
			c.setNode(controlplane.Node{
				Name: name, Capacity: grown, MaxPods: 12, Ready: random.IntN(5) > 0, Cordoned: random.IntN(5) == 0,
				Labels: map[string]string{"zone": fmt.Sprint(random.IntN(3)), "disk": fmt.Sprint(random.IntN(2))},
			})
		case 1:
			if random.IntN(5) == 0 {
				c.removeNode(fmt.Sprintf("n%d", random.IntN(12)))
			}
		case 2, 3, 4, 5:
			req := randomRequest(random, uid, d, step)
			held, best := c.pods[uid], bruteForce(c, &req, false)
			if best == nil {
				best = bruteForce(c, &req, true)
			}
			suits := ahead.suits(c, &req)
			got, err := c.place(req)
			if check && held == nil && suits != (got.Slot != "") {
				t.Fatalf("step %d: place %+v: %+v, %v, but that a slot suits is %v", step, req, got, err, suits)
			}
			if got.Slot != "" {
				ahead.take(t, step, got, &req)
			} else if check && held == nil && (best == nil) != (err != nil) {
				t.Fatalf("step %d: place %+v: %+v, %v, but %v would do", step, req, got, err, best)
			} else if check && held == nil && best != nil && got.Node != best.spec.Name {
				t.Fatalf("step %d: place %+v on %s, best is %s", step, req, got.Node, best.spec.Name)
			}
			if err != nil {
				c.pend(req)
			}
			log = append(log, fmt.Sprint("place ", uid, got, err))
		case 6, 7:
			c.release(uid)
		case 8, 9:
			v, err := c.resize(uid, randomResize(random, d))
			log = append(log, fmt.Sprint("resize ", uid, v, err))
			switch random.IntN(3) {
			case 0:
				c.revert(uid)
			case 1:
				c.stored(uid)
			}
		case 10, 11:
			req := randomRequest(random, fmt.Sprintf("s%d", step), d, step)
			req.Template, req.NodeName = 1+random.Uint64N(2), ""
			if node, err := c.addSlot(req); err == nil {
				ahead.made[req.UID] = req
				log = append(log, fmt.Sprint("slot ", req.UID, node))
			}
		case 12:
			if r := anySlot(c, random); r != nil {
				if random.IntN(3) == 0 {
					c.removeSlot(r.uid)
				} else {
					c.deepen(r.uid, controlplane.SlotDepth(random.IntN(5)))
				}
			}
		case 13, 14:
			held := int64(0)
			if r := c.pods[uid]; r != nil {
				held = random.Int64N(r.boost.takes() + 1) // a nodelet takes no more than it was granted
			}
			granted, ok := c.boost(uid, int64(step), random.Int64N(4)*500, held)
			log = append(log, fmt.Sprint("boost ", uid, granted, ok))
		case 15, 16:
			name := fmt.Sprintf("n%d", random.IntN(12))
			pools.say(random, c, name)
			log = append(log, "pool "+name)
		default:
			if r := c.pods[uid]; r != nil {
				c.actuated(uid, r.allocated)
			}
		}
		for _, d := range c.take() {
			log = append(log, d.String())
			pools.hear(d)
		}
		pools.forget(c)
		if check {
			pools.check(t, c, step)
			checkInvariants(t, c, step)
		}
	}
	return log
}

func randomRequest(random *rand.Rand, uid string, d controlplane.Demand, step int) controlplane.PlaceRequest {
	req := controlplane.PlaceRequest{
		UID: uid, Demand: d, Created: time.Unix(int64(step), 0),
		Key: controlplane.Key{Namespace: []string{"x", "y"}[random.IntN(2)]}, Template: random.Uint64N(3),
	}
	if req.Template != 0 { // as the size is part of what a template hashes
		req.Demand = controlplane.Demand{CPUMilli: 500 * int64(req.Template), MemoryBytes: 512 * int64(req.Template)}
	}
	if req.Template == 0 && random.IntN(4) == 0 {
		req.BoostCPUMilli, req.BoostRequired = 500, true
		req.Demand.CPUMilli += 500
	}
	switch random.IntN(6) {
	case 0:
		req.NodeName = fmt.Sprintf("n%d", random.IntN(12))
	case 1:
		req.NodeSelector = map[string]string{"zone": fmt.Sprint(random.IntN(4))}
	case 2:
		req.NodeSelector = map[string]string{"zone": fmt.Sprint(random.IntN(3)), "disk": fmt.Sprint(random.IntN(2))}
	case 3:
		req.HostPorts = []controlplane.HostPort{{Protocol: "TCP", IP: []string{"", "192.0.2.1", "192.0.2.2"}[random.IntN(3)], Port: 80 + random.Int32N(2)}}
	}
	return req
}

// bruteForce is the choice by a look at all nodes, as if they had no slots or as they are.
func bruteForce(c *core, req *controlplane.PlaceRequest, withoutSlots bool) *node {
	var best *node
	var at slot
	for _, n := range c.fleet.nodes {
		f := n.free()
		bare := *n
		if withoutSlots {
			for _, r := range n.slots {
				bare.used.CPUMilli -= r.allocated.CPUMilli
				bare.used.MemoryBytes -= r.allocated.MemoryBytes
				bare.pods--
				bare.ports = slices.Clone(bare.ports)
				bare.giveBack(r.ports)
			}
			f = bare.free()
		}
		if !c.ready(req).takes(&bare) {
			continue
		}
		if s := (slot{f.CPUMilli, f.MemoryBytes, n}); best == nil || s.before(at) {
			best, at = n, s
		}
	}
	return best
}

// slotCheck knows which slots were made, and which have become a pod.
type slotCheck struct {
	made  map[string]controlplane.PlaceRequest
	taken []string
}

// suits tells by a look at all slots whether the pod can have one.
func (s *slotCheck) suits(c *core, req *controlplane.PlaceRequest) bool {
	for _, r := range c.pods {
		if r.ahead != nil && req.Template != 0 && req.NodeName == "" && r.ahead.workload == req.Workload() && r.allocated == req.Demand &&
			r.node.lasts() && r.node.matches(req.NodeSelector) {
			return true
		}
	}
	return false
}

// lasts tells whether a node may keep slots: it is open, but for the number of pods.
func (n *node) lasts() bool { return n.known && n.spec.Ready && !n.spec.Cordoned }

func (s *slotCheck) take(t *testing.T, step int, got controlplane.Placement, req *controlplane.PlaceRequest) {
	t.Helper()
	made, ok := s.made[got.Slot]
	if !ok {
		t.Fatalf("step %d: slot %s was taken twice, or never made", step, got.Slot)
	}
	if made.Workload() != req.Workload() || made.Demand != req.Demand {
		t.Fatalf("step %d: %+v got the slot made for %+v", step, req, made)
	}
	delete(s.made, got.Slot)
	s.taken = append(s.taken, got.Slot)
}

func anySlot(c *core, random *rand.Rand) *reservation {
	var all []*reservation
	for _, r := range c.pods {
		if r.ahead != nil {
			all = append(all, r)
		}
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortFunc(all, func(a, b *reservation) int { return strings.Compare(a.uid, b.uid) })
	return all[random.IntN(len(all))]
}

func checkInvariants(t *testing.T, c *core, step int) {
	t.Helper()
	used := map[*node]controlplane.Demand{}
	pods := map[*node]int{}
	ports := map[*node][]controlplane.HostPort{}
	wishes, inSlots, boosted := 0, 0, int64(0)
	var slotRoom controlplane.Demand
	for uid, r := range c.pods {
		if r.ahead != nil {
			inSlots++
			slotRoom = slotRoom.Add(r.allocated)
			if line := c.slots.shelves[r.ahead.workload][r.ahead.depth]; line[r.ahead.index] != r || !slices.Contains(r.node.slots, r) {
				t.Fatalf("step %d: slot %s isn't where it is looked for", step, uid)
			}
		}
		used[r.node] = used[r.node].Add(r.reserved())
		pods[r.node]++
		if c.pending.pods[uid] != nil {
			t.Fatalf("step %d: %s has a node and pends", step, uid)
		}
		if r.wish != nil {
			wishes++
			if c.admits(r, r.wish.Demand) && !r.wish.Infeasible {
				t.Fatalf("step %d: %s's resize is deferred, though there is room", step, uid)
			}
		}
		boosted += r.boost.takes()
		if b := r.boost; b != nil {
			if b.granted > b.want || slices.Contains(r.node.waiting, r) != (b.granted < b.want) {
				t.Fatalf("step %d: %s's boost is %+v, waiting %v", step, uid, *b, slices.Contains(r.node.waiting, r))
			}
			if b.granted < b.want && r.node.known && !slices.Contains(c.freed, r.node) && r.node.free().CPUMilli >= max(0, b.want-b.takes()) {
				t.Fatalf("step %d: %s's boost %+v waits, though %v is free", step, uid, *b, r.node.free())
			}
		}
		ports[r.node] = append(ports[r.node], r.ports...)
		if c.fleet.nodes[r.node.spec.Name] != r.node {
			t.Fatalf("step %d: %s is on a node that is forgotten", step, uid)
		}
	}
	shelved := 0
	for w, s := range c.slots.shelves {
		was := shelved
		for _, line := range s {
			shelved += len(line)
		}
		if was == shelved {
			t.Fatalf("step %d: an empty shelf of %v is left", step, w)
		}
	}
	if c.slots.count != inSlots || shelved != inSlots || c.slots.room != slotRoom {
		t.Fatalf("step %d: %d slots with %v, %d on shelves, counted %d with %v", step, inSlots, slotRoom, shelved, c.slots.count, c.slots.room)
	}
	if c.boosts.CPUMilli != boosted {
		t.Fatalf("step %d: %dm of boosts, counted %dm", step, boosted, c.boosts.CPUMilli)
	}
	holders := 0
	indexed := 0
	for name, n := range c.fleet.nodes {
		if n.used != used[n] || n.pods != pods[n] {
			t.Fatalf("step %d: %s counts %v in %d pods, its pods hold %v in %d", step, name, n.used, n.pods, used[n], pods[n])
		}
		if len(n.ports) != len(ports[n]) {
			t.Fatalf("step %d: %s counts the ports %v, its pods have %v", step, name, n.ports, ports[n])
		}
		for i, p := range n.ports {
			if slices.ContainsFunc(n.ports[:i], p.Conflicts) {
				t.Fatalf("step %d: %s has given port %v out twice: %v", step, name, p, n.ports)
			}
		}
		// What resizes wish for isn't theirs yet, and a claim may wait for what is lent.
		if f := n.unclaimed(); (n.known || len(n.slots) > 0) && (f.CPUMilli < 0 || f.MemoryBytes < 0) {
			t.Fatalf("step %d: %s is promised beyond its capacity: %v free", step, name, f)
		}
		if f := n.spec.Capacity.Sub(n.used); n.known && f.MemoryBytes < n.lent {
			t.Fatalf("step %d: %s has promised memory twice: %v free, %d lent", step, name, f, n.lent)
		}
		if n.known && n.pods > n.spec.MaxPods {
			t.Fatalf("step %d: %s has %d pods", step, name, n.pods)
		}
		wishes -= len(n.deferred)
		for _, r := range n.waiting {
			if c.pods[r.uid] != r || r.node != n {
				t.Fatalf("step %d: on %s a pod waits for a boost that isn't there", step, name)
			}
		}
		inSlots -= len(n.slots)
		if n.holds {
			holders++
			if f := n.freeWithSlots(); n.heldAt != (slot{f.CPUMilli, f.MemoryBytes, n}) {
				t.Fatalf("step %d: %s with slots is indexed at %v, has %v", step, name, n.heldAt, f)
			}
		}
		if n.holds != (len(n.slots) > 0) || len(n.slots) > 0 && !n.lasts() {
			t.Fatalf("step %d: %s has %d slots, indexed %v", step, name, len(n.slots), n.holds)
		}
		if n.indexed != n.open() {
			t.Fatalf("step %d: %s is indexed: %v, open: %v", step, name, n.indexed, n.open())
		}
		if n.indexed {
			indexed++
		}
	}
	if wishes != 0 {
		t.Fatalf("step %d: the nodes' deferred resizes aren't the pods' wishes", step)
	}
	if inSlots != 0 {
		t.Fatalf("step %d: the nodes' slots aren't those of the ledger", step)
	}
	if n := checkTree(t, c.slots.holders.root, step); n != holders {
		t.Fatalf("step %d: %d nodes in the tree of those with slots, %d are", step, n, holders)
	}
	inPools := 0
	for _, p := range c.fleet.pools {
		inPools += checkTree(t, p.all.root, step)
	}
	if inPools != indexed {
		t.Fatalf("step %d: %d nodes in the trees, %d indexed", step, inPools, indexed)
	}
	for _, tr := range c.fleet.trees {
		checkTree(t, tr.root, step)
	}
	inLines := 0
	for s, l := range c.pending.lines {
		inLines += len(l.heap)
		if n := bruteForce(c, &l.heap[0].req, true); n != nil {
			t.Fatalf("step %d: a pod of shape %+v pends, though %s has room", step, s, n.spec.Name)
		}
		for _, n := range c.fleet.nodes {
			w := l.next()
			if w == nil {
				break
			}
			if s := c.takesBack(n, w); s != nil && len(s.leave) == 0 {
				t.Fatalf("step %d: a pod of shape %+v pends, though %s lends what it needs", step, l.shape, n.spec.Name)
			}
		}
	}
	if inLines != len(c.pending.pods) {
		t.Fatalf("step %d: %d pods in lines, %d pending", step, inLines, len(c.pending.pods))
	}
}

func checkTree(t *testing.T, b *branch, step int) int {
	t.Helper()
	if b == nil {
		return 0
	}
	most := b.memory
	for _, child := range []*branch{b.left, b.right} {
		if child != nil {
			most = max(most, child.maxMemory)
			if child.priority > b.priority {
				t.Fatalf("step %d: the tree isn't a heap", step)
			}
		}
	}
	if b.maxMemory != most || !(b.node.indexed && b.node.at == b.slot || b.node.holds && b.node.heldAt == b.slot) ||
		(b.left != nil && !b.left.before(b.slot)) || (b.right != nil && !b.before(b.right.slot)) {
		t.Fatalf("step %d: the tree is broken at %s", step, b.node.spec.Name)
	}
	return 1 + checkTree(t, b.left, step) + checkTree(t, b.right, step)
}
