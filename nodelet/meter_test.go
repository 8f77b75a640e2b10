package nodelet

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// TestSegmentCountsSidecars meters what the pod holds at once, at its actuated sizes.
func TestSegmentCountsSidecars(t *testing.T) {
	sized := func(milli int64) corev1.ResourceRequirements {
		list := corev1.ResourceList{corev1.ResourceCPU: *resource.NewMilliQuantity(milli, resource.DecimalSI), corev1.ResourceMemory: *resource.NewQuantity(milli<<20, resource.BinarySI)}
		return corev1.ResourceRequirements{Requests: list, Limits: list}
	}
	always := corev1.ContainerRestartPolicyAlways
	pod := &corev1.Pod{Spec: corev1.PodSpec{
		InitContainers: []corev1.Container{
			{Name: "sidecar", RestartPolicy: &always, Resources: sized(100)},
			{Name: "init", Resources: sized(300)},
		},
		Containers: []corev1.Container{{Name: "main", Resources: sized(500)}},
	}}
	for main, want := range map[int64]int64{500: 600, 1000: 1100, 50: 400} {
		seg, err := segment(pod, "n", map[string]corev1.ResourceRequirements{"main": sized(main)})
		if err != nil || seg.CPUMilli != want || seg.MemoryBytes != want<<20 {
			t.Errorf("main at %dm: metered %dm, %d MiB, %v; want %d", main, seg.CPUMilli, seg.MemoryBytes>>20, err, want)
		}
	}
}
