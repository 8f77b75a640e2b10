// Package quantities makes a pod's resources cheap to write. A Quantity keeps its text once somebody has asked
// for it, but a value in a map is asked through a copy, so that each encoding of a pod would format each
// quantity anew, twice.
package quantities

import (
	corev1 "k8s.io/api/core/v1"
)

// Format has every quantity of the pod's and the containers' resources keep its text. The spec must not be shared yet.
func Format(spec *corev1.PodSpec) {
	if spec.Resources != nil {
		formatResources(spec.Resources)
	}
	for i := range spec.InitContainers {
		formatResources(&spec.InitContainers[i].Resources)
	}
	for i := range spec.Containers {
		formatResources(&spec.Containers[i].Resources)
	}
}

func formatResources(r *corev1.ResourceRequirements) {
	formatList(r.Requests)
	formatList(r.Limits)
}

func formatList(list corev1.ResourceList) {
	for name, q := range list {
		_ = q.String() // it keeps what it answers
		list[name] = q
	}
}

// Share replaces what a status says of its containers' resources with what the spec says, where that is the
// same: it is in memory once then, and formatted already. Neither may be changed afterwards.
func Share(spec *corev1.PodSpec, status *corev1.PodStatus) {
	share(spec.InitContainers, status.InitContainerStatuses)
	share(spec.Containers, status.ContainerStatuses)
}

func share(containers []corev1.Container, statuses []corev1.ContainerStatus) {
	for i := range statuses {
		st := &statuses[i]
		for j := range containers {
			c := &containers[j]
			if c.Name != st.Name {
				continue
			}
			if st.Resources != nil && len(st.Resources.Claims) == 0 && len(c.Resources.Claims) == 0 &&
				equal(st.Resources.Requests, c.Resources.Requests) && equal(st.Resources.Limits, c.Resources.Limits) {
				st.Resources = &c.Resources
			}
			if equal(st.AllocatedResources, c.Resources.Requests) {
				st.AllocatedResources = c.Resources.Requests
			}
		}
	}
}

func equal(a, b corev1.ResourceList) bool {
	if len(a) != len(b) || (a == nil) != (b == nil) {
		return false
	}
	for name, q := range a {
		other, ok := b[name]
		if !ok || q.Format != other.Format || q.Cmp(other) != 0 {
			return false
		}
	}
	return true
}
