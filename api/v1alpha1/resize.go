package v1alpha1

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
)

// ResizeSummary is what a kubelet's events say of a resize: the sizes of all containers, and with them here the pod's
// own. Problem is what it waits for or fails on, empty if neither.
func ResizeSummary(pod *corev1.Pod, sizes Sizes, generation int64, problem string) string {
	type entry struct {
		Name      string                      `json:"name"`
		Resources corev1.ResourceRequirements `json:"resources"`
	}
	summary := struct {
		Resources      *corev1.ResourceRequirements `json:"resources,omitempty"`
		InitContainers []entry                      `json:"initContainers,omitempty"`
		Containers     []entry                      `json:"containers,omitempty"`
		Generation     int64                        `json:"generation"`
		Error          string                       `json:"error,omitempty"`
	}{Generation: generation, Error: problem}
	if whole, said := sizes[WholePod]; said {
		summary.Resources = &whole
	}
	for i := range pod.Spec.InitContainers {
		name := pod.Spec.InitContainers[i].Name
		summary.InitContainers = append(summary.InitContainers, entry{name, sizes[name]})
	}
	for i := range pod.Spec.Containers {
		name := pod.Spec.Containers[i].Name
		summary.Containers = append(summary.Containers, entry{name, sizes[name]})
	}
	raw, err := json.Marshal(summary)
	if err != nil {
		return problem // resources always encode
	}
	return string(raw)
}
