package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestResizeSidecar: a sidecar's CPU and memory change in place, and in the kernel, beside a container that stays as it
// was.
func TestResizeSidecar(t *testing.T) {
	ns := namespace(t)
	pod := shellPod("p", "exec sleep 100000")
	side := shell("side", "exec sleep 100000")
	always := corev1.ContainerRestartPolicyAlways
	side.RestartPolicy, side.Resources = &always, *pod.Spec.Containers[0].Resources.DeepCopy()
	pod.Spec.InitContainers = []corev1.Container{side}
	made := create(t, client, ns, pod)
	before := made.Status.InitContainerStatuses[0].ContainerID
	_, err := client.CoreV1().Pods(ns).Patch(t.Context(), "p", types.StrategicMergePatchType, []byte(
		`{"spec":{"initContainers":[{"name":"side","resources":{"requests":{"cpu":"300m","memory":"96Mi"},"limits":{"cpu":"300m","memory":"96Mi"}}}]}}`), metav1.PatchOptions{}, "resize")
	if err != nil {
		t.Fatal(err)
	}
	want := size{300, 96 << 20}
	done := await(t, client, ns, "p", "resized", func(p *corev1.Pod) bool {
		st := &p.Status.InitContainerStatuses[0]
		return st.Resources != nil && has(st.Resources.Limits, want) && has(st.AllocatedResources, want) && !condition(p, corev1.PodResizeInProgress)
	})
	if st := done.Status.InitContainerStatuses[0]; st.ContainerID != before || st.RestartCount != 0 {
		t.Errorf("the sidecar was restarted: %+v", st)
	}
	for name, want := range map[string]size{"side": want, "main": {100, 64 << 20}} {
		cpu, memory, err := inKernel(t, string(made.UID), name).Limits()
		if err != nil || cpu != want.cpuMilli || memory != want.memory {
			t.Errorf("%s: the kernel has %dm and %d bytes, %v; want %+v", name, cpu, memory, err, want)
		}
	}
}
