package apiserver

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// What a pod may have in bursts is judged against the nodes as its size is: a new pod is let in, since a larger node
// may come, and its owner is warned; of a pod that is there a bound that no node could ever hold is refused, as a
// resize is.

// warnOfBurst answers what the owner of a new pod should know of its bursts.
func (s *Server) warnOfBurst(o controlplane.Object) []error {
	pod := o.(*corev1.Pod)
	b, err := v1alpha1.PodBurst(pod)
	if b == nil || err != nil {
		return nil
	}
	nodes, _ := s.cfg.Store.Items("nodes", "")
	holds, gives := false, false
	for i := range nodes.Len() {
		n := nodes.Object(i).(*corev1.Node)
		holds = holds || nodeHolds(n, burstDemand(b))
		gives = gives || n.Labels[v1alpha1.LabelReflex] != v1alpha1.ReflexOff
		if holds && gives {
			return nil
		}
	}
	var out []error
	switch {
	case nodes.Len() == 0:
	case !gives:
		out = append(out, fmt.Errorf("metadata.annotations[%s]: no node gives bursts now (--reflex=off): the pod runs at its size", v1alpha1.AnnotationBurst))
	case !holds:
		out = append(out, fmt.Errorf("metadata.annotations[%s]: %s is more than any node has: the pod bursts as far as its node goes",
			v1alpha1.AnnotationBurst, pod.Annotations[v1alpha1.AnnotationBurst]))
	}
	return out
}

// admitBurst refuses a bound that is new and that no node could ever hold, and a larger one that a spent budget forbids.
func (s *Server) admitBurst(nextObj, oldObj controlplane.Object) error {
	next, old := nextObj.(*corev1.Pod), oldObj.(*corev1.Pod)
	text := next.Annotations[v1alpha1.AnnotationBurst]
	if text == old.Annotations[v1alpha1.AnnotationBurst] {
		return nil
	}
	b, err := v1alpha1.PodBurst(next)
	if b == nil || err != nil {
		return err
	}
	if nodes, _ := s.cfg.Store.Items("nodes", ""); nodes.Len() > 0 && !s.anyNodeHolds(burstDemand(b)) {
		return fmt.Errorf("annotation %s: %s: %w", v1alpha1.AnnotationBurst, text, controlplane.ErrInfeasible)
	}
	if s.cfg.Budgets == nil || !s.cfg.Budgets.Closed(next.Namespace) {
		return nil
	}
	var was v1alpha1.Burst
	if w, err := v1alpha1.PodBurst(old); err == nil && w != nil {
		was = *w
	}
	if burstDemand(b).Fits(burstDemand(&was)) && b.Budget <= was.Budget {
		return nil
	}
	if err := s.cfg.Budgets.Spent(next.Namespace); err != nil { // what comes on top of a size costs as well
		return apierrors.NewForbidden(corev1.Resource("pods"), next.Name, fmt.Errorf("annotation %s: %w", v1alpha1.AnnotationBurst, err))
	}
	return nil
}

func burstDemand(b *v1alpha1.Burst) controlplane.Demand {
	return controlplane.Demand{CPUMilli: b.CPUMilli, MemoryBytes: b.MemoryBytes}
}
