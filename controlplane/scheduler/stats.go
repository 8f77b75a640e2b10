package scheduler

import "swell.dev/swell/controlplane"

// Stats is what the ledger has decided about resizes, and what it lends now.
type Stats struct {
	Admitted, Deferred, Infeasible uint64 // resizes; one that was deferred first counts twice
	Waiting                        int    // resizes that wait for room
	Pools                          int    // nodes that have one
	Want, Granted, Held            controlplane.Demand
}

func (s *Stats) count(v controlplane.ResizeVerdict) {
	switch v {
	case controlplane.ResizeAdmitted:
		s.Admitted++
	case controlplane.ResizeDeferred:
		s.Deferred++
	case controlplane.ResizeInfeasible:
		s.Infeasible++
	}
}

// sums are the counters with what holds now. It looks at all nodes.
func (c *core) sums() Stats {
	s := c.stats
	for _, n := range c.fleet.nodes {
		for _, r := range n.deferred {
			if !r.wish.Infeasible {
				s.Waiting++
			}
		}
	}
	for n := range c.fleet.lenders {
		l := n.lends
		s.Pools++
		s.Want, s.Granted, s.Held = s.Want.Add(l.Want), s.Granted.Add(l.granted.Room), s.Held.Add(l.Held)
	}
	return s
}
