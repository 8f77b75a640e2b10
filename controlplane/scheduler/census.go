package scheduler

// census counts pods by the domains of one topology: by the values that a label of their nodes has. Only
// domains with pods take memory.
type census struct {
	key    string
	filter *filter // whose nodes count; nil: all
	nodes  map[*node]int
	pods   map[string]int // by domain; none is zero
	levels []int          // how many domains have i pods, from 1 on
}

func newCensus(key string, only *filter) *census {
	return &census{key: key, filter: only, nodes: map[*node]int{}, pods: map[string]int{}}
}

// domain answers where the node is; false if it doesn't count.
func (s *census) domain(n *node) (string, bool) {
	if !n.known || s.filter != nil && !s.filter.in[n] {
		return "", false
	}
	v, ok := n.spec.Labels[s.key]
	return v, ok
}

// at is how many pods the node's domain has, false if it is in none.
func (s *census) at(n *node) (int, bool) {
	v, ok := n.spec.Labels[s.key]
	return s.pods[v], ok
}

func (s *census) add(n *node, by int) {
	if s.nodes[n] += by; s.nodes[n] == 0 {
		delete(s.nodes, n)
	}
	if v, ok := s.domain(n); ok {
		s.bump(v, by)
	}
}

func (s *census) bump(domain string, by int) {
	was := s.pods[domain]
	is := was + by
	if was > 0 {
		s.levels[was]--
	}
	if is == 0 {
		delete(s.pods, domain)
		return
	}
	s.pods[domain] = is
	for len(s.levels) <= is {
		s.levels = append(s.levels, 0)
	}
	s.levels[is]++
}

// withdraw takes a node's pods out of its domain, before the node changes; deposit puts them into the new one.
func (s *census) withdraw(n *node) { s.shift(n, -1) }
func (s *census) deposit(n *node)  { s.shift(n, 1) }

func (s *census) shift(n *node, sign int) {
	if pods := s.nodes[n]; pods > 0 {
		if v, ok := s.domain(n); ok {
			s.bump(v, sign*pods)
		}
	}
}

// domains is how many there are, with pods or without.
func (s *census) domains(f *fleet) int {
	if s.filter != nil {
		return len(s.filter.domains[s.key])
	}
	return len(f.values[s.key])
}

// least is how many pods the domain with the fewest has.
func (s *census) least(f *fleet) int {
	if len(s.pods) < s.domains(f) {
		return 0
	}
	for i, n := range s.levels {
		if n > 0 {
			return i
		}
	}
	return 0
}

// most is how many pods the domain with the most has.
func (s *census) most() int {
	for i := len(s.levels) - 1; i > 0; i-- {
		if s.levels[i] > 0 {
			return i
		}
	}
	return 0
}

// filter is the nodes that a rule looks at, kept as nodes change.
type filter struct {
	key     string
	uses    int
	matches func(*node) bool
	keys    []string // topologies whose domains are counted
	in      map[*node]bool
	domains map[string]map[string]int // nodes by topology and value
}

func (l *filter) deposit(n *node) {
	if !l.matches(n) {
		return
	}
	l.in[n] = true
	for _, k := range l.keys {
		if v, ok := n.spec.Labels[k]; ok {
			l.domains[k][v]++
		}
	}
}

func (l *filter) withdraw(n *node) {
	if !l.in[n] {
		return
	}
	delete(l.in, n)
	for _, k := range l.keys {
		if v, ok := n.spec.Labels[k]; ok {
			if l.domains[k][v]--; l.domains[k][v] == 0 {
				delete(l.domains[k], v)
			}
		}
	}
}
