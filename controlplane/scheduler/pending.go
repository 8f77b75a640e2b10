package scheduler

import (
	"container/heap"
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
	nodeName string
	selector string
	ports    string
}

func shapeOf(req *controlplane.PlaceRequest) shape {
	s := shape{demand: req.Demand, nodeName: req.NodeName}
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
	return s
}

// waiting is a pod without a node.
type waiting struct {
	req   controlplane.PlaceRequest
	shape shape
	index int // in its line
}

// line is the pods of one shape, a heap with the oldest first.
type line []*waiting

func older(a, b *waiting) bool {
	if c := a.req.Created.Compare(b.req.Created); c != 0 {
		return c < 0
	}
	return a.req.UID < b.req.UID
}

func (l line) Len() int           { return len(l) }
func (l line) Less(i, j int) bool { return older(l[i], l[j]) }
func (l line) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].index, l[j].index = i, j
}

// Push is heap.Interface's.
func (l *line) Push(x any) {
	w := x.(*waiting)
	w.index = len(*l)
	*l = append(*l, w)
}

// Pop is heap.Interface's.
func (l *line) Pop() any {
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
}

func newPending() pending {
	return pending{pods: map[string]*waiting{}, lines: map[shape]*line{}}
}

func (p *pending) add(req controlplane.PlaceRequest) {
	p.remove(req.UID)
	w := &waiting{req: req, shape: shapeOf(&req)}
	p.pods[req.UID] = w
	l := p.lines[w.shape]
	if l == nil {
		l = &line{}
		p.lines[w.shape] = l
	}
	heap.Push(l, w)
}

func (p *pending) remove(uid string) {
	w := p.pods[uid]
	if w == nil {
		return
	}
	delete(p.pods, uid)
	l := p.lines[w.shape]
	if heap.Remove(l, w.index); len(*l) == 0 {
		delete(p.lines, w.shape)
	}
}

// oldestFor answers the oldest pod that the node may have now, nil if there is none.
func (p *pending) oldestFor(n *node) *waiting {
	var best *waiting
	for _, l := range p.lines {
		if head := (*l)[0]; (best == nil || older(head, best)) && (n.takes(&head.req) || n.takesWithSlots(&head.req)) {
			best = head
		}
	}
	return best
}
