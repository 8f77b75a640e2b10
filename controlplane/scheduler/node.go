package scheduler

import (
	"slices"

	"swell.dev/swell/controlplane"
)

// node is a host and what was promised on it.
type node struct {
	spec     controlplane.Node
	known    bool // false: pods are there, the host isn't announced (yet, or any more)
	listed   int  // its place in fleet.list, if known
	priority uint32
	used     controlplane.Demand // the sum of its pods' reserved
	pods     int
	held     []*reservation          // those pods
	ranks    []rankSum               // what they hold, by rank, the lowest first
	ports    []controlplane.HostPort // that its pods have; few do
	waiting  []*reservation          // boosts that do
	deferred []*reservation          // whose resizes wait, in the order in which they get room
	wished   controlplane.Demand     // what those that the node could hold want beyond what they have

	lends *loan // its reflex pool; nil: it has none
	lent  int64 // memory that can't be promised yet, see loan

	slots    []*reservation      // those of its pods that are slots
	slotRoom controlplane.Demand // that they hold
	heldAt   slot                // among the nodes with slots; valid if holds
	holds    bool

	claims      []*claim            // on room that is being made
	claimed     controlplane.Demand // what the claims keep of what is free already
	claimedPods int

	pool  *pool   // of its kind; nil if unknown
	trees []*tree // of its labels, besides the pool's

	indexed bool
	at      slot // in the trees; valid if indexed
}

// free is what may be promised to a pod that comes: resizes that wait are before it.
func (n *node) free() controlplane.Demand {
	return controlplane.Demand{
		CPUMilli:    n.spec.Capacity.CPUMilli - n.used.CPUMilli - n.claimed.CPUMilli - n.wished.CPUMilli,
		MemoryBytes: n.spec.Capacity.MemoryBytes - n.used.MemoryBytes - n.claimed.MemoryBytes - n.wished.MemoryBytes - n.lent,
	}
}

// unclaimed is what neither pods nor slots have, nor those for whom room is being made.
func (n *node) unclaimed() controlplane.Demand { return n.spec.Capacity.Sub(n.used).Sub(n.claimed) }

func (n *node) full() bool { return n.pods+n.claimedPods >= n.spec.MaxPods }

// open tells whether a pod may be placed there that nobody assigned to it by name.
func (n *node) open() bool { return n.known && n.spec.Ready && !n.spec.Cordoned && !n.full() }

func (n *node) matches(selector map[string]string) bool {
	for k, v := range selector {
		if got, ok := n.spec.Labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

func (n *node) hasPorts(wanted []controlplane.HostPort) bool {
	for _, p := range wanted {
		if slices.ContainsFunc(n.ports, p.Conflicts) {
			return false
		}
	}
	return true
}

// giveBack takes ports of a pod out, each once: pods that were restored may share some.
func (n *node) giveBack(ports []controlplane.HostPort) {
	for _, p := range ports {
		if i := slices.Index(n.ports, p); i >= 0 {
			n.ports = slices.Delete(n.ports, i, i+1)
		}
	}
}

// hold and letGo keep the list of the node's pods.
func (n *node) hold(r *reservation) {
	r.index = int32(len(n.held))
	n.held = append(n.held, r)
	n.pods++
}

func (n *node) letGo(r *reservation) {
	last := n.held[len(n.held)-1]
	n.held[r.index], last.index = last, r.index
	n.held[len(n.held)-1] = nil
	n.held = n.held[:len(n.held)-1]
	n.pods--
}
