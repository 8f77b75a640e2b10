package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// resizeAttempts bounds how often a resize is decided anew because the pod's state moved on meanwhile.
const resizeAttempts = 16

func (s *Server) serveResize(q *request) error {
	finish := func(next, old controlplane.Object, manager string) (controlplane.Object, error) {
		return s.resized(q, next.(*corev1.Pod), old.(*corev1.Pod), manager)
	}
	switch q.r.Method {
	case http.MethodPut:
		return s.updateWith(q, s.modifySize, finish)
	case http.MethodPatch:
		return s.patchWith(q, s.modifySize, finish)
	}
	return s.get(q)
}

// resized takes the resources from what was sent, and nothing else.
func (s *Server) resized(q *request, sent, old *corev1.Pod, manager string) (controlplane.Object, error) {
	if err := sameObject(q, sent, old); err != nil {
		return nil, err
	}
	next := old.DeepCopy()
	errs := takeResources(next, sent)
	if terminal(old) {
		errs = append(errs, field.Forbidden(field.NewPath("status", "phase"), "a finished pod can't be resized"))
	}
	if len(errs) == 0 {
		s.cfg.Admission.DefaultResize(next, old)
		if equality.Semantic.DeepEqual(next.Spec, old.Spec) {
			return old, nil
		}
		errs = s.cfg.Admission.ValidateResize(next, old)
	}
	if len(errs) == 0 && v1alpha1.PodQOS(&next.Spec) != v1alpha1.PodQOS(&old.Spec) {
		errs = append(errs, field.Invalid(field.NewPath("spec"), v1alpha1.PodQOS(&next.Spec), "Pod QOS Class may not change as a result of resizing"))
	}
	if len(errs) > 0 {
		return nil, apierrors.NewInvalid(q.res.gvk.GroupKind(), old.Name, distinct(errs))
	}
	if old.DeletionTimestamp == nil {
		if err := s.outsideLimits(next); err != nil {
			return nil, err
		}
	}
	next.Generation++
	if manager == "" { // an apply brings its own
		next.ManagedFields = sent.ManagedFields
		return next, nil
	}
	return next, s.trackUpdate(q, next, old, manager)
}

func takeResources(next, sent *corev1.Pod) field.ErrorList {
	if sent.Spec.Resources != nil { // a client that doesn't know of it takes nothing away
		next.Spec.Resources = sent.Spec.Resources.DeepCopy()
	}
	for _, list := range []struct {
		path     *field.Path
		from, to []corev1.Container
	}{
		{field.NewPath("spec", "containers"), sent.Spec.Containers, next.Spec.Containers},
		{field.NewPath("spec", "initContainers"), sent.Spec.InitContainers, next.Spec.InitContainers},
	} {
		if len(list.from) != len(list.to) {
			return field.ErrorList{field.Forbidden(list.path, "containers may not be added or removed on resize")}
		}
		for i := range list.to {
			from, to := &list.from[i], &list.to[i]
			if from.Name != to.Name {
				return field.ErrorList{field.Forbidden(list.path.Index(i).Child("name"), "containers may not be renamed or reordered on resize")}
			}
			if !samePolicies(from.ResizePolicy, to.ResizePolicy) {
				return field.ErrorList{field.Forbidden(list.path.Index(i).Child("resizePolicy"), "only cpu and memory resources are mutable")}
			}
			to.Resources.Requests, to.Resources.Limits = from.Resources.Requests.DeepCopy(), from.Resources.Limits.DeepCopy()
		}
	}
	return nil
}

// samePolicies reports that two resize policies say the same. What isn't said needs no restart.
func samePolicies(a, b []corev1.ContainerResizePolicy) bool {
	of := func(list []corev1.ContainerResizePolicy, name corev1.ResourceName) corev1.ResourceResizeRestartPolicy {
		for _, p := range list {
			if p.ResourceName == name {
				return p.RestartPolicy
			}
		}
		return corev1.NotRequired
	}
	for _, p := range slices.Concat(a, b) {
		if of(a, p.ResourceName) != of(b, p.ResourceName) {
			return false
		}
	}
	return true
}

// modifySize is a committer: the ledger decides before each commit, and takes its decision back if the
// commit fails.
func (s *Server) modifySize(ctx context.Context, key controlplane.Key, dryRun bool, change func(controlplane.Object) (controlplane.Object, error)) (controlplane.Object, error) {
	first, ok := s.cfg.Store.Get(key)
	if !ok {
		return nil, fmt.Errorf("%s: %w", key, controlplane.ErrNotFound)
	}
	uid := string(first.GetUID())
	defer s.uids.lock(uid)()
	for range resizeAttempts {
		base, ok := s.cfg.Store.Get(key)
		if !ok || string(base.GetUID()) != uid {
			return nil, fmt.Errorf("%s: %w", key, controlplane.ErrNotFound)
		}
		out, err := change(base)
		if err != nil || out == base {
			return out, err
		}
		next, old := out.(*corev1.Pod), base.(*corev1.Pod)
		if err := s.affordable(next, old); err != nil {
			return nil, err
		}
		count, err := s.charge(s.resources.find("", "v1", "pods"), key, next)
		if err != nil {
			return nil, err
		}
		if dryRun {
			count(nil)
			return s.quoted(next), nil
		}
		settle, err := s.decideSize(ctx, next, old)
		if err != nil {
			count(nil)
			return nil, err
		}
		s.priced(next)
		stored, err := s.cfg.Store.Commit(context.WithoutCancel(ctx), controlplane.Mutation{Key: key, Change: func(current controlplane.Object) (controlplane.Object, error) {
			if current == nil {
				return nil, fmt.Errorf("%s: %w", key, controlplane.ErrNotFound)
			}
			if current.GetUID() != base.GetUID() || current.GetResourceVersion() != base.GetResourceVersion() {
				return nil, errMoved
			}
			return next, nil
		}})
		settle(err == nil)
		if err != nil {
			stored = nil
		}
		count(stored)
		if !errors.Is(err, errMoved) {
			return stored, err
		}
	}
	return nil, fmt.Errorf("%s: %w", key, controlplane.ErrConflict)
}

// decideSize asks the ledger and writes its verdict into next. Settle is told whether next was committed.
func (s *Server) decideSize(ctx context.Context, next, old *corev1.Pod) (settle func(committed bool), err error) {
	if old.Spec.NodeName == "" {
		return s.placeAgain(ctx, next, old)
	}
	held, err := v1alpha1.Allocated(old)
	if err != nil {
		return nil, err
	}
	wish := controlplane.PodResize(next)
	if wish.Since.IsZero() || wish.Infeasible {
		wish.Since = metav1.Now().Rfc3339Copy().Time
	}
	uid := string(old.UID)
	undo := func() { s.cfg.Scheduler.Revert(uid) } // nothing of it has reached the node
	answer, err := s.cfg.Scheduler.Resize(ctx, uid, wish)
	if err != nil {
		return nil, err
	}
	if answer.Verdict == controlplane.ResizeInfeasible && !s.anyNodeHolds(wish.Demand) {
		undo()
		return nil, fmt.Errorf("%d milli-CPU and %d bytes of memory: %w", wish.Demand.CPUMilli, wish.Demand.MemoryBytes, controlplane.ErrInfeasible)
	}
	if answer.Verdict == controlplane.ResizeAdmitted {
		admitted(next)
		return func(committed bool) {
			if !committed {
				undo()
			}
		}, nil
	}
	if err := pending(next, held, answer); err != nil {
		undo()
		return nil, err
	}
	return func(committed bool) {
		if !committed {
			undo()
			return
		}
		s.tellPending(ctx, next, answer)
		s.cfg.Scheduler.Stored(uid)
	}, nil
}

// placeAgain resizes a pod that has no node yet: it is placed anew with its new size.
func (s *Server) placeAgain(ctx context.Context, next, old *corev1.Pod) (settle func(bool), err error) {
	was, err := controlplane.PodPlacement(old)
	if err != nil {
		return nil, err
	}
	req, err := controlplane.PodPlacement(next)
	if err != nil {
		return nil, err
	}
	s.cfg.Scheduler.Release(was.UID)
	at, err := s.place(ctx, next, &req) // of no workload: its UID is known, so it takes no slot
	if err != nil {
		s.cfg.Scheduler.Pend(was)
		return nil, err
	}
	return func(committed bool) {
		switch {
		case !committed:
			s.cfg.Scheduler.Release(was.UID)
			s.cfg.Scheduler.Pend(was)
		case at.Node == "":
			s.cfg.Scheduler.Pend(req)
		}
	}, nil
}

func admitted(pod *corev1.Pod) {
	delete(pod.Annotations, v1alpha1.AnnotationAllocated)
	removePodCondition(&pod.Status, corev1.PodResizePending)
}

var pendingReasons = map[controlplane.ResizeVerdict]string{
	controlplane.ResizeDeferred: corev1.PodReasonDeferred, controlplane.ResizeInfeasible: corev1.PodReasonInfeasible,
}

// pending keeps the admitted resources beside the spec's, until the resize is admitted or replaced.
func pending(pod *corev1.Pod, held v1alpha1.Sizes, answer controlplane.ResizeAnswer) error {
	raw, err := json.Marshal(held)
	if err != nil {
		return fmt.Errorf("%s: admitted resources: %w", keyOf(pod), err)
	}
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[v1alpha1.AnnotationAllocated] = string(raw)
	setPending(pod, answer)
	return nil
}

// setPending says on the pod what its resize waits for. As the kubelet has it, the time of transition is that
// of the reason: from when it has been deferred.
func setPending(pod *corev1.Pod, answer controlplane.ResizeAnswer) {
	c := corev1.PodCondition{
		Type: corev1.PodResizePending, Status: corev1.ConditionTrue, Reason: pendingReasons[answer.Verdict], Message: answer.Message,
		LastProbeTime: metav1.Now().Rfc3339Copy(), ObservedGeneration: pod.Generation,
	}
	for i := range pod.Status.Conditions {
		if old := &pod.Status.Conditions[i]; old.Type == c.Type && old.Reason != c.Reason {
			removePodCondition(&pod.Status, c.Type)
			break
		}
	}
	setPodCondition(&pod.Status, c)
}

// tellPending makes the kubelet's event of a verdict.
func (s *Server) tellPending(ctx context.Context, pod *corev1.Pod, answer controlplane.ResizeAnswer) {
	summary := v1alpha1.ResizeSummary(pod, v1alpha1.Asked(pod), pod.Generation, answer.Message)
	reason := pendingReasons[answer.Verdict]
	s.record(context.WithoutCancel(ctx), pod, corev1.EventTypeWarning, "Resize"+reason, "Pod resize "+reason+": "+summary)
}

func (s *Server) anyNodeHolds(d controlplane.Demand) bool {
	nodes, _ := s.cfg.Store.List("nodes", "")
	for _, o := range nodes {
		if nodeHolds(o.(*corev1.Node), d) {
			return true
		}
	}
	return false
}

func nodeHolds(n *corev1.Node, d controlplane.Demand) bool {
	free := n.Status.Allocatable
	return d.Fits(controlplane.Demand{CPUMilli: free.Cpu().MilliValue(), MemoryBytes: free.Memory().Value()})
}

// Resized writes down what became of a resize that waited: it has its room, or its verdict is another one.
func (s *Server) Resized(ctx context.Context, d controlplane.ResizeDecision) error {
	defer s.uids.lock(d.UID)()
	changed := false
	o, err := s.modify(context.WithoutCancel(ctx), d.Key, false, func(current controlplane.Object) (controlplane.Object, error) {
		pod := current.(*corev1.Pod)
		wish := controlplane.SpecDemand(pod)
		_, waits := pod.Annotations[v1alpha1.AnnotationAllocated]
		if changed = string(pod.UID) == d.UID && waits && wish == d.Demand; !changed {
			return current, nil // it was replaced by a newer one
		}
		next := pod.DeepCopy()
		if d.Verdict == controlplane.ResizeAdmitted {
			admitted(next)
			s.priced(next)
		} else {
			setPending(next, d.ResizeAnswer)
		}
		return next, nil
	})
	switch {
	case errors.Is(err, controlplane.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("%s: deferred resize: %w", d.Key, err)
	case changed && d.Verdict != controlplane.ResizeAdmitted:
		s.tellPending(ctx, o.(*corev1.Pod), d.ResizeAnswer)
	}
	return nil
}
