package client

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
)

// outcome reports whether the size of generation asked is in effect, or won't be for now (an error), or
// what is being done (note).
func (r *resizing) outcome(pod *corev1.Pod, asked int64) (done bool, note string, err error) {
	current := func(kind corev1.PodConditionType) *corev1.PodCondition {
		c := condition(pod, kind)
		if c == nil || (c.ObservedGeneration != 0 && c.ObservedGeneration < asked) {
			return nil // speaks of an earlier resize
		}
		return c
	}
	if c := current(corev1.PodResizePending); c != nil {
		switch c.Reason {
		case corev1.PodReasonInfeasible:
			return false, "", fmt.Errorf("pod %s: resize is infeasible: %s; ask for less", r.pod, orReason(c))
		case corev1.PodReasonDeferred:
			return false, "", fmt.Errorf("pod %s: resize is deferred: %s; it happens when room frees, `swell ps %s -w` shows it", r.pod, orReason(c), r.pod)
		}
		return false, orReason(c), nil
	}
	if c := current(corev1.PodResizeInProgress); c != nil {
		if c.Reason == corev1.PodReasonError {
			return false, "", fmt.Errorf("pod %s: resize failed on the node: %s; the former size stays, and the node tries again", r.pod, orReason(c))
		}
		return false, orReason(c), nil
	}
	if terminal(pod) {
		return false, "", fmt.Errorf("pod %s: has ended (%s): nothing is left to resize", r.pod, podStatus(pod))
	}
	want, have := containerResources(pod, r.container)
	return have != nil && same(want, *have), "", nil
}

func orReason(c *corev1.PodCondition) string {
	switch {
	case c.Message != "":
		return c.Message
	case c.Reason != "":
		return c.Reason
	}
	return "in progress"
}

// containerResources answers what the spec says of a container, or of the pod as a whole, and what the status says, nil if nothing.
func containerResources(pod *corev1.Pod, container string) (want corev1.ResourceRequirements, have *corev1.ResourceRequirements) {
	if container == v1alpha1.WholePod {
		return v1alpha1.Asked(pod)[container], pod.Status.Resources
	}
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == container {
			want = pod.Spec.Containers[i].Resources
		}
	}
	for i := range pod.Status.ContainerStatuses {
		if pod.Status.ContainerStatuses[i].Name == container {
			have = pod.Status.ContainerStatuses[i].Resources
		}
	}
	return want, have
}

// same compares CPU and memory.
func same(a, b corev1.ResourceRequirements) bool {
	for _, pair := range [][2]corev1.ResourceList{{a.Requests, b.Requests}, {a.Limits, b.Limits}} {
		if pair[0].Cpu().Cmp(*pair[1].Cpu()) != 0 || pair[0].Memory().Cmp(*pair[1].Memory()) != 0 {
			return false
		}
	}
	return true
}
