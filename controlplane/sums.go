package controlplane

import (
	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
)

// Sums are the requests and the limits of a whole pod. Zero: none are named.
type Sums struct{ Requests, Limits Demand }

// Add returns s+t.
func (s Sums) Add(t Sums) Sums { return Sums{s.Requests.Add(t.Requests), s.Limits.Add(t.Limits)} }

// Max returns the larger of each quantity.
func (s Sums) Max(t Sums) Sums { return Sums{s.Requests.Max(t.Requests), s.Limits.Max(t.Limits)} }

// SpecSums is what a pod's spec asks for, admitted or not.
func SpecSums(pod *corev1.Pod) Sums {
	return sumOf(&pod.Spec, func(c *corev1.Container) corev1.ResourceRequirements { return c.Resources }, pod.Spec.Resources)
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
	whole := pod.Spec.Resources
	if res, ok := allocated[""]; ok { // what the pod has as a whole, should a resize of that wait
		whole = &res
	}
	admitted := func(c *corev1.Container) corev1.ResourceRequirements {
		if res, ok := allocated[c.Name]; ok {
			return res
		}
		return c.Resources
	}
	held := sumOf(&pod.Spec, admitted, whole)
	if res := pod.Status.Resources; res != nil {
		whole = res
	}
	held = held.Max(sumOf(&pod.Spec, func(c *corev1.Container) corev1.ResourceRequirements {
		if res := actual(&pod.Status, c.Name); res != nil {
			return *res
		}
		return admitted(c)
	}, whole))
	if infeasible(&pod.Status) {
		return held, nil
	}
	return held.Max(asked), nil
}

func actual(st *corev1.PodStatus, container string) *corev1.ResourceRequirements {
	for _, list := range [][]corev1.ContainerStatus{st.ContainerStatuses, st.InitContainerStatuses} {
		for i := range list {
			if list[i].Name == container {
				return list[i].Resources
			}
		}
	}
	return nil
}

func infeasible(st *corev1.PodStatus) bool {
	for i := range st.Conditions {
		if c := &st.Conditions[i]; c.Type == corev1.PodResizePending {
			return c.Reason == corev1.PodReasonInfeasible
		}
	}
	return false
}

// sumOf adds up as Kubernetes does: a pod has the most that it ever has at once, which is its containers with the
// sidecars, or one init container with the sidecars before it. What a pod says as a whole counts in their place.
func sumOf(spec *corev1.PodSpec, of func(*corev1.Container) corev1.ResourceRequirements, whole *corev1.ResourceRequirements) Sums {
	var all, sidecars, most Sums
	for i := range spec.Containers {
		all = all.Add(sumsIn(of(&spec.Containers[i])))
	}
	for i := range spec.InitContainers {
		init := &spec.InitContainers[i]
		own := sumsIn(of(init))
		most = most.Max(sidecars.Add(own))
		if v1alpha1.Sidecar(init) {
			sidecars = sidecars.Add(own)
		}
	}
	all = all.Add(sidecars).Max(most)
	if whole != nil {
		said := sumsIn(*whole)
		all.Requests, all.Limits = said.Requests.or(all.Requests), said.Limits.or(all.Limits)
	}
	return all
}

func sumsIn(r corev1.ResourceRequirements) Sums {
	return Sums{demandIn(r.Requests), demandIn(r.Limits)}
}

func demandIn(list corev1.ResourceList) Demand {
	return Demand{CPUMilli: list.Cpu().MilliValue(), MemoryBytes: list.Memory().Value()}
}

// or returns d, with e's quantities for those that d lacks.
func (d Demand) or(e Demand) Demand {
	if d.CPUMilli == 0 {
		d.CPUMilli = e.CPUMilli
	}
	if d.MemoryBytes == 0 {
		d.MemoryBytes = e.MemoryBytes
	}
	return d
}
