package scheduler

import (
	"cmp"
	"slices"

	"swell.dev/swell/controlplane"
)

// The resize of a pod that isn't best-effort has those of its node that are give way where it finds no room:
// the lowest priorities that do, the fewest, the youngest. They are told to go, and what they leave is the
// resize's.

// stored lets the pod's wish have others give way: what can't be stored costs nobody anything.
func (c *core) stored(uid string) {
	r := c.pods[uid]
	if r == nil || r.wish == nil {
		return
	}
	r.wish.stored = true
	c.reclaimOn(r.node)
	c.settle()
}

// setPatience changes whether a pod's wish waits for room without others having to go.
func (c *core) setPatience(uid string, patient bool) {
	if r := c.pods[uid]; r != nil && r.wish != nil && r.wish.Patient != patient {
		r.wish.Patient = patient
		c.reclaimOn(r.node)
		c.settle()
	}
}

// reclaimOn makes room for those of the node's wishes that best-effort pods have to give way to.
func (c *core) reclaimOn(n *node) {
	for _, r := range n.deferred {
		w := r.wish
		if !n.known || !w.stored || w.Infeasible || len(w.leave) > 0 {
			continue
		}
		if w.reclaims { // all have gone, and it doesn't do: for others nothing is kept any more
			w.reclaims = n.lent > 0
		}
		if w.Patient || w.reclaims {
			continue
		}
		if leave := c.givers(r); len(leave) > 0 {
			c.reclaimFor(r, leave)
		}
	}
}

func (c *core) reclaimFor(r *reservation, leave []*reservation) {
	r.wish.reclaims, r.wish.leave = true, leave
	for _, v := range leave {
		if !v.leaving {
			c.decisions = append(c.decisions, decision{
				kind: evicted, uid: v.uid, key: v.key(), node: v.node.spec.Name, reason: controlplane.Reclaimed,
				message: "reclaiming best-effort capacity for the resize of a pod", request: &controlplane.PlaceRequest{Key: r.key()},
			})
		}
		c.regard(v, func() { v.leaving, v.gives = true, r })
	}
}

// givers are those who have to leave for a pod's wish: with all of them gone it fits, then each is spared
// that can be, the highest rank and the oldest first. Nil: nothing would help, or nobody needs to.
func (c *core) givers(r *reservation) []*reservation {
	n, grows := r.node, r.growth(r.wish.Demand)
	room := n.freeFor(r)
	room.MemoryBytes += n.lent
	fits := func() bool {
		return (grows.CPUMilli == 0 || grows.CPUMilli <= room.CPUMilli) && (grows.MemoryBytes == 0 || grows.MemoryBytes <= room.MemoryBytes)
	}
	if fits() {
		return nil
	}
	var lesser []*reservation
	for _, v := range n.held {
		if by, ok := v.effective(); ok && v != r && (by == leavingRank || by < firmest && firmest < r.rank) {
			lesser = append(lesser, v)
			room = room.Add(v.reserved())
		}
	}
	if !fits() {
		return nil
	}
	slices.SortFunc(lesser, func(a, b *reservation) int {
		x, _ := a.effective()
		y, _ := b.effective()
		return cmp.Or(cmp.Compare(y, x), cmp.Compare(a.created, b.created), cmp.Compare(a.uid, b.uid))
	})
	return slices.DeleteFunc(lesser, func(v *reservation) bool {
		was := room
		room = room.Sub(v.reserved())
		if fits() {
			return true
		}
		room = was
		return false
	})
}
