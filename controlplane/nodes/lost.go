package nodes

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/controlplane"
)

// podsLost makes pods of nodes that were not heard of for too long count as not ready, as Kubernetes'
// node controller does: who sends them traffic leaves them out. They keep their phase; what they really
// do is told by their nodelet when it is back.
func (h *Hub) podsLost(ctx context.Context, now time.Time) {
	var due []podRef
	h.mu.Lock()
	for node, at := range h.lost {
		if now.Before(at) {
			continue
		}
		delete(h.lost, node)
		due = append(due, h.pods.on(node)...)
	}
	h.mu.Unlock()
	for _, ref := range due {
		var before controlplane.Object
		// A pod that is gone, and a store that has ended, have nothing to be told.
		o, err := h.cfg.Store.Observe(ref.key, func(current controlplane.Object) controlplane.Object {
			before = current
			pod := current.(*corev1.Pod)
			if string(pod.UID) != ref.uid || h.Connected(ref.node) {
				return current // the nodelet that is back says how the pod is
			}
			return notReady(pod, now)
		})
		if err == nil && o != before {
			h.events.record(ctx, o.(*corev1.Pod), byControlPlane, ref.node, []*nodev1.Event{{
				Type: corev1.EventTypeWarning, Reason: "NodeNotReady", Message: "Node is not ready", TimeUnixNano: now.UnixNano(),
			}})
		}
	}
}

// notReady answers the pod with its Ready condition false, or the same pod if that is so already.
func notReady(pod *corev1.Pod, now time.Time) *corev1.Pod {
	if terminal(&pod.Status) {
		return pod
	}
	for i, c := range pod.Status.Conditions {
		if c.Type != corev1.PodReady || c.Status == corev1.ConditionFalse {
			continue
		}
		out := pod.DeepCopy()
		ready := &out.Status.Conditions[i]
		ready.Status, ready.LastTransitionTime = corev1.ConditionFalse, metav1.NewTime(now)
		ready.Reason, ready.Message = "NodeNotReady", "the nodelet is not connected"
		return out
	}
	return pod
}
