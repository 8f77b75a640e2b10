package nodelet

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
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

// heldKey stands for all of a container that can't be changed any more once it is held: containers of one
// key differ at most in what Runtime.Release makes to fit, and in limits, which the pod's set-up writes.
func (b *builder) heldKey(c Container, act actRun) (string, error) {
	c.PodName, c.Hostname, c.Command, c.Args, c.Env, c.LogPath, c.Held = "", "", nil, nil, nil, "", ""
	if !slices.ContainsFunc(b.a.Pod.Spec.InitContainers, func(i corev1.Container) bool { return i.Name == c.Name }) {
		c.Resources = corev1.ResourceRequirements{}
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("container %s: %w", c.ID, err)
	}
	h := sha256.New()
	h.Write(raw)
	for i := range act.Container.VolumeMounts {
		vm := &act.Container.VolumeMounts[i]
		if (vm.SubPath != "" || vm.SubPathExpr != "") && madeByUs(b.a.Pod, vm.Name) {
			h.Write([]byte(configHash(b.a))) // a part of a volume stays what it was when it was bound
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

// sameSandbox reports whether what was made for one pod's containers to share serves another pod too, once it
// was brought up to date, and for containers of the same names.
func sameSandbox(a, b *corev1.Pod) bool {
	same := equality.Semantic.DeepEqual
	return a.Namespace == b.Namespace && sameNames(a.Spec.InitContainers, b.Spec.InitContainers) && sameNames(a.Spec.Containers, b.Spec.Containers) &&
		same(a.Spec.Volumes, b.Spec.Volumes) && same(a.Spec.SecurityContext, b.Spec.SecurityContext) &&
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
		return a.Name == b.Name && equality.Semantic.DeepEqual(a.RestartPolicy, b.RestartPolicy)
	})
}
