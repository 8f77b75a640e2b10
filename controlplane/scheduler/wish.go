package scheduler

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/controlplane"
)

// wish is a resize that waits for room, or for a larger node.
type wish struct {
	controlplane.ResizeRequest
	asked    uint64         // who asked first goes first, all else being equal
	stored   bool           // others may be told to go for it
	reclaims bool           // they were; what they leave is kept for it
	leave    []*reservation // those of them that are still there
}

// compare tells the order in which wishes get room, as Kubernetes has it. Those that don't grow never wait.
func (w *wish) compare(o *wish) int {
	return cmp.Or(cmp.Compare(o.Priority, w.Priority), cmp.Compare(standing(w.QOS), standing(o.QOS)),
		w.Since.Compare(o.Since), cmp.Compare(w.asked, o.asked))
}

func standing(q corev1.PodQOSClass) int {
	switch q {
	case corev1.PodQOSGuaranteed:
		return 0
	case corev1.PodQOSBurstable:
		return 1
	}
	return 2
}

func (c *core) wish(r *reservation, w *wish) {
	if w.asked == 0 {
		c.wishes++
		w.asked = c.wishes
	}
	r.wish = w
	n := r.node
	at, _ := slices.BinarySearchFunc(n.deferred, w, func(o *reservation, w *wish) int { return o.wish.compare(w) })
	n.deferred = slices.Insert(n.deferred, at, r)
	c.rewish(n)
}

// remember takes over a wish that is stored.
func (c *core) remember(r *reservation, q controlplane.ResizeRequest) {
	c.wish(r, &wish{ResizeRequest: q, stored: true})
	c.judgeAgain(r.node)
}

// forgetWish takes a wish out. Who leaves for it leaves nevertheless.
func (c *core) forgetWish(r *reservation) {
	if r.wish == nil {
		return
	}
	for _, v := range r.wish.leave {
		c.regard(v, func() { v.gives = nil })
	}
	r.wish.leave, r.wish.reclaims = nil, false
	r.wish = nil
	r.node.deferred = slices.DeleteFunc(r.node.deferred, func(x *reservation) bool { return x == r })
	c.rewish(r.node)
}

// rewish sums up anew what the node's wishes want.
func (c *core) rewish(n *node) {
	n.reckonWishes()
	c.reasons.changes++
	c.reindex(n)
}

// reckonWishes counts what Kubernetes' scheduler does: the larger of what is wished and what is held, unless
// that is infeasible; of one for which others leave what they don't bring.
func (n *node) reckonWishes() {
	n.wished = controlplane.Demand{}
	for _, r := range n.deferred {
		if !r.wish.Infeasible {
			n.wished = n.wished.Add(r.keeps())
		}
	}
}

// keeps is what a wish for which others leave takes of what is free now: what they don't bring.
func (r *reservation) keeps() controlplane.Demand {
	d := r.growth(r.wish.Demand)
	for _, v := range r.wish.leave {
		d = d.Sub(v.reserved())
	}
	return d.Max(controlplane.Demand{})
}

// retryDeferred admits the node's deferred resizes that fit now. One that doesn't fit holds up no other.
func (c *core) retryDeferred(n *node) {
	if len(n.deferred) == 0 {
		return
	}
	for _, r := range slices.Clone(n.deferred) {
		w := r.wish
		if w.Infeasible || !c.admits(r, w.Demand) {
			continue
		}
		c.forgetWish(r)
		if w.stored {
			r.undo = nil
		}
		c.makeRoomFor(r, w.Demand)
		c.allocate(r, w.Demand)
		c.stats.Admitted++
		c.decisions = append(c.decisions, decision{kind: resized, uid: r.uid, key: r.key(), node: n.spec.Name, resize: w.Demand})
	}
}

// judgeAgain finds out which of the node's wishes it could hold now, and which no more.
func (c *core) judgeAgain(n *node) {
	for _, r := range n.deferred {
		w := r.wish
		never := n.neverHolds(w.Demand)
		if never == w.Infeasible || n.spec.Capacity == (controlplane.Demand{}) {
			continue
		}
		w.Infeasible = never
		d := decision{kind: judged, uid: r.uid, key: r.key(), node: n.spec.Name, resize: w.Demand}
		if never {
			d.verdict, d.message = controlplane.ResizeInfeasible, n.tooSmallFor(w.Demand)
		} else if c.admits(r, w.Demand) {
			continue // which is told next
		} else {
			d.verdict, d.message = controlplane.ResizeDeferred, r.short(w.Demand)
		}
		c.decisions = append(c.decisions, d)
	}
	if len(n.deferred) > 0 {
		c.rewish(n)
	}
}
