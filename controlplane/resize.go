package controlplane

import (
	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
)

// SpecDemand is what a pod's spec asks for, admitted or not.
func SpecDemand(pod *corev1.Pod) Demand {
	cpu, memory := v1alpha1.Asked(pod).Total(pod)
	return Demand{CPUMilli: cpu, MemoryBytes: memory}
}

// PodResize is what the ledger is asked for a pod whose spec has another size than what is admitted.
func PodResize(pod *corev1.Pod) ResizeRequest {
	q := ResizeRequest{Demand: SpecDemand(pod), QOS: v1alpha1.PodQOS(&pod.Spec), Patient: v1alpha1.ResizePolicy(pod) == v1alpha1.ResizeWait}
	if p := pod.Spec.Priority; p != nil {
		q.Priority = *p
	}
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == corev1.PodResizePending {
			q.Since, q.Infeasible = c.LastTransitionTime.Time, c.Reason == corev1.PodReasonInfeasible
		}
	}
	return q
}

// WaitingResize is the pod's resize that isn't admitted, nil if there is none.
func WaitingResize(pod *corev1.Pod) *ResizeRequest {
	if _, ok := pod.Annotations[v1alpha1.AnnotationAllocated]; !ok {
		return nil
	}
	q := PodResize(pod)
	return &q
}
