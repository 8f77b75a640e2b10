package scheduler

import (
	"cmp"
	"slices"

	"swell.dev/swell/controlplane"
)

// mayTake tells whether a pod of the shape may take the room of one of that rank.
func (s *shape) mayTake(r rank) bool {
	switch {
	case r == leavingRank:
		return true
	case s.never:
		return s.rank > firmest && r < firmest // reclaiming isn't a matter of priority
	}
	return r < s.rank
}

// prey tells whether there is any pod at all that would have to give way.
func (s *shape) prey(sums []rankSum) bool {
	for i := range sums {
		if sums[i].rank != leavingRank {
			return s.mayTake(sums[i].rank)
		}
	}
	return false
}

// bargain is a node on which room can be made, and the highest rank that has to give way.
type bargain struct {
	node *node
	rank rank
	left controlplane.Demand // beyond what is needed, if all up to that rank went
}

func (b bargain) compare(o bargain) int {
	return cmp.Or(cmp.Compare(b.rank, o.rank), cmp.Compare(b.left.CPUMilli, o.left.CPUMilli),
		cmp.Compare(b.left.MemoryBytes, o.left.MemoryBytes), cmp.Compare(b.node.spec.Name, o.node.spec.Name))
}

// bargains keeps the maxTried cheapest: a heap with the dearest first.
type bargains []bargain

func (b *bargains) add(x bargain) {
	h := *b
	if len(h) < maxTried {
		*b = append(h, x)
		if len(*b) == maxTried {
			slices.SortFunc(*b, func(x, y bargain) int { return y.compare(x) })
		}
		return
	}
	if x.compare(h[0]) >= 0 {
		return
	}
	h[0] = x
	for i := 0; ; {
		dearest := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < len(h) && h[child].compare(h[dearest]) > 0 {
				dearest = child
			}
		}
		if dearest == i {
			return
		}
		h[i], h[dearest] = h[dearest], h[i]
		i = dearest
	}
}

// Bounds of the search for the cheapest victims: so many nodes are worked out in full, and of them so many
// are compared on which it would do.
const (
	maxTried    = 128
	maxCompared = 16
)

// preempt makes room for a pod that waits, if lesser ones have to give way. It looks at all nodes, at what
// each rank holds there: that happens only when a pod finds no room and there are lesser ones.
func (c *core) preempt(w *waiting) {
	shape := &w.line.shape
	if w.claim != nil || c.takeBackFor(w) || !shape.prey(c.ranks) {
		return
	}
	var found bargains
	if name := w.req.NodeName; name != "" {
		if n := c.fleet.nodes[name]; n != nil && n.known {
			if b, ok := c.bargain(n, w); ok {
				found.add(b)
			}
		}
	} else {
		for _, n := range c.fleet.list {
			if b, ok := c.bargain(n, w); ok {
				found.add(b)
			}
		}
	}
	slices.SortFunc(found, bargain.compare)
	var best *sacrifice
	compared := 0
	for i := range found {
		if best != nil && found[i].rank > best.highest {
			break // it can only be dearer
		}
		if s := c.sacrifice(found[i].node, w); s != nil {
			if best == nil || s.cheaper(best) {
				best = s
			}
			if compared++; compared == maxCompared {
				break
			}
		}
	}
	if best != nil {
		c.claimFor(w, best)
	}
}

// preemptLine lets the next pod in line make room.
func (c *core) preemptLine(l *line) {
	if w := l.next(); w != nil {
		c.preempt(w)
	}
}

// preemptOn makes room on one node that has changed, for whose turn it is.
func (c *core) preemptOn(n *node) {
	for n.known && len(c.pending.ranks) > 0 {
		highest := c.pending.ranks[len(c.pending.ranks)-1].rank
		if len(n.ranks) == 0 || n.ranks[0].rank >= highest {
			return
		}
		var best *waiting
		for _, l := range c.pending.lines {
			if !l.shape.prey(n.ranks) {
				continue
			}
			if w := l.next(); w != nil && (best == nil || precedence(w, best) < 0) {
				if _, ok := c.bargain(n, w); ok && c.sacrifice(n, w) != nil {
					best = w
				}
			}
		}
		if best == nil {
			return
		}
		c.claimFor(best, c.sacrifice(n, best))
	}
}

// bargain tells whether room for the pod can be made on the node, as far as quantities and the node itself go.
func (c *core) bargain(n *node, w *waiting) (bargain, bool) {
	shape := &w.line.shape
	if !n.spec.Ready || n.spec.Cordoned && shape.nodeName == "" || !shape.demand.Fits(n.spec.Capacity) {
		return bargain{}, false
	}
	room, pods := n.freeWithSlots(), n.spec.MaxPods-n.pods-n.claimedPods+len(n.slots)
	room.MemoryBytes += n.lent // is taken back
	for _, cl := range n.claims {
		if cl.waiting.line.shape.rank < shape.rank { // it would be given up, and who leaves for it leaves anyway
			d, p := cl.keeps()
			room, pods = room.Add(d), pods+p+len(cl.leave)
			for _, r := range cl.leave {
				room = room.Add(r.reserved())
			}
		}
	}
	highest := leavingRank
	for i := 0; pods <= 0 || !shape.demand.Fits(room); i++ {
		if i == len(n.ranks) || !shape.mayTake(n.ranks[i].rank) {
			return bargain{}, false
		}
		highest = n.ranks[i].rank
		room, pods = room.Add(n.ranks[i].holds), pods+n.ranks[i].pods
	}
	s := c.readyFor(w)
	if !n.matches(w.req.NodeSelector) || !s.mayHave(n.pool) && w.req.NodeName == "" || s.plan != nil && s.plan.needed && !anyTerm(s.plan.required, &n.spec) {
		return bargain{}, false
	}
	return bargain{n, highest, room.Sub(shape.demand)}, true
}

// sacrifice is what it takes to place a pod on a node.
type sacrifice struct {
	node    *node
	leave   []*reservation // pods whose room is needed, on their way out or to be sent there
	highest rank           // of those to be sent
	count   int            // of them
	longest int64          // when the one of them began that was there first
	left    controlplane.Demand
}

func (s *sacrifice) cheaper(o *sacrifice) bool {
	return cmp.Or(cmp.Compare(s.highest, o.highest), cmp.Compare(s.count, o.count), cmp.Compare(o.longest, s.longest),
		cmp.Compare(s.left.CPUMilli, o.left.CPUMilli), cmp.Compare(s.left.MemoryBytes, o.left.MemoryBytes),
		cmp.Compare(s.node.spec.Name, o.node.spec.Name)) < 0
}

// sacrifice works out the victims on a node: with all lesser pods gone the pod must fit, by all rules; then
// each is spared that can be, the highest and oldest first. It answers nil if nothing would help.
func (c *core) sacrifice(n *node, w *waiting) *sacrifice {
	shape := &w.line.shape
	var lesser []*reservation
	standing := func(r *reservation) (rank, bool) {
		if r.claim != nil && r.claim.waiting.line.shape.rank < shape.rank {
			return leavingRank, true
		}
		return r.effective()
	}
	for _, r := range n.held {
		if by, ok := standing(r); ok && shape.mayTake(by) {
			lesser = append(lesser, r)
		}
	}
	slices.SortFunc(lesser, func(a, b *reservation) int {
		x, _ := standing(a)
		y, _ := standing(b)
		return cmp.Or(cmp.Compare(y, x), cmp.Compare(a.created, b.created), cmp.Compare(a.uid, b.uid))
	})
	c.quiet = true
	claims, lent := n.claims, n.lent
	n.claims, n.lent = slices.DeleteFunc(slices.Clone(claims), func(cl *claim) bool { return cl.waiting.line.shape.rank < shape.rank }), 0
	n.reckon()
	for _, r := range lesser {
		c.imagine(r, -1)
	}
	out := &sacrifice{node: n, highest: leavingRank}
	if c.readyFor(w).takesAnyway(n) {
		for _, r := range lesser {
			if c.imagine(r, 1); c.readyFor(w).takesAnyway(n) {
				continue
			}
			c.imagine(r, -1)
			out.leave = append(out.leave, r)
		}
		out.left = n.free().Sub(shape.demand)
		for _, r := range out.leave {
			c.imagine(r, 1)
			if !r.leaving {
				if out.count == 0 || r.created < out.longest {
					out.longest = r.created
				}
				out.count++
				out.highest = max(out.highest, r.rank)
			}
		}
	} else {
		for _, r := range lesser {
			c.imagine(r, 1)
		}
		out = nil
	}
	n.claims, n.lent = claims, lent
	n.reckon()
	c.quiet = false
	return out
}

// imagine takes a pod off its node, or puts it back, in all that a search looks at.
func (c *core) imagine(r *reservation, by int) {
	n := r.node
	if by < 0 {
		n.used = n.used.Sub(r.reserved())
		n.giveBack(r.ports)
	} else {
		n.used = n.used.Add(r.reserved())
		n.ports = append(n.ports, r.ports...)
	}
	n.pods += by
	c.census1(r, by)
}
