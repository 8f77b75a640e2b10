package apiserver

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// podKey is a pod's place in the store.
type podKey = controlplane.Key

func keyOf(pod *corev1.Pod) podKey {
	return controlplane.Key{Resource: "pods", Namespace: pod.Namespace, Name: pod.Name}
}

// createPod places a pod and then commits it with its node: one durable write. A pod that no node has room
// for is committed without one and waits.
func (s *Server) createPod(ctx context.Context, o controlplane.Object) (controlplane.Object, error) {
	return s.createPodOf(ctx, o, 0)
}

// createPodOf is createPod where the spec's template is known, or 0.
func (s *Server) createPodOf(ctx context.Context, o controlplane.Object, template controlplane.PodSpecTemplate) (controlplane.Object, error) {
	own := *o.(*corev1.Pod) // a generated name may make this run again; the rest of the spec isn't changed
	pod := &own
	req, err := controlplane.PodPlacement(pod)
	if err != nil {
		return nil, err
	}
	if s.cfg.Slots != nil && req.NodeName == "" {
		if _, sized := pod.Annotations[v1alpha1.AnnotationAutosized]; sized || template == 0 {
			template = controlplane.SpecTemplate(&pod.Spec)
		}
		req.Template = template.Of(pod)
	}
	at, err := s.place(ctx, pod, &req)
	if err != nil {
		return nil, err
	}
	s.priced(pod)
	// A client that leaves doesn't undo a commit under way: what became durable must keep its room.
	out, err := s.insert(context.WithoutCancel(ctx), req.Key, pod)
	if err != nil {
		if at.Node != "" {
			s.cfg.Scheduler.Release(req.UID)
		}
		if at.Slot != "" {
			s.cfg.Slots.Spoilt(at.Slot)
		}
		return nil, err
	}
	if at.Node == "" {
		s.cfg.Scheduler.Pend(req)
	}
	if req.Template != 0 {
		s.cfg.Slots.Created(out.(*corev1.Pod), req.Workload(), at)
	}
	return out, nil
}

// place reserves room and writes the outcome into the pod. One that takes a slot gets its UID from it, here and
// in the request. The zero Placement: there is no room now.
func (s *Server) place(ctx context.Context, pod *corev1.Pod, req *controlplane.PlaceRequest) (controlplane.Placement, error) {
	at, err := s.cfg.Scheduler.Place(ctx, *req)
	switch {
	case err == nil:
		if at.Slot != "" {
			pod.UID, req.UID = types.UID(at.Slot), at.Slot
		}
		scheduled(pod, at.Node)
		return at, nil
	case errors.Is(err, controlplane.ErrNoCapacity):
		pod.Spec.NodeName = ""
		setPodCondition(&pod.Status, corev1.PodCondition{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: err.Error(),
			ObservedGeneration: pod.Generation,
		})
		return at, nil
	}
	return at, err
}

func scheduled(pod *corev1.Pod, node string) {
	pod.Spec.NodeName, pod.Status.NominatedNodeName = node, ""
	setPodCondition(&pod.Status, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, ObservedGeneration: pod.Generation})
}

// Bind assigns a pod that was pending to the node where the scheduler has reserved room for it. A pod that is
// gone meanwhile gives the room back.
func (s *Server) Bind(ctx context.Context, key controlplane.Key, uid, node string) error {
	return s.bind(ctx, key, uid, node, nil)
}

// Bound is Bind with the request that was satisfied: if the pod has asked for another size since, the
// reservation is stale and nothing is done.
func (s *Server) Bound(ctx context.Context, req controlplane.PlaceRequest, node string) error {
	size := req.Size()
	err := s.bind(ctx, req.Key, req.UID, node, &size)
	if err != nil {
		s.cfg.Scheduler.Pend(req) // its room is given back: it waits again
	}
	return err
}

// errUnbindable abandons a bind of a pod that is gone.
var errUnbindable = errors.New("the pod no longer waits")

func (s *Server) bind(ctx context.Context, key controlplane.Key, uid, node string, size *controlplane.Demand) error {
	defer s.uids.lock(uid)()
	_, err := s.modify(context.WithoutCancel(ctx), key, false, func(current controlplane.Object) (controlplane.Object, error) {
		pod := current.(*corev1.Pod)
		if string(pod.UID) != uid || pod.DeletionTimestamp != nil {
			return nil, errUnbindable
		}
		if pod.Spec.NodeName != "" {
			return current, nil // bound already, by a request that was newer
		}
		d, err := controlplane.PodDemand(pod)
		if err != nil {
			return nil, err
		}
		if size != nil && *size != d {
			return current, nil
		}
		next := pod.DeepCopy()
		scheduled(next, node)
		s.priced(next) // the node's region may have prices of its own
		return next, nil
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errUnbindable), errors.Is(err, controlplane.ErrNotFound):
		s.cfg.Scheduler.Release(uid)
		return nil
	}
	s.cfg.Scheduler.Release(uid)
	return fmt.Errorf("%s: binding to node %q: %w", key, node, err)
}

// setPodCondition replaces the condition of its type. The transition time moves with the status only.
func setPodCondition(st *corev1.PodStatus, c corev1.PodCondition) {
	c.LastTransitionTime = metav1.Now().Rfc3339Copy()
	for i := range st.Conditions {
		if old := &st.Conditions[i]; old.Type == c.Type {
			if old.Status == c.Status {
				c.LastTransitionTime = old.LastTransitionTime
			}
			*old = c
			return
		}
	}
	st.Conditions = append(st.Conditions, c)
}

func removePodCondition(st *corev1.PodStatus, t corev1.PodConditionType) {
	kept := make([]corev1.PodCondition, 0, len(st.Conditions))
	for _, c := range st.Conditions {
		if c.Type != t {
			kept = append(kept, c)
		}
	}
	st.Conditions = kept
}
