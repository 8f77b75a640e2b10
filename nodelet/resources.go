package nodelet

import (
	"maps"
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"swell.dev/swell/api/v1alpha1"
)

// qosClass answers what the control plane has decided, or the pod's class by Kubernetes' rule.
func qosClass(pod *corev1.Pod) corev1.PodQOSClass {
	if pod.Status.QOSClass != "" {
		return pod.Status.QOSClass
	}
	return v1alpha1.PodQOS(&pod.Spec)
}

// oomScores are a kubelet's oom_score_adj of the containers' processes: the larger the share of the host's memory
// that a container asked for, the later it is killed. What the pod asked for as a whole beyond its containers counts
// for all of them alike, and a sidecar is killed no sooner than the containers that it serves.
func oomScores(pod *corev1.Pod, sizes v1alpha1.Sizes, capacity int64) map[string]int {
	class, out := qosClass(pod), make(map[string]int, len(sizes))
	asked := func(c *corev1.Container) int64 {
		res := sizes[c.Name]
		return res.Requests.Memory().Value()
	}
	var rest int64
	if whole, said := sizes[v1alpha1.WholePod]; said && !whole.Requests.Memory().IsZero() {
		containers := maps.Clone(sizes)
		delete(containers, v1alpha1.WholePod)
		together := containers.Whole(pod)
		rest = max(whole.Requests.Memory().Value()-together.Requests.Memory().Value(), 0) / int64(len(pod.Spec.Containers)+len(pod.Spec.InitContainers))
	}
	least := int64(math.MaxInt64)
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		out[c.Name] = oomScore(class, asked(c)+rest, capacity)
		least = min(least, asked(c))
	}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		memory := asked(c)
		if v1alpha1.Sidecar(c) {
			memory = max(memory, least)
		}
		out[c.Name] = oomScore(class, memory+rest, capacity)
	}
	return out
}

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
func sameSizesOf(a, b v1alpha1.Sizes) bool {
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
