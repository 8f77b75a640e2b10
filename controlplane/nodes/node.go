package nodes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/controlplane"
)

func nodeKey(name string) controlplane.Key { return controlplane.Key{Resource: "nodes", Name: name} }

// nodeConnected records what a nodelet says of its host. Labels that an operator set stay; those that
// the nodelet sets are its own.
func (h *Hub) nodeConnected(ctx context.Context, described *corev1.Node) error {
	key := nodeKey(described.Name)
	o, err := h.cfg.Store.Commit(ctx, controlplane.Mutation{Key: key, Change: func(current controlplane.Object) (controlplane.Object, error) {
		if current == nil {
			n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
				Name: described.Name, UID: types.UID(uuid.NewString()), CreationTimestamp: metav1.Now().Rfc3339Copy(), Labels: described.Labels,
			}}
			n.Status = described.Status
			return n, nil
		}
		old := current.(*corev1.Node)
		labels := maps.Clone(old.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		maps.Copy(labels, described.Labels)
		if maps.Equal(labels, old.Labels) {
			return old, nil
		}
		n := old.DeepCopy()
		n.Labels = labels
		return n, nil
	}})
	if err != nil {
		return fmt.Errorf("node %s: %w", described.Name, err)
	}
	o, err = h.cfg.Store.Observe(key, func(current controlplane.Object) controlplane.Object {
		n := current.(*corev1.Node).DeepCopy()
		n.Status = described.Status
		setReady(&n.Status, corev1.ConditionTrue, "NodeletReady", "the nodelet is connected")
		showPool(n, "")
		return n
	})
	if err != nil {
		return fmt.Errorf("node %s: %w", described.Name, err)
	}
	h.cfg.Scheduler.SetNode(SchedulerNode(o.(*corev1.Node)))
	return nil
}

// nodeLost marks a node whose session ended, so that nothing more is placed on it. Its pods stay as they
// were last seen: they run without us, and the nodelet may be back in a moment. See podsLost.
func (h *Hub) nodeLost(name string) {
	o, err := h.cfg.Store.Observe(nodeKey(name), func(current controlplane.Object) controlplane.Object {
		n := current.(*corev1.Node).DeepCopy()
		setReady(&n.Status, corev1.ConditionUnknown, "NodeStatusUnknown", "the nodelet is not connected")
		return n
	})
	if errors.Is(err, controlplane.ErrNotFound) {
		h.cfg.Scheduler.RemoveNode(name) // the node was deleted
		return
	}
	if err != nil {
		h.cfg.Log.Error("node not marked as lost", "node", name, "cause", err)
		return
	}
	h.cfg.Scheduler.SetNode(SchedulerNode(o.(*corev1.Node)))
}

// nodeHeard takes over the conditions that the host reports, and what is known of its pool, when they change.
func (h *Hub) nodeHeard(name string, conditions []*nodev1.NodeCondition, pool string, now time.Time) {
	if len(conditions) == 0 && pool == "" {
		return
	}
	// A node that was deleted meanwhile has nothing to be told.
	_, _ = h.cfg.Store.Observe(nodeKey(name), func(current controlplane.Object) controlplane.Object {
		old := current.(*corev1.Node)
		n := old.DeepCopy()
		for _, c := range conditions {
			setCondition(&n.Status, corev1.NodeCondition{
				Type: corev1.NodeConditionType(c.Type), Status: corev1.ConditionStatus(c.Status), Reason: c.Reason, Message: c.Message,
			}, now)
		}
		if !showPool(n, pool) && equality.Semantic.DeepEqual(old.Status, n.Status) {
			return old
		}
		return n
	})
}

func setReady(st *corev1.NodeStatus, ready corev1.ConditionStatus, reason, message string) {
	setCondition(st, corev1.NodeCondition{Type: corev1.NodeReady, Status: ready, Reason: reason, Message: message}, time.Now())
}

func setCondition(st *corev1.NodeStatus, c corev1.NodeCondition, now time.Time) {
	c.LastHeartbeatTime, c.LastTransitionTime = metav1.NewTime(now), metav1.NewTime(now)
	for i := range st.Conditions {
		if old := &st.Conditions[i]; old.Type == c.Type {
			if old.Status == c.Status && old.Reason == c.Reason && old.Message == c.Message {
				return
			}
			if old.Status == c.Status {
				c.LastTransitionTime = old.LastTransitionTime
			}
			*old = c
			return
		}
	}
	st.Conditions = append(st.Conditions, c)
}

// SchedulerNode is the node as the scheduler sees it.
func SchedulerNode(n *corev1.Node) controlplane.Node {
	out := controlplane.Node{
		Name:   n.Name,
		Labels: n.Labels,
		Capacity: controlplane.Demand{
			CPUMilli:    n.Status.Allocatable.Cpu().MilliValue(),
			MemoryBytes: n.Status.Allocatable.Memory().Value(),
		},
		MaxPods:  int(n.Status.Allocatable.Pods().Value()),
		Cordoned: n.Spec.Unschedulable,
		Taints:   n.Spec.Taints,
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			out.Ready = c.Status == corev1.ConditionTrue
		}
	}
	return out
}
