package nodes

import (
	corev1 "k8s.io/api/core/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/api/v1alpha1"
)

// boostReport asks the ledger for what a pod wants beyond its size, and has its nodelet told. A nodelet that says
// nothing of it wants and holds nothing.
func (h *Hub) boostReport(s *session, r *nodev1.PodReport) {
	b := r.GetBoost()
	_, known := h.cfg.Scheduler.Boost(r.Uid, b.GetAsk(), b.GetWantCpuMilli(), b.GetHeldCpuMilli())
	if known && b.GetWantCpuMilli() > 0 {
		s.boost(r.Uid)
	}
}

// boostsHeld enters what the pods of a nodelet hold before the node is opened to others: the ledger may be newer
// than the boosts are.
func (h *Hub) boostsHeld(node string, pods []*nodev1.PodReport) {
	for _, r := range pods {
		if b := r.GetBoost(); b.GetHeldCpuMilli() > 0 && h.indexed(node, podKey(r.Namespace, r.Name), r.Uid) {
			h.cfg.Scheduler.Boost(r.Uid, b.Ask, b.WantCpuMilli, b.HeldCpuMilli)
		}
	}
}

// Boosted tells the pod's nodelet that there is room now for the boost that it asked for.
func (h *Hub) Boosted(uid, node string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.sessions[node]; s != nil {
		s.boost(uid)
	}
}

// boost says that the nodelet has to hear what the ledger has granted the pod.
func (s *session) boost(uid string) {
	s.push(func() {
		if s.boosts == nil {
			s.boosts = map[string]bool{}
		}
		s.boosts[uid] = true
	})
}

// presentBoost is what is granted now, nil if the ledger has decided nothing.
func (h *Hub) presentBoost(uid string) *nodev1.Boost {
	ask, granted, decided := h.cfg.Scheduler.BoostOf(uid)
	if !decided {
		return nil
	}
	return &nodev1.Boost{Uid: uid, Ask: ask, CpuMilli: granted}
}

// sendBoosts tells what is granted to pods, as it is by now.
func (h *Hub) sendBoosts(uids map[string]bool, send func(*nodev1.ToNode) error) error {
	for uid := range uids {
		if b := h.presentBoost(uid); b != nil {
			if err := send(&nodev1.ToNode{Message: &nodev1.ToNode_Boost{Boost: b}}); err != nil {
				return err
			}
		}
	}
	return nil
}

func wantsBoost(pod *corev1.Pod) bool {
	_, ok := pod.Annotations[v1alpha1.AnnotationStartupBoost]
	return ok
}
