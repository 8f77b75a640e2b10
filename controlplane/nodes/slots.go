package nodes

import (
	corev1 "k8s.io/api/core/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/controlplane"
)

// heldSlot is a slot on a node: the template under the UID that a pod gets later.
type heldSlot struct {
	podRef // without a key: no such pod is stored
	pod    *corev1.Pod
	depth  controlplane.SlotDepth
	refs   []controlplane.Key
}

// slotIndex is what every node shall make ready. A slot leaves it when its pod is stored, when it is dropped,
// and with its node's session: a nodelet that comes back doesn't find it in its Sync, and drops it as well.
type slotIndex struct {
	uids   map[string]*heldSlot
	byNode map[string]map[string]podRef
	byRef  map[controlplane.Key]map[string]podRef
}

func newSlotIndex() slotIndex {
	return slotIndex{uids: map[string]*heldSlot{}, byNode: map[string]map[string]podRef{}, byRef: map[controlplane.Key]map[string]podRef{}}
}

func (x *slotIndex) put(s *heldSlot) {
	x.remove(s.uid)
	x.uids[s.uid] = s
	insert(x.byNode, s.node, s.podRef)
	for _, k := range s.refs {
		insert(x.byRef, k, s.podRef)
	}
}

func (x *slotIndex) remove(uid string) *heldSlot {
	s := x.uids[uid]
	if s == nil {
		return nil
	}
	delete(x.uids, uid)
	erase(x.byNode, s.node, uid)
	for _, k := range s.refs {
		erase(x.byRef, k, uid)
	}
	return s
}

// removeOn forgets the slots of a node.
func (x *slotIndex) removeOn(node string) {
	for uid := range x.byNode[node] {
		x.remove(uid)
	}
}

// PushSlot has a node make a slot ready: the template, under the slot's UID and with the node's name. It does
// nothing where the node has no session, and where a pod has taken the slot by now.
func (h *Hub) PushSlot(template *corev1.Pod, depth controlplane.SlotDepth) {
	s := &heldSlot{podRef: podRef{uid: string(template.UID), node: template.Spec.NodeName}, pod: template, depth: depth, refs: references(template)}
	h.mu.Lock()
	defer h.mu.Unlock()
	session := h.sessions[s.node]
	if _, taken := h.pods.uids[s.uid]; taken || session == nil {
		return
	}
	h.slots.put(s)
	session.mark(s.uid, s.key)
}

// DropSlot has the slot's node forget it. If a pod has taken it by now, nothing is done.
func (h *Hub) DropSlot(uid string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.slots.remove(uid); s != nil {
		if session := h.sessions[s.node]; session != nil {
			session.mark(uid, s.key)
		}
	}
}

// presentSlot is what a node has to know of a slot now, or of the pod that has taken it.
func (h *Hub) presentSlot(ref podRef) *nodev1.ToNode {
	h.mu.Lock()
	s := h.slots.uids[ref.uid]
	pod, taken := h.pods.find(ref.uid)
	h.mu.Unlock()
	if taken {
		return h.present(pod)
	}
	if s == nil || s.node != ref.node {
		return gone(ref.uid)
	}
	a, err := h.assignment(s.pod)
	if err != nil {
		h.cfg.Log.Error("slot not encoded", "slot", ref.uid, "cause", err)
		return gone(ref.uid)
	}
	a.Slot = nodev1.SlotDepth(s.depth)
	return &nodev1.ToNode{Message: &nodev1.ToNode_Assign{Assign: a}}
}

// slotReports passes on how far a node's slots have come. What it holds without being asked to, it is told to
// forget; of a slot that has become a pod there is nothing to be told.
func (h *Hub) slotReports(s *session, in []*nodev1.SlotReport) {
	for _, r := range in {
		depth := controlplane.SlotDepth(min(r.Depth, nodev1.SlotDepth_SLOT_DEPTH_CONTAINER))
		h.mu.Lock()
		held := h.slots.uids[r.Uid]
		_, taken := h.pods.uids[r.Uid]
		if held != nil && held.node == s.node && depth == controlplane.SlotNone {
			h.slots.remove(r.Uid)
		}
		h.mu.Unlock()
		switch {
		case held != nil && held.node == s.node:
			if h.cfg.SlotReported != nil {
				h.cfg.SlotReported(r.Uid, depth, r.Message)
			}
		case !taken && depth != controlplane.SlotNone:
			s.mark(r.Uid, controlplane.Key{}) // answered with Remove
		}
	}
}
