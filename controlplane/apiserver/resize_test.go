package apiserver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

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
	pod.Spec.InitContainers = []corev1.Container{{Name: "s", Image: "s", RestartPolicy: &always, Resources: *pod.Spec.Containers[0].Resources.DeepCopy()},
		{Name: "i", Image: "i", Resources: *pod.Spec.Containers[0].Resources.DeepCopy()}}
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
		{"an init container to another class", `{"spec":{"initContainers":[{"name":"i","resources":{"limits":{"cpu":"2"}}}]}}`, metav1.StatusReasonInvalid},
		{"the pod, more than any node", `{"spec":{"resources":{"requests":{"cpu":"64","memory":"1Gi"},"limits":{"cpu":"64","memory":"1Gi"}}}}`, metav1.StatusReasonForbidden},
		{"another policy", `{"spec":{"containers":[{"name":"c","resizePolicy":[{"resourceName":"cpu","restartPolicy":"RestartContainer"}]}]}}`, metav1.StatusReasonInvalid},
		{"a sidecar to another class", `{"spec":{"initContainers":[{"name":"s","resources":{"limits":{"cpu":"2"}}}]}}`, metav1.StatusReasonInvalid},
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

// TestResizeSidecar: a sidecar's size changes like a container's, and counts.
func TestResizeSidecar(t *testing.T) {
	h := start(t)
	ctx := testContext(t)
	pods := h.client().CoreV1().Pods("default")
	pod := testPod("a")
	always := corev1.ContainerRestartPolicyAlways
	pod.Spec.InitContainers = []corev1.Container{{Name: "s", Image: "s", RestartPolicy: &always, Resources: *pod.Spec.Containers[0].Resources.DeepCopy()}}
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	resize := func(cpu string) *corev1.Pod {
		t.Helper()
		p, err := pods.Patch(ctx, "a", types.StrategicMergePatchType,
			fmt.Appendf(nil, `{"spec":{"initContainers":[{"name":"s","resources":{"requests":{"cpu":%q},"limits":{"cpu":%q}}}]}}`, cpu, cpu), metav1.PatchOptions{}, "resize")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := resize("1500m")
	if got := p.Spec.InitContainers[0].Resources.Limits[corev1.ResourceCPU]; got.MilliValue() != 1500 || p.Generation != 2 {
		t.Errorf("%s, generation %d", got.String(), p.Generation)
	}
	if d := h.ledger.holds(string(p.UID)); d.CPUMilli != 1500+500 {
		t.Errorf("held %+v", d)
	}
	// What has no room is kept beside what is admitted, as a container's is.
	other := testPod("other")
	for _, list := range []corev1.ResourceList{other.Spec.Containers[0].Resources.Limits, other.Spec.Containers[0].Resources.Requests} {
		list[corev1.ResourceCPU] = resizeQuantity(1500)
	}
	if _, err := pods.Create(ctx, other, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p = resize("3")
	allocated, err := v1alpha1.Allocated(p)
	if err != nil {
		t.Fatal(err)
	}
	held := allocated["s"].Limits[corev1.ResourceCPU]
	if c := condition(p, corev1.PodResizePending); c == nil || held.MilliValue() != 1500 {
		t.Errorf("%+v, admitted are %s", c, held.String())
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
	decided := func(cpu int64, answer controlplane.ResizeAnswer) {
		t.Helper()
		d := controlplane.ResizeDecision{
			Key: keyOf(p), UID: string(p.UID), Demand: controlplane.Demand{CPUMilli: cpu, MemoryBytes: 256 << 20}, ResizeAnswer: answer,
		}
		if err := h.server.Resized(ctx, d); err != nil {
			t.Fatal(err)
		}
	}
	decided(7, controlplane.ResizeAnswer{Verdict: controlplane.ResizeAdmitted})
	if now, _ := pods.Get(ctx, "a", metav1.GetOptions{}); condition(now, corev1.PodResizePending) == nil {
		t.Error("a stale admission counted")
	}
	// The node shrinks, and grows again.
	decided(2000, controlplane.ResizeAnswer{Verdict: controlplane.ResizeInfeasible, Message: "too small by then"})
	if now, _ := pods.Get(ctx, "a", metav1.GetOptions{}); condition(now, corev1.PodResizePending).Reason != corev1.PodReasonInfeasible || condition(now, corev1.PodResizePending).Message != "too small by then" {
		t.Errorf("condition %+v", condition(now, corev1.PodResizePending))
	}
	decided(2000, controlplane.ResizeAnswer{Verdict: controlplane.ResizeDeferred, Message: "full by then"})
	if now, _ := pods.Get(ctx, "a", metav1.GetOptions{}); condition(now, corev1.PodResizePending).Reason != corev1.PodReasonDeferred {
		t.Errorf("condition %+v", condition(now, corev1.PodResizePending))
	}
	decided(2000, controlplane.ResizeAnswer{Verdict: controlplane.ResizeAdmitted})
	var told []string
	events, err := h.client().CoreV1().Events("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events.Items {
		if strings.HasPrefix(e.Reason, "Resize") {
			told = append(told, fmt.Sprintf("%s %s %d", e.Type, e.Message, e.Count))
		}
	}
	slices.Sort(told)
	const summary = `{"containers":[{"name":"c","resources":{"limits":{"cpu":"2","memory":"256Mi"},"requests":{"cpu":"2","memory":"256Mi"}}}],"generation":2,"error":`
	if want := []string{
		`Warning Pod resize Deferred: ` + summary + `"full by then"} 1`,
		`Warning Pod resize Deferred: ` + summary + `"no room"} 1`,
		`Warning Pod resize Infeasible: ` + summary + `"too small by then"} 1`,
	}; !slices.Equal(told, want) {
		t.Errorf("events:\n%s\nwant:\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
	}
	now, err := pods.Get(ctx, "a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if d, err := controlplane.PodDemand(now); err != nil || d.CPUMilli != 2000 || condition(now, corev1.PodResizePending) != nil || now.Generation != 2 {
		t.Errorf("%+v %v %+v", d, err, now)
	}
}

// TestResizeIsAskedForInOrder says to the ledger what decides whose turn it is, and that the wish was stored.
func TestResizeIsAskedForInOrder(t *testing.T) {
	h := start(t)
	ctx := testContext(t)
	pods := h.client().CoreV1().Pods("default")
	pod := testPod("a")
	pod.Annotations = map[string]string{v1alpha1.AnnotationResizePolicy: v1alpha1.ResizeWait}
	p, err := pods.Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	full := testPod("full")
	full.Spec.Containers[0].Resources.Limits[corev1.ResourceCPU] = resizeQuantity(3000)
	full.Spec.Containers[0].Resources.Requests = nil
	if _, err := pods.Create(ctx, full, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	first, err := h.resize("a", "2")
	if err != nil {
		t.Fatal(err)
	}
	asked, stored := h.ledger.lastAsked(string(p.UID))
	since := condition(first, corev1.PodResizePending).LastTransitionTime.Time
	if !asked.Patient || asked.QOS != corev1.PodQOSGuaranteed || !asked.Since.Equal(since) || stored != 1 {
		t.Errorf("asked %+v, stored %d times, deferred since %v", asked, stored, since)
	}
	// Another wish keeps the first one's place.
	h.store.observe("default", "a", func(pod *corev1.Pod) {
		condition(pod, corev1.PodResizePending).LastTransitionTime = metav1.NewTime(since.Add(-time.Hour))
	})
	second, err := h.resize("a", "1900m")
	if err != nil {
		t.Fatal(err)
	}
	c := condition(second, corev1.PodResizePending)
	if asked, stored = h.ledger.lastAsked(string(p.UID)); !asked.Since.Equal(since.Add(-time.Hour)) || stored != 2 ||
		!c.LastTransitionTime.Time.Equal(asked.Since) || c.ObservedGeneration != 3 {
		t.Errorf("asked %+v, stored %d times, condition %+v", asked, stored, c)
	}
	// One that fits after all replaces it.
	third, err := h.resize("a", "600m")
	if err != nil || condition(third, corev1.PodResizePending) != nil || third.Annotations[v1alpha1.AnnotationAllocated] != "" {
		t.Errorf("%v %+v", err, third)
	}
	if _, stored = h.ledger.lastAsked(string(p.UID)); stored != 2 {
		t.Errorf("stored %d times", stored)
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
