package scheduler

import (
	"slices"

	"swell.dev/swell/controlplane"
)

// A node's reflex pool is room that nobody has: what is left beyond its pods, its slots and the resizes that
// wait, up to what the node wants. CPU that is lent is as good as free: it is promised to whoever needs it, and
// the grant shrinks with the promise. Memory isn't, since bursts may be in it: it counts as taken until the
// node has heard of the smaller grant and holds no more. Who needs it has a claim on it meanwhile.

// loan is what a node's pool has.
type loan struct {
	controlplane.PoolReport
	granted controlplane.PoolGrant
	told    bool // the node's session knows of the grant
	due     bool // it is in fleet.due
	// The memory of grants that the node may go by still, for all that it has said: the oldest and largest
	// first, each smaller than the one before.
	past []pastGrant
}

type pastGrant struct{ number, memory int64 }

// maxPast bounds what is remembered of a node that doesn't answer.
const maxPast = 64

// grant notes a grant that is made.
func (l *loan) grant(room controlplane.Demand) {
	l.granted.Room, l.told = room, true
	l.granted.Number++
	for len(l.past) > 0 && l.past[len(l.past)-1].memory <= room.MemoryBytes {
		l.past = l.past[:len(l.past)-1] // whoever goes by that may have as much now
	}
	if len(l.past) < maxPast { // else the last one stands for this one too, until it is heard of
		l.past = append(l.past, pastGrant{l.granted.Number, room.MemoryBytes})
	}
}

// hear takes over which grant the node goes by.
func (l *loan) hear(number int64) {
	if number >= l.granted.Number {
		l.past = []pastGrant{{l.granted.Number, l.granted.Room.MemoryBytes}}
		return
	}
	for len(l.past) > 1 && l.past[1].number <= number {
		l.past = l.past[1:]
	}
}

// memory is the most that bursts may have.
func (l *loan) memory() int64 {
	m := max(l.granted.Room.MemoryBytes, l.Held.MemoryBytes)
	if len(l.past) > 0 {
		m = max(m, l.past[0].memory)
	}
	return m
}

// pooled takes over what a node says of its pool. A node that has just connected goes by no grant: it doesn't go
// further than what it holds. Nil: it has no pool.
func (c *core) pooled(name string, report *controlplane.PoolReport, connected bool) {
	n := c.fleet.nodes[name]
	switch {
	case report == nil && (n == nil || n.lends == nil):
		return
	case report == nil:
		c.lendNothing(n)
	default:
		n = c.fleet.get(name)
		if n.lends == nil {
			n.lends, connected = &loan{}, true
		}
		l := n.lends
		l.PoolReport = *report
		if connected {
			l.granted.Room, l.told = report.Held, false
			l.past = []pastGrant{{l.granted.Number, report.Held.MemoryBytes}}
		} else {
			l.hear(report.Heard)
		}
		c.fleet.lenders[n] = struct{}{}
		c.fleet.look(n)
		c.relent(n)
	}
	c.fill(n)
	c.settle()
}

func (c *core) lendNothing(n *node) {
	if n.lends == nil {
		return
	}
	n.lends = nil
	delete(c.fleet.lenders, n)
	c.relent(n)
}

// relent counts anew what can't be promised of a node's memory.
func (c *core) relent(n *node) {
	was := n.lent
	if n.lent = 0; n.lends != nil {
		n.lent = n.lends.memory()
	}
	if n.lent == was {
		return
	}
	c.reasons.changes++
	c.reindex(n)
}

// look notes that a node may lend more, or less.
func (f *fleet) look(n *node) {
	if !n.lends.due {
		n.lends.due = true
		f.due = append(f.due, n)
	}
}

// lend brings the grants of nodes up to date whose room has changed.
func (c *core) lend() {
	for len(c.fleet.due) > 0 {
		n := c.fleet.due[0]
		c.fleet.due = c.fleet.due[1:]
		l := n.lends
		if l == nil {
			continue
		}
		l.due = false
		room := n.unclaimed().Sub(n.wished).Max(controlplane.Demand{})
		room = controlplane.Demand{CPUMilli: min(l.Want.CPUMilli, room.CPUMilli), MemoryBytes: min(l.Want.MemoryBytes, room.MemoryBytes)}
		if room == l.granted.Room && l.told {
			continue
		}
		l.grant(room)
		l.granted.Node = n.spec.Name
		c.relent(n)
		c.decisions = append(c.decisions, decision{kind: granted, node: n.spec.Name, grant: l.granted})
	}
}

// whenTakenBack answers what f does as if nothing were lent on the node; false where nothing is.
func (n *node) whenTakenBack(f func() bool) bool {
	lent := n.lent
	if lent == 0 {
		return false
	}
	n.lent = 0
	defer func() { n.lent = lent }()
	return f()
}

// takeBackFor lets a pod that waits have memory that is lent, on the node where it fits best and where nobody has
// to be sent away for it. It tells whether there is one.
func (c *core) takeBackFor(w *waiting) bool {
	var found bargains
	for n := range c.fleet.lenders {
		if b, ok := c.bargainBack(n, w); ok {
			found.add(b)
		}
	}
	slices.SortFunc(found, bargain.compare)
	for _, b := range found {
		if s := c.sacrifice(b.node, w); s != nil && s.count == 0 {
			c.claimFor(w, s)
			return true
		}
	}
	return false
}

// takeBackOn lets those who wait have what is lent on a node, in turn.
func (c *core) takeBackOn(n *node) {
	for n.lent > 0 {
		var best *waiting
		for _, l := range c.pending.lines {
			if w := l.next(); w != nil && (best == nil || precedence(w, best) < 0) && c.takesBack(n, w) != nil {
				best = w
			}
		}
		if best == nil {
			return
		}
		c.claimFor(best, c.takesBack(n, best))
	}
}

// bargainBack is bargain where something is lent and nobody needs to be sent away.
func (c *core) bargainBack(n *node, w *waiting) (bargain, bool) {
	if n.lent == 0 || !n.known || w.req.NodeName != "" && w.req.NodeName != n.spec.Name {
		return bargain{}, false
	}
	b, ok := c.bargain(n, w)
	return b, ok && b.rank == leavingRank
}

func (c *core) takesBack(n *node, w *waiting) *sacrifice {
	if _, ok := c.bargainBack(n, w); !ok {
		return nil
	}
	if s := c.sacrifice(n, w); s != nil && s.count == 0 {
		return s
	}
	return nil
}
