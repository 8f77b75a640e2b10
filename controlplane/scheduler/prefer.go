package scheduler

// preferred answers an allowed node that the pod likes. It doesn't score the fleet: of every wish it takes
// the tightest node that meets it, of all wishes together likewise, and the tightest node at all, and keeps
// the one with the highest score. So what is preferred is met where it can be, at the cost of a search for
// each wish, or for each zone that even spread is wished for over; of wishes that exclude one another, all but
// the best may be lost.
func (s *search) preferred() *node {
	p := s.plan
	best := s.tightest()
	if best == nil {
		return nil // nothing is even allowed
	}
	score := s.score(best)
	consider := func() {
		n := s.tightest()
		s.also = nil
		if n == nil || n == best {
			return
		}
		if v := s.score(n); v > score || v == score && n.at.before(best.at) {
			best, score = n, v
		}
	}
	allowed, narrowed := s.area, s.narrowed
	in := func(a area, ok bool) {
		s.area, s.narrowed = allowed, narrowed
		if ok {
			s.within(a)
		}
	}
	s.also = func(n *node) bool { return s.pleases(n) }
	consider()
	for i := range p.likesNodes {
		term := p.likesNodes[i].term
		a, ok := s.fleet.areaOf(term)
		in(a, ok)
		s.also = func(n *node) bool { return anyTerm(term, &n.spec) }
		consider()
	}
	for i := range p.likesPods {
		like := &p.likesPods[i]
		in(area{}, false)
		if like.weight > 0 {
			if len(like.census.pods) == 0 {
				continue
			}
			s.domains(like.census, func(pods int) bool { return pods > 0 })
		}
		s.also = func(n *node) bool { pods, _ := like.census.at(n); return pods > 0 == (like.weight > 0) }
		consider()
	}
	for i := range p.spreads {
		sp := &p.spreads[i]
		if sp.hard {
			continue
		}
		if values := s.fleet.values[sp.census.key]; len(values) <= maxLabels {
			for v := range values { // whichever comes first: the score decides, and then the room
				l := label{sp.census.key, v}
				in(area{labels: []label{l}, size: len(s.fleet.having[l])}, true)
				s.also = func(n *node) bool { return n.spec.Labels[l.key] == l.value }
				consider()
			}
			continue
		}
		in(area{}, false)
		least := s.least[i]
		s.also = func(n *node) bool { pods, ok := sp.census.at(n); return ok && pods <= least }
		consider()
	}
	return best
}

// pleases tells whether a node meets all wishes.
func (s *search) pleases(n *node) bool {
	p := s.plan
	for i := range p.likesNodes {
		if !anyTerm(p.likesNodes[i].term, &n.spec) {
			return false
		}
	}
	for i := range p.likesPods {
		if pods, _ := p.likesPods[i].census.at(n); pods > 0 != (p.likesPods[i].weight > 0) {
			return false
		}
	}
	for i := range p.spreads {
		if sp := &p.spreads[i]; !sp.hard {
			if pods, ok := sp.census.at(n); !ok || pods > s.least[i] {
				return false
			}
		}
	}
	return true
}

// spreadWeight is what even spread counts for against preferences, whose weights go to 100.
const spreadWeight = 100

// score is how much the pod likes the node.
func (s *search) score(n *node) int {
	p, out := s.plan, 0
	for i := range p.likesNodes {
		if anyTerm(p.likesNodes[i].term, &n.spec) {
			out += p.likesNodes[i].weight
		}
	}
	for i := range p.likesPods {
		if pods, _ := p.likesPods[i].census.at(n); pods > 0 {
			out += p.likesPods[i].weight
		}
	}
	for i := range p.spreads {
		sp := &p.spreads[i]
		if sp.hard {
			continue
		}
		pods, ok := sp.census.at(n)
		if !ok {
			out -= 2 * spreadWeight // worse than the fullest domain
		} else if most := sp.census.most(); most > s.least[i] {
			out -= spreadWeight * (pods - s.least[i]) / (most - s.least[i])
		}
	}
	return out
}
