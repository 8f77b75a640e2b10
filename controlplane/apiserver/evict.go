package apiserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"

	"swell.dev/swell/controlplane"
)

// Evict ends a pod that has to give way: with notice, which is its condition DisruptionTarget and an event,
// and with its grace period. A pod that is gone or ends already is left alone.
func (s *Server) Evict(ctx context.Context, e controlplane.Eviction) error {
	pod, err := s.disrupt(ctx, e.Key, e.UID, nil, string(e.Reason), e.Message, false)
	if errors.Is(err, controlplane.ErrNotFound) || pod == nil {
		return nil
	}
	if err != nil {
		return err
	}
	reason, message := "Preempted", fmt.Sprintf("Preempted by pod %s/%s on node %s", e.For.Namespace, e.For.Name, e.Node)
	switch e.Reason {
	case controlplane.Reclaimed:
		reason, message = "Reclaimed", fmt.Sprintf("Best-effort capacity reclaimed by pod %s/%s on node %s", e.For.Namespace, e.For.Name, e.Node)
	case controlplane.Overspent:
		reason, message = "BudgetSpent", "Ended: "+e.Message
	case controlplane.Expelled:
		reason, message = "TaintManagerEviction", fmt.Sprintf("Marking for deletion Pod %s/%s", pod.Namespace, pod.Name)
	}
	s.record(ctx, pod, corev1.EventTypeWarning, reason, message)
	return nil
}

// disrupt marks a pod for deletion and says on it why. It answers nil where there was nothing to do.
func (s *Server) disrupt(ctx context.Context, key controlplane.Key, uid string, asked *int64, reason, message string, dryRun bool) (*corev1.Pod, error) {
	done := false
	o, err := s.modify(ctx, key, dryRun, func(current controlplane.Object) (controlplane.Object, error) {
		pod := current.(*corev1.Pod)
		if done = (uid == "" || string(pod.UID) == uid) && pod.DeletionTimestamp == nil; !done {
			return current, nil
		}
		grace := asked
		if grace == nil && pod.Spec.NodeName != "" && !terminal(pod) {
			// Its room is somebody's as soon as it is gone: it is gone when its node says so.
			own := int64(corev1.DefaultTerminationGracePeriodSeconds)
			if p := pod.Spec.TerminationGracePeriodSeconds; p != nil {
				own = max(*p, 1)
			}
			grace = &own
		}
		next, err := deletedPod(pod, grace)
		if err != nil || next == nil || next == pod {
			return controlplaneObject(next), err
		}
		setPodCondition(&next.Status, corev1.PodCondition{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: reason, Message: message, ObservedGeneration: next.Generation,
		})
		return next, nil
	})
	if err != nil || !done {
		return nil, err
	}
	pod := o.(*corev1.Pod)
	if pod.DeletionTimestamp == nil && !dryRun {
		s.forget(string(pod.UID)) // it is gone at once
	}
	return pod, nil
}

// controlplaneObject keeps a nil pod a nil object, which is a deletion.
func controlplaneObject(pod *corev1.Pod) controlplane.Object {
	if pod == nil {
		return nil
	}
	return pod
}

// serveEviction is POST pods/NAME/eviction, by which kubectl drain empties a node. There are no disruption
// budgets that could refuse it.
func (s *Server) serveEviction(q *request) error {
	e := &policyv1.Eviction{}
	if err := s.decodeBody(q, e, policyv1.SchemeGroupVersion.WithKind("Eviction"), ""); err != nil {
		return err
	}
	if e.Name != "" && e.Name != q.name || e.Namespace != "" && e.Namespace != q.namespace {
		return apierrors.NewBadRequest(fmt.Sprintf("name in URL does not match name in Eviction object: %s/%s", e.Namespace, e.Name))
	}
	o, ok := s.cfg.Store.Get(q.key())
	if !ok {
		return apierrors.NewNotFound(q.groupResource(), q.name)
	}
	uid := string(o.GetUID())
	var grace *int64
	dryRun := q.r.URL.Query().Get("dryRun") == metav1.DryRunAll
	if d := e.DeleteOptions; d != nil {
		grace = d.GracePeriodSeconds
		dryRun = dryRun || len(d.DryRun) > 0
		if p := d.Preconditions; p != nil {
			if err := (deletion{uid: p.UID, version: p.ResourceVersion}).check(q.res, o); err != nil {
				return err
			}
		}
	}
	if _, err := s.disrupt(q.r.Context(), q.key(), uid, grace, "EvictionByEvictionAPI", "Eviction API: evicting", dryRun); err != nil {
		return err
	}
	s.write(q.w, q.r, http.StatusCreated, q.as, &metav1.Status{Status: metav1.StatusSuccess}, statusKind)
	return nil
}

// Nominated shows on a pod that waits where room is being made for it; no node: nowhere any more.
func (s *Server) Nominated(req controlplane.PlaceRequest, node string) {
	// A pod that is gone meanwhile has nothing to be shown.
	_, _ = s.cfg.Store.Observe(req.Key, func(current controlplane.Object) controlplane.Object {
		pod := current.(*corev1.Pod)
		if string(pod.UID) != req.UID || pod.Spec.NodeName != "" || pod.Status.NominatedNodeName == node {
			return current
		}
		next := *pod // shallow: nothing but this differs, and stored objects are never changed
		next.Status.NominatedNodeName = node
		return &next
	})
}

// Waits shows on a pod, by its condition and an event, why it waits.
func (s *Server) Waits(ctx context.Context, req controlplane.PlaceRequest, why string) {
	waits := false
	o, err := s.cfg.Store.Observe(req.Key, func(current controlplane.Object) controlplane.Object {
		pod := current.(*corev1.Pod)
		if waits = string(pod.UID) == req.UID && unassigned(pod); !waits {
			return current
		}
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Message == why {
				return current
			}
		}
		next := pod.DeepCopy()
		setPodCondition(&next.Status, corev1.PodCondition{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: why, ObservedGeneration: pod.Generation,
		})
		return next
	})
	if err == nil && waits {
		s.record(ctx, o.(*corev1.Pod), corev1.EventTypeWarning, "FailedScheduling", why)
	}
}

// unassigned tells a pod that has no room yet, though it may ask for a node by name.
func unassigned(pod *corev1.Pod) bool {
	if pod.Spec.NodeName == "" {
		return true
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled {
			return c.Status == corev1.ConditionFalse
		}
	}
	return false
}

// record keeps an event about a pod. One that repeats is counted up: its name follows from what it says.
func (s *Server) record(ctx context.Context, pod *corev1.Pod, kind, reason, message string) {
	s.recordBy(ctx, "scheduler", pod, kind, reason, message)
}

func (s *Server) recordBy(ctx context.Context, component string, pod *corev1.Pod, kind, reason, message string) {
	s.recordAbout(ctx, component, corev1.ObjectReference{
		Kind: "Pod", APIVersion: "v1", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
	}, kind, reason, message)
}

// recordAbout keeps an event about any object. Those about cluster-scoped ones are in the default namespace.
func (s *Server) recordAbout(ctx context.Context, component string, about corev1.ObjectReference, kind, reason, message string) {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s", about.UID, kind, reason, message)
	key := controlplane.Key{Resource: "events", Namespace: cmp.Or(about.Namespace, metav1.NamespaceDefault), Name: fmt.Sprintf("%s.%016x", about.Name, h.Sum64())}
	now := metav1.Now()
	// Events are kept in memory only and bounded there; one that finds no room is dropped.
	_, _ = s.cfg.Store.Commit(ctx, controlplane.Mutation{Key: key, Change: func(current controlplane.Object) (controlplane.Object, error) {
		if current != nil {
			next := current.(*corev1.Event).DeepCopy()
			next.Count++
			next.LastTimestamp = now
			return next, nil
		}
		return &corev1.Event{
			ObjectMeta:     metav1.ObjectMeta{Name: key.Name, Namespace: key.Namespace, UID: types.UID(uuid.NewUUID()), CreationTimestamp: now},
			InvolvedObject: about,
			Type:           kind, Reason: reason, Message: message, Count: 1, FirstTimestamp: now, LastTimestamp: now,
			Source:              corev1.EventSource{Component: component},
			ReportingController: "swell.dev/" + component, ReportingInstance: "controlplane",
		}, nil
	}})
}
