package scheduler

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/controlplane"
)

// search is one pod looking for a node. It is used again for the next one, so that a plain pod's search
// allocates nothing.
type search struct {
	fleet *fleet
	req   *controlplane.PlaceRequest // own
	own   controlplane.PlaceRequest  // a copy, so that the caller's needn't be on the heap
	class controlplane.Classes
	plan  *plan
	kept  []*census        // domains with pods here keep this pod out
	self  []int            // for each of the plan's spread rules: 1 if the pod counts itself
	least []int            // and how many pods the emptiest domain has
	first bool             // it is the first of those that it has to be with
	also  func(*node) bool // what is wished besides; nil: nothing

	amongSlots bool // their room counts as free

	rejects  int
	narrowed bool // to area
	area     area
}

// ready prepares the core's search for a pod.
func (c *core) ready(req *controlplane.PlaceRequest) *search { return c.readyWith(req, c.planOf(req)) }

// readyFor is ready for a pod that waits.
func (c *core) readyFor(w *waiting) *search { return c.readyWith(&w.req, w.plan) }

func (c *core) readyWith(req *controlplane.PlaceRequest, p *plan) *search {
	s := &c.search
	s.own = *req
	s.fleet, s.req, s.class, s.plan = &c.fleet, &s.own, classOf(req), p
	s.first, s.also, s.narrowed, s.amongSlots = false, nil, false, false
	c.refresh(s)
	return s
}

func classOf(req *controlplane.PlaceRequest) controlplane.Classes {
	if req.Class == 0 {
		return controlplane.GeneralPurpose
	}
	return req.Class
}

// refresh works out what depends on other pods.
func (c *core) refresh(s *search) {
	req, p := s.req, s.plan
	s.kept, s.self, s.least = s.kept[:0], s.self[:0], s.least[:0]
	if c.crowds.keeping > 0 {
		for _, x := range c.crowds.of(req.Key.Namespace, req.Labels) {
			s.kept = append(s.kept, x.holders...)
		}
	}
	if !p.social() {
		return
	}
	for i := range p.spreads {
		sp := &p.spreads[i]
		self := 0
		if sp.crowd.matches(req.Key.Namespace, req.Labels) {
			self = 1
		}
		least := sp.census.least(s.fleet)
		if sp.census.domains(s.fleet) < sp.domains {
			least = 0
		}
		s.self, s.least = append(s.self, self), append(s.least, least)
	}
	s.first = len(p.together) > 0 && p.mates.matches(req.Key.Namespace, req.Labels)
	for _, t := range p.together {
		s.first = s.first && len(t.pods) == 0
	}
}

// accepts tells whether what isn't a quantity fits. It counts refusals.
func (s *search) accepts(n *node) bool {
	if s.amongSlots {
		if s.takesWithSlots(n) {
			return true
		}
	} else if n.matches(s.req.NodeSelector) && n.hasPorts(s.req.HostPorts) && s.allows(n) && (s.also == nil || s.also(n)) {
		return true
	}
	s.rejects++
	return false
}

// allows tells whether the rules do, the pod's own and those of others.
func (s *search) allows(n *node) bool {
	if p := s.plan; p != nil {
		if p.needed && !anyTerm(p.required, &n.spec) {
			return false
		}
		if p.social() && (!s.spreads(n) || !s.joins(n) || !s.avoids(n)) {
			return false
		}
	}
	return len(s.kept) == 0 || !s.isKept(n)
}

func (s *search) isKept(n *node) bool {
	return slices.ContainsFunc(s.kept, func(t *census) bool { pods, _ := t.at(n); return pods > 0 })
}

func (s *search) spreads(n *node) bool {
	for i := range s.plan.spreads {
		if sp := &s.plan.spreads[i]; sp.hard {
			pods, ok := sp.census.at(n)
			if !ok || pods+s.self[i]-s.least[i] > sp.skew {
				return false
			}
		}
	}
	return true
}

func (s *search) joins(n *node) bool {
	for _, t := range s.plan.together {
		if pods, ok := t.at(n); !ok || pods == 0 && !s.first {
			return false
		}
	}
	return true
}

func (s *search) avoids(n *node) bool {
	for _, t := range s.plan.apart {
		if pods, _ := t.at(n); pods > 0 {
			return false
		}
	}
	return true
}

// findFree answers the best node for the pod with room that nobody holds, nil if there is none.
func (c *core) findFree(req *controlplane.PlaceRequest) *node {
	s := c.ready(req)
	if req.NodeName != "" {
		if n := c.fleet.nodes[req.NodeName]; n != nil && s.takes(n) {
			return n
		}
		return nil
	}
	s.narrow()
	if s.plan != nil && s.plan.prefers() {
		return s.preferred()
	}
	return s.tightest()
}

// takes tells whether this node may have the pod now. A pod that is assigned by name passes by a cordon and
// by taints that only keep new pods away, and isn't held to rules about other pods, as in Kubernetes.
func (s *search) takes(n *node) bool {
	req := s.req
	if req.NodeName != "" {
		if req.NodeName != n.spec.Name || !n.known || !n.spec.Ready || n.full() || !req.Demand.Fits(n.free()) {
			return false
		}
		return n.matches(req.NodeSelector) && n.hasPorts(req.HostPorts) && s.acceptsByName(n)
	}
	return n.open() && req.Demand.Fits(n.free()) && s.mayHave(n.pool) && s.accepts(n)
}

// acceptsByName tells whether a pod that asks for this node by name may be there.
func (s *search) acceptsByName(n *node) bool {
	return n.pool.classes&s.class != 0 && !s.expelled(n) && (s.plan == nil || !s.plan.needed || anyTerm(s.plan.required, &n.spec))
}

// expelled tells whether a taint of the node would drive the pod out at once.
func (s *search) expelled(n *node) bool {
	if !n.pool.expels {
		return false
	}
	for i := range n.pool.taints {
		t := &n.pool.taints[i]
		if t.Effect == corev1.TaintEffectNoExecute && (s.plan == nil || !controlplane.Tolerates(s.plan.tolerations, t)) {
			return true
		}
	}
	return false
}

// mayHave tells whether the pod may be on this kind of nodes.
func (s *search) mayHave(p *pool) bool {
	if p.classes&s.class == 0 {
		return false
	}
	if !p.repels {
		return true
	}
	kinds := s.pools()
	return slices.Contains(kinds.wanted, p) || slices.Contains(kinds.avoided, p)
}

// pools are the kinds of nodes whose taints the pod tolerates.
func (s *search) pools() *pools {
	p := s.plan
	if p == nil || len(p.tolerations) == 0 {
		return &s.fleet.inert
	}
	if p.asOf != s.fleet.shapes {
		p.pools, p.asOf = s.fleet.tolerated(p.tolerations), s.fleet.shapes
	}
	return &p.pools
}

// tightest is the best fit, on nodes of a wanted kind if there is one.
func (s *search) tightest() *node {
	kinds := s.pools()
	if n := s.among(kinds.wanted); n != nil {
		return n
	}
	return s.among(kinds.avoided)
}

func (s *search) among(kinds []*pool) *node {
	var best *node
	for _, p := range kinds {
		if p.classes&s.class == 0 {
			continue
		}
		if !s.narrowed {
			best = tighter(best, p.all.bestFit(s))
			continue
		}
		for _, l := range s.area.labels {
			if members := s.fleet.having[l]; len(members) > s.fleet.few {
				best = tighter(best, s.fleet.treeFor(p, l).bestFit(s))
			} else {
				for n := range members {
					best = s.tryOne(best, n, p)
				}
			}
		}
		for _, name := range s.area.names {
			if n := s.fleet.nodes[name]; n != nil {
				best = s.tryOne(best, n, p)
			}
		}
	}
	return best
}

func (s *search) tryOne(best, n *node, p *pool) *node {
	if n.indexed && n.pool == p && n.at.cpu >= s.req.Demand.CPUMilli && n.at.memory >= s.req.Demand.MemoryBytes && tighter(best, n) == n && s.accepts(n) {
		return n
	}
	return best
}

// tighter answers the one of two nodes with less room; either may be nil.
func tighter(a, b *node) *node {
	if a == nil || b != nil && b.at.before(a.at) {
		return b
	}
	return a
}

// narrow finds the smallest part of the fleet that the indexes tell to hold all acceptable nodes.
func (s *search) narrow() {
	p := s.plan
	for k, v := range s.req.NodeSelector {
		l := label{k, v}
		s.within(area{labels: []label{l}, size: len(s.fleet.having[l])})
	}
	if p == nil {
		return
	}
	if p.needed {
		if a, ok := s.fleet.areaOf(p.required); ok {
			s.within(a)
		}
	}
	if !p.social() {
		return
	}
	for i := range p.spreads {
		if p.spreads[i].hard {
			sp := &p.spreads[i]
			limit := sp.skew + s.least[i] - s.self[i]
			s.domains(sp.census, func(pods int) bool { return pods <= limit })
		}
	}
	for _, t := range p.together {
		if !s.first && len(t.pods) <= maxLabels {
			var a area
			for v := range t.pods {
				l := label{t.key, v}
				a.labels = append(a.labels, l)
				a.size += len(s.fleet.having[l])
			}
			s.within(a)
		}
	}
	for _, list := range [2][]*census{p.apart, s.kept} {
		for _, t := range list {
			if len(t.pods) > 0 && s.fleet.keyed[t.key] == len(s.fleet.list) {
				s.domains(t, func(pods int) bool { return pods == 0 })
			}
		}
	}
}

// domains narrows to those of a topology whose number of pods will do, where there are few.
func (s *search) domains(t *census, ok func(pods int) bool) {
	values := s.fleet.values[t.key]
	if len(values) > maxLabels {
		return
	}
	var a area
	for v := range values {
		if ok(t.pods[v]) {
			l := label{t.key, v}
			a.labels = append(a.labels, l)
			a.size += len(s.fleet.having[l])
		}
	}
	s.within(a)
}

// within narrows to an area, unless there is a smaller one already, or it leaves next to nothing out.
func (s *search) within(a area) {
	if a.size+s.fleet.few < len(s.fleet.list) && (!s.narrowed || a.size < s.area.size) || a.size == 0 {
		s.narrowed, s.area = true, a
	}
}
