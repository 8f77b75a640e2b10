package apiserver

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

func resizePatch(cpu string) []byte {
	return fmt.Appendf(nil, `{"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":%q},"limits":{"cpu":%q}}}]}}`, cpu, cpu)
}

func (h *harness) resize(name, cpu string) (*corev1.Pod, error) {
	return h.client().CoreV1().Pods("default").Patch(testContext(h.t), name, types.StrategicMergePatchType, resizePatch(cpu), metav1.PatchOptions{}, "resize")
}

func condition(pod *corev1.Pod, t corev1.PodConditionType) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == t {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}

func TestResizeAdmitted(t *testing.T) {
	h := start(t)
	ctx := testContext(t)
	pods := h.client().CoreV1().Pods("default")
	created, err := pods.Create(ctx, testPod("a"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.resize("a", "2")
	if err != nil {
		t.Fatal(err)
	}
	if p.Generation != 2 || p.Spec.Containers[0].Resources.Limits.Cpu().MilliValue() != 2000 || p.Annotations[v1alpha1.AnnotationAllocated] != "" {
		t.Errorf("%+v", p)
	}
	if d := h.ledger.holds(string(created.UID)); d.CPUMilli != 2000 {
		t.Errorf("held %+v", d)
	}
	// An update through the main resource can't, and through resize other edits are dropped.
	p.Spec.Containers[0].Resources.Limits[corev1.ResourceCPU] = *created.Spec.Containers[0].Resources.Limits.Cpu()
	if _, err := pods.Update(ctx, p, metav1.UpdateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("resized by update: %v", err)
	}
	p.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU] = *created.Spec.Containers[0].Resources.Requests.Cpu()
	p.Labels["x"], p.Spec.Containers[0].Image = "y", "other"
	back, err := pods.UpdateResize(ctx, "a", p, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if back.Labels["x"] != "" || back.Spec.Containers[0].Image != "example.com/app:1" || back.Generation != 3 {
		t.Errorf("%+v", back)
	}
	same, err := h.resize("a", "500m")
	if err != nil || same.ResourceVersion != back.ResourceVersion {
		t.Errorf("a resize to the same size wrote: %v %v", same, err)
	}
	if a := h.do("GET", podsPath+"/a/resize", ""); a.code != 200 {
		t.Errorf("get: %d", a.code)
	}
	if _, err := pods.Patch(ctx, "a", types.ApplyYAMLPatchType,
		append([]byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},`), resizePatch("1")[1:]...),
		metav1.PatchOptions{FieldManager: "m"}, "resize"); !apierrors.IsConflict(err) {
		t.Errorf("applied over what others set: %v", err)
	}
	force := true
	applied, err := pods.Patch(ctx, "a", types.ApplyYAMLPatchType,
		append([]byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},`), resizePatch("1")[1:]...),
		metav1.PatchOptions{FieldManager: "m", Force: &force}, "resize")
	if err != nil || applied.Spec.Containers[0].Resources.Limits.Cpu().MilliValue() != 1000 {
		t.Fatalf("applied: %v %v", applied, err)
	}
	var owner *metav1.ManagedFieldsEntry
	for i, f := range applied.ManagedFields {
		if f.Manager == "m" {
			owner = &applied.ManagedFields[i]
		}
	}
	if owner == nil || owner.Subresource != "resize" {
		t.Errorf("managed fields %+v", applied.ManagedFields)
	}
}

func TestResizeRefused(t *testing.T) {
	h := start(t)
	pod := testPod("a")
	always := corev1.ContainerRestartPolicyAlways
	pod.Spec.InitContainers = []corev1.Container{{Name: "s", Image: "s", RestartPolicy: &always, Resources: *pod.Spec.Containers[0].Resources.DeepCopy()}}
	if _, err := h.client().CoreV1().Pods("default").Create(testContext(t), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, patch string
		reason      metav1.StatusReason
	}{
		{"more than any node", string(resizePatch("64")), metav1.StatusReasonForbidden},
		{"another class", `{"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"1m"}}}]}}`, metav1.StatusReasonInvalid},
		{"another container", `{"spec":{"containers":[{"name":"d","image":"i"}]}}`, metav1.StatusReasonInvalid},
		{"negative", string(resizePatch("-1")), metav1.StatusReasonInvalid},
		{"a sidecar", `{"spec":{"initContainers":[{"name":"s","resources":{"limits":{"cpu":"2"}}}]}}`, metav1.StatusReasonInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before, _ := h.store.Get(podKey{Resource: "pods", Namespace: "default", Name: "a"})
			a := h.do("PATCH", podsPath+"/a/resize", tt.patch, "Content-Type", string(types.StrategicMergePatchType))
			st := a.status(t)
			if st.Reason != tt.reason {
				t.Errorf("%s", a.body)
			}
			if tt.reason == metav1.StatusReasonForbidden && (len(st.Details.Causes) != 1 || st.Details.Causes[0].Type != causeNodeCapacity) {
				t.Errorf("causes %+v", st.Details)
			}
			after, _ := h.store.Get(podKey{Resource: "pods", Namespace: "default", Name: "a"})
			if before != after {
				t.Error("something was stored")
			}
			if d := h.ledger.holds(string(after.GetUID())); d.CPUMilli != 2*500 { // with the sidecar
				t.Errorf("held %+v", d)
			}
		})
	}
}

// TestResizeDeferred keeps what is admitted beside what is asked for, until there is room.
func TestResizeDeferred(t *testing.T) {
	h := start(t)
	ctx := testContext(t)
	pods := h.client().CoreV1().Pods("default")
	p, err := pods.Create(ctx, testPod("a"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	other := testPod("other")
	for _, list := range []corev1.ResourceList{other.Spec.Containers[0].Resources.Limits} {
		list[corev1.ResourceCPU] = resizeQuantity(3000)
	}
	if _, err := pods.Create(ctx, other, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p, err = h.resize("a", "2")
	if err != nil {
		t.Fatal(err)
	}
	c := condition(p, corev1.PodResizePending)
	if c == nil || c.Reason != corev1.PodReasonDeferred || c.ObservedGeneration != 2 || p.Generation != 2 {
		t.Fatalf("condition %+v", c)
	}
	if d, err := controlplane.PodDemand(p); err != nil || d.CPUMilli != 500 {
		t.Errorf("admitted %+v %v", d, err)
	}
	// A user can neither drop the annotation nor change it.
	q := p.DeepCopy()
	q.Annotations = map[string]string{"mine": "1", v1alpha1.AnnotationAllocated: "{}"}
	q, err = pods.Update(ctx, q, metav1.UpdateOptions{})
	if err != nil || q.Annotations["mine"] != "1" || q.Annotations[v1alpha1.AnnotationAllocated] != p.Annotations[v1alpha1.AnnotationAllocated] {
		t.Errorf("%v %v", q, err)
	}
	stale := controlplane.Demand{CPUMilli: 7, MemoryBytes: 7}
	if err := h.server.AdmitResize(ctx, string(p.UID), stale); err != nil {
		t.Fatal(err)
	}
	if now, _ := pods.Get(ctx, "a", metav1.GetOptions{}); condition(now, corev1.PodResizePending) == nil {
		t.Error("a stale admission counted")
	}
	if err := h.server.AdmitResize(ctx, string(p.UID), controlplane.Demand{CPUMilli: 2000, MemoryBytes: 256 << 20}); err != nil {
		t.Fatal(err)
	}
	now, err := pods.Get(ctx, "a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if d, err := controlplane.PodDemand(now); err != nil || d.CPUMilli != 2000 || condition(now, corev1.PodResizePending) != nil || now.Generation != 2 {
		t.Errorf("%+v %v %+v", d, err, now)
	}
}

// TestPendingPod is committed without a node, bound later, and placed anew when it is resized meanwhile.
func TestPendingPod(t *testing.T) {
	h := start(t)
	ctx := testContext(t)
	pods := h.client().CoreV1().Pods("default")
	big := testPod("big")
	big.Spec.Containers[0].Resources.Limits[corev1.ResourceCPU] = resizeQuantity(5000)
	big.Spec.Containers[0].Resources.Requests = nil
	p, err := pods.Create(ctx, big, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := condition(p, corev1.PodScheduled)
	if p.Spec.NodeName != "" || c == nil || c.Reason != corev1.PodReasonUnschedulable || !h.ledger.isPending(string(p.UID)) {
		t.Fatalf("%+v", p)
	}
	p, err = h.resize("big", "1")
	if err != nil {
		t.Fatal(err)
	}
	if p.Spec.NodeName != "n1" || condition(p, corev1.PodScheduled).Status != corev1.ConditionTrue || h.ledger.isPending(string(p.UID)) {
		t.Errorf("%+v", p)
	}

	h.ledger.failWith(fmt.Errorf("0/1 nodes: %w", controlplane.ErrNoCapacity))
	p, err = pods.Create(ctx, testPod("late"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	req, err := controlplane.PodPlacement(p)
	if err != nil {
		t.Fatal(err)
	}
	stale := req
	stale.Demand.CPUMilli++
	if err := h.server.Bound(ctx, stale, "n1"); err != nil {
		t.Fatal(err)
	}
	if p, _ = pods.Get(ctx, "late", metav1.GetOptions{}); p.Spec.NodeName != "" {
		t.Error("bound for another size")
	}
	if err := h.server.Bound(ctx, req, "n1"); err != nil {
		t.Fatal(err)
	}
	if p, _ = pods.Get(ctx, "late", metav1.GetOptions{}); p.Spec.NodeName != "n1" || condition(p, corev1.PodScheduled).Status != corev1.ConditionTrue {
		t.Errorf("%+v", p)
	}
	if err := h.server.Bind(context.Background(), podKey{Resource: "pods", Namespace: "default", Name: "none"}, "u", "n1"); err != nil {
		t.Errorf("binding what is gone: %v", err)
	}
}
