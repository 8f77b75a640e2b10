package controlplane

import (
	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
)

// PodDemand is the pod's admitted size.
func PodDemand(pod *corev1.Pod) (Demand, error) {
	cpu, memory, err := v1alpha1.PodSize(pod)
	return Demand{CPUMilli: cpu, MemoryBytes: memory}, err
}
