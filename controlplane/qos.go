package controlplane

import (
	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
)

// PodQOS is Kubernetes' quality-of-service class: guaranteed where every container's cpu and memory
// requests equal its limits, best effort where none has either, burstable otherwise.
func PodQOS(spec *corev1.PodSpec) corev1.PodQOSClass {
	guaranteed, anything := true, false
	visit := func(c *corev1.Container) {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			request, limit := positive(c.Resources.Requests, name), positive(c.Resources.Limits, name)
			if request != nil || limit != nil {
				anything = true
			}
			if limit == nil || request != nil && request.Cmp(*limit) != 0 {
				guaranteed = false
			}
		}
	}
	for i := range spec.InitContainers {
		visit(&spec.InitContainers[i])
	}
	for i := range spec.Containers {
		visit(&spec.Containers[i])
	}
	switch {
	case !anything:
		return corev1.PodQOSBestEffort
	case guaranteed:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}

func positive(list corev1.ResourceList, name corev1.ResourceName) *quantity.Quantity {
	if q, ok := list[name]; ok && q.Sign() > 0 {
		return &q
	}
	return nil
}
