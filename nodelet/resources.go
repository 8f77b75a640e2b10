package nodelet

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// qosClass answers what the control plane has decided, or the pod's class by Kubernetes' rule.
func qosClass(pod *corev1.Pod) corev1.PodQOSClass {
	if pod.Status.QOSClass != "" {
		return pod.Status.QOSClass
	}
	guaranteed, some := true, false
	each := func(c *corev1.Container) {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			req, lim := c.Resources.Requests[name], c.Resources.Limits[name]
			some = some || !req.IsZero() || !lim.IsZero()
			if lim.IsZero() || !req.IsZero() && req.Cmp(lim) != 0 {
				guaranteed = false
			}
		}
	}
	for i := range pod.Spec.InitContainers {
		each(&pod.Spec.InitContainers[i])
	}
	for i := range pod.Spec.Containers {
		each(&pod.Spec.Containers[i])
	}
	switch {
	case !some:
		return corev1.PodQOSBestEffort
	case guaranteed:
		return corev1.PodQOSGuaranteed
	default:
		return corev1.PodQOSBurstable
	}
}

// oomScore is a kubelet's oom_score_adj: the larger the share of the host's memory that a container
// asked for, the later it is killed.
func oomScore(class corev1.PodQOSClass, memoryRequest, capacity int64) int {
	switch {
	case class == corev1.PodQOSGuaranteed:
		return -997
	case class == corev1.PodQOSBestEffort || capacity <= 0:
		return 1000
	default:
		return int(min(max(1000-1000*memoryRequest/capacity, 3), 999))
	}
}

// sameSizesOf reports whether two sets of containers have the same resources.
func sameSizesOf(a, b map[string]corev1.ResourceRequirements) bool {
	return maps.EqualFunc(a, b, sameResources)
}

// sameResources does what equality.Semantic.DeepEqual does, without reflection: it is asked at each step of a pod.
func sameResources(a, b corev1.ResourceRequirements) bool {
	same := func(a, b resource.Quantity) bool { return a.Cmp(b) == 0 }
	return maps.EqualFunc(a.Requests, b.Requests, same) && maps.EqualFunc(a.Limits, b.Limits, same) && slices.Equal(a.Claims, b.Claims)
}

// actualResources answers what a running container has. The kernel's values are coarser than the ones
// that it was told, so those stand unless the kernel holds something else altogether.
func actualResources(told, kernel corev1.ResourceRequirements) *corev1.ResourceRequirements {
	told.Requests, told.Limits = corrected(told.Requests, kernel.Requests), corrected(told.Limits, kernel.Limits)
	return &told
}

// corrected answers a list of its own where it differs.
func corrected(told, kernel corev1.ResourceList) corev1.ResourceList {
	var out corev1.ResourceList
	for name, want := range told {
		got, ok := kernel[name]
		if !ok || near(want, got) {
			continue
		}
		if out == nil {
			out = maps.Clone(told)
		}
		out[name] = got
	}
	if out == nil {
		return told
	}
	return out
}

// near allows for the kernel's steps: pages, quota in µs, and weights, whose conversion is good to some
// percent.
func near(a, b resource.Quantity) bool {
	x, y := a.AsApproximateFloat64(), b.AsApproximateFloat64()
	diff := max(x-y, y-x)
	return diff <= 0.05*max(x, y) || diff <= 0.011
}
