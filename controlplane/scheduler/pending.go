package scheduler

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"swell.dev/swell/controlplane"
)

// shape is what decides where a pod fits.
type shape struct {
	demand   controlplane.Demand
	rank     rank
	class    controlplane.Classes
	never    bool // it preempts nobody
	nodeName string
	selector string
	ports    string
	plan     *plan
	social   string // what else of the pod itself its rules, and those of others, ask for
}

// shapeOf answers the pod's shape, and the crowds on which it depends where it fits.
func (c *core) shapeOf(req *controlplane.PlaceRequest, p *plan) (shape, []*crowd) {
	s := shape{demand: req.Demand, rank: rankOf(req), class: classOf(req), never: req.NeverPreempt, nodeName: req.NodeName, plan: p}
	if len(req.NodeSelector) > 0 {
		var b strings.Builder
		for _, k := range slices.Sorted(maps.Keys(req.NodeSelector)) {
			b.WriteString(strconv.Quote(k) + strconv.Quote(req.NodeSelector[k]))
		}
		s.selector = b.String()
	}
	for _, p := range req.HostPorts {
		s.ports += fmt.Sprintf("%s %s:%d\n", p.Protocol, p.IP, p.Port)
	}
	var crowds []*crowd
	var b []byte
	if p.social() {
		crowds = append(crowds, p.crowds...)
		for _, x := range p.crowds {
			if x.matches(req.Key.Namespace, req.Labels) {
				b = append(b, 1)
			} else {
				b = append(b, 0)
			}
		}
	}
	if c.crowds.keeping > 0 {
		var ids []uint64
		for _, x := range c.crowds.of(req.Key.Namespace, req.Labels) {
			if len(x.holders) > 0 {
				ids = append(ids, x.id)
				crowds = append(crowds, x)
			}
		}
		slices.Sort(ids)
		for _, id := range ids {
			b = binary.AppendUvarint(b, id)
		}
	}
	s.social = string(b)
	return s, crowds
}

// waiting is a pod without a node.
type waiting struct {
	req   controlplane.PlaceRequest
	plan  *plan
	line  *line
	index int            // in its line
	claim *claim         // on room that is being made for it
	told  *Unschedulable // what was last said of why it waits
}

// line is the pods of one shape.
type line struct {
	shape  shape
	crowds []*crowd // on which it depends where they fit
	heap   queue
}

func (l *line) social() bool { return len(l.crowds) > 0 }

// next answers the first pod in line for whom no room is being made, nil if there is none.
func (l *line) next() *waiting {
	var first *waiting
	for _, w := range l.heap {
		if w.claim == nil && (first == nil || precedence(w, first) < 0) {
			first = w
		}
		if first == l.heap[0] {
			break
		}
	}
	return first
}

// queue is a heap with the pod first whose turn it is.
type queue []*waiting

// precedence orders pods that wait: by rank, then by age.
func precedence(a, b *waiting) int {
	if x, y := a.line.shape.rank, b.line.shape.rank; x != y {
		if x > y {
			return -1
		}
		return 1
	}
	if c := a.req.Created.Compare(b.req.Created); c != 0 {
		return c
	}
	return strings.Compare(a.req.UID, b.req.UID)
}

func (l queue) Len() int           { return len(l) }
func (l queue) Less(i, j int) bool { return precedence(l[i], l[j]) < 0 }
func (l queue) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].index, l[j].index = i, j
}

// Push is heap.Interface's.
func (l *queue) Push(x any) {
	w := x.(*waiting)
	w.index = len(*l)
	*l = append(*l, w)
}

// Pop is heap.Interface's.
func (l *queue) Pop() any {
	old := *l
	last := len(old) - 1
	w := old[last]
	old[last] = nil
	*l = old[:last]
	return w
}

// pending holds the pods that no node has room for.
type pending struct {
	pods  map[string]*waiting // by uid
	lines map[shape]*line     // none is empty
	ranks []rankSum           // how many, by rank
	order []*line             // as they came up; for telling
	told  int                 // where in order telling goes on
}

func newPending() pending {
	return pending{pods: map[string]*waiting{}, lines: map[shape]*line{}}
}

// wait adds a pod.
func (c *core) wait(req controlplane.PlaceRequest) *waiting {
	w := &waiting{req: req, plan: c.planOf(&req)}
	if w.plan != nil {
		w.plan.uses++
	}
	c.pending.pods[req.UID] = w
	c.pending.enter(c, w)
	c.pending.ranks = addRank(c.pending.ranks, w.line.shape.rank, controlplane.Demand{}, 1)
	return w
}

// unpend takes a pod out, with its claim.
func (c *core) unpend(uid string) {
	w := c.pending.pods[uid]
	if w == nil {
		return
	}
	delete(c.pending.pods, uid)
	c.pending.ranks = addRank(c.pending.ranks, w.line.shape.rank, controlplane.Demand{}, -1)
	c.pending.leave(c, w)
	c.unplan(w.plan)
	if w.claim != nil {
		c.freed = append(c.freed, w.claim.node)
		c.dropClaim(w.claim)
	}
}

func (p *pending) enter(c *core, w *waiting) {
	s, crowds := c.shapeOf(&w.req, w.plan)
	l := p.lines[s]
	if l == nil {
		l = &line{shape: s, crowds: crowds}
		p.lines[s] = l
		p.order = append(p.order, l)
		for _, x := range crowds {
			x.lines[l]++
		}
	}
	w.line = l
	heap.Push(&l.heap, w)
}

func (p *pending) leave(c *core, w *waiting) {
	l := w.line
	if heap.Remove(&l.heap, w.index); len(l.heap) > 0 {
		return
	}
	delete(p.lines, l.shape)
	delete(c.stirred, l)
	p.order = slices.DeleteFunc(p.order, func(o *line) bool { return o == l })
	for _, x := range l.crowds {
		delete(x.lines, l)
	}
}

// firstFor answers the pod whose turn it is of those that the node may have now, nil if there is none.
func (c *core) firstFor(n *node) *waiting {
	if !n.known || !n.spec.Ready || len(c.pending.lines) == 0 {
		return nil
	}
	var best *waiting
	free := n.freeWithSlots()
	for _, l := range c.pending.lines {
		if head := l.heap[0]; l.shape.demand.Fits(free) && (best == nil || precedence(head, best) < 0) && c.readyFor(head).takesAnyway(n) {
			best = head
		}
	}
	return best
}
