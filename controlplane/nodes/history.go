package nodes

import (
	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/controlplane"
)

// told is the last history of usage that was counted of a node.
type told struct{ instance, sequence uint64 }

// history counts what a node's containers have used, and acknowledges it. What was counted, and is sent again
// because its acknowledgement was lost, is acknowledged once more and not counted. So is what is sent again by a
// nodelet that this control plane hasn't heard of: the one before may have counted it.
func (h *Hub) history(s *session, m *nodev1.UsageHistory) {
	h.mu.Lock()
	last := h.counted[s.node]
	known := last.instance == m.Instance
	count := known && m.Sequence > last.sequence || !known && !m.Again
	if !known || m.Sequence > last.sequence {
		h.counted[s.node] = told{m.Instance, m.Sequence}
	}
	var owners []controlplane.Owner // of the pods; zero: not one of this node's
	if count && h.cfg.UsageTold != nil {
		owners = make([]controlplane.Owner, len(m.Pods))
		for i, p := range m.Pods {
			// A pod that isn't known any more has been removed by force, or ran elsewhere.
			if pod := h.pods.uids[p.Uid]; pod != nil && pod.node.node == s.node {
				owners[i] = pod.ownedBy()
			}
		}
	}
	h.mu.Unlock()
	for i, owner := range owners {
		if owner.Kind != "" {
			for _, c := range m.Pods[i].Containers {
				h.cfg.UsageTold(owner, c)
			}
		}
	}
	s.push(func() { s.heardHistory = max(s.heardHistory, m.Sequence) })
}
