package podcgroup

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/nodelet"
)

// A pod that says what it has as a whole: a has the pod's limits, b less of them. Both are brought along in the order
// that the kernel accepts, a burst is on top of the pod's own, and a shrink that doesn't fit changes nothing.
func TestPodOfItsOwn(t *testing.T) {
	tree, h := testTree(t)
	const uid = "whole"
	of := func(whole, b corev1.ResourceRequirements) nodelet.PodSize {
		return nodelet.PodSize{Class: corev1.PodQOSBurstable, Pod: &whole, Shared: true, Containers: map[string]corev1.ResourceRequirements{"a": {}, "b": b}}
	}
	sizes := []nodelet.PodSize{
		of(resources("500m", "1", "32Mi", "64Mi"), resources("100m", "200m", "", "16Mi")),
		of(resources("1", "3", "32Mi", "256Mi"), resources("100m", "2", "", "128Mi")),      // all grow
		of(resources("200m", "400m", "32Mi", "48Mi"), resources("1m", "300m", "", "48Mi")), // all shrink
		of(resources("2", "2", "64Mi", "64Mi"), resources("2", "2", "", "32Mi")),
	}
	must(t, tree.EnsurePod(uid, sizes[0]))
	start(t, tree, h, uid, "a", resources("500m", "1", "", "64Mi"), 8)
	start(t, tree, h, uid, "b", sizes[0].Containers["b"], 1)
	want := func(size nodelet.PodSize) {
		t.Helper()
		wantKernel(t, h, tree.pod(uid).Path(), podLimits(size))
		wantKernel(t, h, tree.ContainerPath(uid, "a"), limitsOf(size, "a"))
		wantKernel(t, h, tree.ContainerPath(uid, "b"), limitsOf(size, "b"))
	}
	for _, size := range sizes {
		got, err := tree.Resize(t.Context(), uid, size)
		must(t, err)
		want(size)
		inherited := v1alpha1.Sizes{v1alpha1.WholePod: *size.Pod, "a": {}}
		shown := map[string]corev1.ResourceRequirements{v1alpha1.WholePod: *size.Pod, "a": inherited.Of("a"), "b": size.Containers["b"]}
		a := shown["a"]
		a.Requests = corev1.ResourceList{corev1.ResourceCPU: *size.Pod.Limits.Cpu()} // as with a kubelet, the limit counts
		shown["a"] = a
		wantActual(t, got, shown)
	}
	last := sizes[len(sizes)-1]
	burst(t, tree, uid, 1000)
	wantQuotas(t, tree, uid, "bursting", 3000, 3000, 3000)
	read, err := tree.Read(uid, []string{"a", "b"})
	must(t, err)
	if got := read[v1alpha1.WholePod]; got.Limits.Cpu().MilliValue() != 2000 {
		t.Errorf("a burst shows: %v", got)
	}
	burst(t, tree, uid, 0)
	want(last)

	_, err = tree.Resize(t.Context(), uid, of(resources("2", "2", "", "4Mi"), resources("2", "2", "", "4Mi")))
	if !errors.Is(err, nodelet.ErrMemoryInUse) {
		t.Errorf("4 MiB for what holds 8: %v", err)
	}
	want(last)

	// A nodelet that is new finds it, and gives memory's protection back with the pod.
	again, err := New(h, tree.parent.Path(), tree.qos)
	must(t, err)
	must(t, again.EnsurePod(uid, last))
	want(last)
	if size := again.Size(uid); size != 2000 {
		t.Errorf("its size is %dm", size)
	}
	if size, extra, err := again.Memory(uid); err != nil || size != 64<<20 || extra != 0 {
		t.Errorf("its memory is %d and %d beyond, %v", size, extra, err)
	}
}
