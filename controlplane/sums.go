package controlplane

import (
	"maps"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
)

// Sums are the requests and the limits of a whole pod. Zero: none are named.
type Sums struct{ Requests, Limits Demand }

// Max returns the larger of each quantity.
func (s Sums) Max(t Sums) Sums { return Sums{s.Requests.Max(t.Requests), s.Limits.Max(t.Limits)} }

// SpecSums is what a pod's spec asks for, admitted or not.
func SpecSums(pod *corev1.Pod) Sums {
	var own v1alpha1.Sizes // of containers the spec's count
	if v1alpha1.HasPodResources(&pod.Spec) {
		own = v1alpha1.Sizes{v1alpha1.WholePod: *pod.Spec.Resources}
	}
	return sumsOf(pod, own)
}

// HeldSums is what a pod counts with where use is bounded. As in Kubernetes that is the most of what its spec asks
// for, unless its node could never hold it; of what is admitted; and of what its containers have by their status.
func HeldSums(pod *corev1.Pod) (Sums, error) {
	asked := SpecSums(pod)
	if _, waits := pod.Annotations[v1alpha1.AnnotationAllocated]; !waits && len(pod.Status.ContainerStatuses)+len(pod.Status.InitContainerStatuses) == 0 {
		return asked, nil
	}
	allocated, err := v1alpha1.Allocated(pod)
	if err != nil {
		return Sums{}, err
	}
	has := maps.Clone(allocated)
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for i := range list {
			if res := list[i].Resources; res != nil {
				has[list[i].Name] = *res
			}
		}
	}
	if _, said := allocated[v1alpha1.WholePod]; said && pod.Status.Resources != nil {
		has[v1alpha1.WholePod] = *pod.Status.Resources
	}
	held := sumsOf(pod, allocated).Max(sumsOf(pod, has))
	if infeasible(&pod.Status) {
		return held, nil
	}
	return held.Max(asked), nil
}

func infeasible(st *corev1.PodStatus) bool {
	for i := range st.Conditions {
		if c := &st.Conditions[i]; c.Type == corev1.PodResizePending {
			return c.Reason == corev1.PodReasonInfeasible
		}
	}
	return false
}

func sumsOf(pod *corev1.Pod, sizes v1alpha1.Sizes) Sums {
	var s Sums
	s.Requests.CPUMilli, s.Requests.MemoryBytes = sizes.Requests(pod)
	s.Limits.CPUMilli, s.Limits.MemoryBytes = sizes.Limits(pod)
	return s
}
