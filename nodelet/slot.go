package nodelet

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"swell.dev/swell/api/v1alpha1"
)

// SlotDepth is how far a slot is made ready ahead of its pod. Each depth includes those before it.
type SlotDepth uint8

const (
	NoSlot        SlotDepth = iota // a pod
	SlotCapacity                   // room is held; nothing is on the host
	SlotSandbox                    // images unpacked; network namespace, cgroup, volumes and files made
	SlotContainer                  // the first container is created and waits at its start
)

func (d SlotDepth) String() string {
	return [...]string{"none", "capacity", "sandbox", "container"}[d]
}

// SlotReport is how far a slot has come.
type SlotReport struct {
	UID     string
	Depth   SlotDepth // reached; NoSlot: it is gone from the host
	Message string    // why it doesn't come further; empty while it does
}

// sameSandbox reports whether what was made for one pod's containers to share serves another pod too, once it
// was brought up to date, and for containers of the same names.
func sameSandbox(a, b *corev1.Pod) bool {
	same := equality.Semantic.DeepEqual
	return a.Namespace == b.Namespace && sameNames(a.Spec.InitContainers, b.Spec.InitContainers) && sameNames(a.Spec.Containers, b.Spec.Containers) &&
		(len(a.Spec.Volumes) == 0 && len(b.Spec.Volumes) == 0 || same(a.Spec.Volumes, b.Spec.Volumes)) &&
		same(a.Spec.SecurityContext, b.Spec.SecurityContext) &&
		(!hasMemoryVolume(b) || sameSizes(a, b))
}

// hasMemoryVolume reports a volume whose size depends on the pod's.
func hasMemoryVolume(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return v.EmptyDir != nil && v.EmptyDir.Medium == corev1.StorageMediumMemory
	})
}

func sameSizes(a, b *corev1.Pod) bool {
	x, err := v1alpha1.Allocated(a)
	y, err2 := v1alpha1.Allocated(b)
	return err == nil && err2 == nil && equality.Semantic.DeepEqual(x, y)
}

func sameNames(a, b []corev1.Container) bool {
	return slices.EqualFunc(a, b, func(a, b corev1.Container) bool {
		return a.Name == b.Name && (a.RestartPolicy == nil) == (b.RestartPolicy == nil) && (a.RestartPolicy == nil || *a.RestartPolicy == *b.RestartPolicy)
	})
}
