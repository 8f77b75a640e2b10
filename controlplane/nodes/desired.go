package nodes

import (
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/controlplane"
)

// maxSync bounds a part of a Sync, well below what a message may have: one assignment, with what it refers
// to, can add some MiB.
const maxSync = 16 << 20

// sendDesired sends everything that a node shall run now.
func (h *Hub) sendDesired(node string, send func(*nodev1.ToNode) error) error {
	h.mu.Lock()
	refs := h.pods.on(node)
	for _, ref := range h.slots.byNode[node] {
		refs = append(refs, ref)
	}
	h.mu.Unlock()
	part, size := &nodev1.Sync{}, 0
	for _, ref := range refs {
		a := h.present(ref).GetAssign()
		if a == nil {
			continue
		}
		if size >= maxSync {
			part.More = true
			if err := send(&nodev1.ToNode{Message: &nodev1.ToNode_Sync{Sync: part}}); err != nil {
				return err
			}
			part, size = &nodev1.Sync{}, 0
		}
		part.Pods = append(part.Pods, a)
		size += proto.Size(a)
	}
	return send(&nodev1.ToNode{Message: &nodev1.ToNode_Sync{Sync: part}})
}

func gone(uid string) *nodev1.ToNode {
	return &nodev1.ToNode{Message: &nodev1.ToNode_Remove{Remove: &nodev1.Remove{Uid: uid}}}
}

// present is what a node has to know of a pod or a slot now: an assignment, or that it is gone.
func (h *Hub) present(ref podRef) *nodev1.ToNode {
	if ref.key == (controlplane.Key{}) {
		return h.presentSlot(ref)
	}
	o, ok := h.cfg.Store.Get(ref.key)
	if !ok {
		return gone(ref.uid)
	}
	pod := o.(*corev1.Pod)
	if string(pod.UID) != ref.uid || pod.Spec.NodeName != ref.node {
		return gone(ref.uid)
	}
	a, err := h.assignment(pod)
	if err != nil {
		h.cfg.Log.Error("pod not encoded", "pod", ref.key.String(), "cause", err)
		return gone(ref.uid)
	}
	return &nodev1.ToNode{Message: &nodev1.ToNode_Assign{Assign: a}}
}

// assignment is a pod with what it refers to.
func (h *Hub) assignment(pod *corev1.Pod) (*nodev1.Assignment, error) {
	a := &nodev1.Assignment{}
	var err error
	if a.Pod, err = pod.Marshal(); err != nil {
		return nil, err
	}
	if wantsBoost(pod) {
		a.Boost = h.presentBoost(string(pod.UID))
	}
	for _, key := range references(pod) {
		o, ok := h.cfg.Store.Get(key)
		if !ok {
			continue // the nodelet says what is missing, as a kubelet does
		}
		switch o := o.(type) {
		case *corev1.ConfigMap:
			if b, err := o.Marshal(); err == nil {
				a.ConfigMaps = append(a.ConfigMaps, b)
			}
		case *corev1.Secret:
			if b, err := o.Marshal(); err == nil {
				a.Secrets = append(a.Secrets, b)
			}
		}
	}
	return a, nil
}

func podKey(namespace, name string) controlplane.Key {
	return controlplane.Key{Resource: "pods", Namespace: namespace, Name: name}
}
