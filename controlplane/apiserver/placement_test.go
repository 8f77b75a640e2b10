package apiserver

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"swell.dev/swell/controlplane"
)

func TestPriorityClasses(t *testing.T) {
	h := start(t)
	ctx := t.Context()
	classes, pods := h.client().SchedulingV1().PriorityClasses(), h.client().CoreV1().Pods("default")
	h.eventually("the system's classes", func() bool {
		list, err := classes.List(ctx, metav1.ListOptions{})
		return err == nil && len(list.Items) == 2
	})
	if c, err := classes.Get(ctx, "system-node-critical", metav1.GetOptions{}); err != nil || c.Value != 2_000_001_000 {
		t.Errorf("%+v, %v", c, err)
	}
	plain, err := pods.Create(ctx, testPod("plain"), metav1.CreateOptions{})
	if err != nil || plain.Spec.Priority == nil || *plain.Spec.Priority != 0 || *plain.Spec.PreemptionPolicy != corev1.PreemptLowerPriority || plain.Spec.PriorityClassName != "" {
		t.Errorf("without a class: %+v, %v", plain.Spec, err)
	}

	never := corev1.PreemptNever
	high := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "high"}, Value: 1000, PreemptionPolicy: &never}
	if _, err := classes.Create(ctx, high, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p := testPod("high")
	p.Spec.PriorityClassName = "high"
	if p, err = pods.Create(ctx, p, metav1.CreateOptions{}); err != nil || *p.Spec.Priority != 1000 || *p.Spec.PreemptionPolicy != never {
		t.Errorf("%+v, %v", p.Spec, err)
	}
	for name, c := range map[string]struct {
		class    string
		priority int32
		says     string
	}{
		"unknown": {class: "nowhere", says: `pods "unknown" is forbidden: no PriorityClass with name nowhere was found`},
		"own":     {priority: 7, says: "the integer value of priority (7) must not be provided in pod spec; priority admission controller computed 0"},
		"other":   {class: "high", priority: 7, says: "computed 1000 from the given PriorityClass name"},
	} {
		p := testPod(name)
		p.Spec.PriorityClassName = c.class
		if c.priority != 0 {
			p.Spec.Priority = &c.priority
		}
		if _, err := pods.Create(ctx, p, metav1.CreateOptions{}); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}

	usual := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "usual"}, Value: 10, GlobalDefault: true}
	if _, err := classes.Create(ctx, usual, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	second := usual.DeepCopy()
	second.Name = "second"
	if _, err := classes.Create(ctx, second, metav1.CreateOptions{}); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "usual is already marked as default") {
		t.Errorf("a second default: %v", err)
	}
	if p, err := pods.Create(ctx, testPod("usual"), metav1.CreateOptions{}); err != nil || *p.Spec.Priority != 10 || p.Spec.PriorityClassName != "usual" {
		t.Errorf("by the default class: %+v, %v", p.Spec, err)
	}
	for patch, says := range map[string]string{
		`{"value":11}`: "value: Forbidden: may not be changed in an update.", `{"preemptionPolicy":"Never"}`: "field is immutable",
	} {
		if _, err := classes.Patch(ctx, "usual", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", patch, err)
		}
	}
	if _, err := classes.Patch(ctx, "usual", types.MergePatchType, []byte(`{"globalDefault":false}`), metav1.PatchOptions{}); err != nil {
		t.Error(err)
	}
	if p, err := pods.Create(ctx, testPod("again"), metav1.CreateOptions{}); err != nil || *p.Spec.Priority != 0 {
		t.Errorf("no default any more: %+v, %v", p.Spec, err)
	}
	if err := classes.Delete(ctx, "system-cluster-critical", metav1.DeleteOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a class of the system is deleted: %v", err)
	}
	if err := classes.Delete(ctx, "usual", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	for name, value := range map[string]int32{"system-mine": 1, "huge": highestUserPriority + 1} {
		pc := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Value: value}
		if _, err := classes.Create(ctx, pc, metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A pod's priority stands whatever a manifest leaves out later.
func TestPriorityOutlivesUpdates(t *testing.T) {
	h := start(t)
	pods := h.client().CoreV1().Pods("default")
	p, err := pods.Create(t.Context(), testPod("p"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p.Spec.Priority, p.Spec.PreemptionPolicy, p.Labels["more"] = nil, nil, "1"
	if p, err = pods.Update(t.Context(), p, metav1.UpdateOptions{}); err != nil || p.Spec.Priority == nil || p.Spec.PreemptionPolicy == nil || p.Labels["more"] != "1" {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestTaints(t *testing.T) {
	h := start(t)
	nodes := h.client().CoreV1().Nodes()
	patch := func(taints string) (*corev1.Node, error) {
		return nodes.Patch(t.Context(), "n1", types.MergePatchType, []byte(`{"spec":{"taints":`+taints+`}}`), metav1.PatchOptions{})
	}
	if n, err := patch(`[{"key":"k","value":"v","effect":"NoSchedule"},{"key":"k","effect":"NoExecute"}]`); err != nil || len(n.Spec.Taints) != 2 {
		t.Errorf("%+v, %v", n, err)
	}
	for taints, says := range map[string]string{
		`[{"key":"a b","effect":"NoSchedule"}]`:                               "spec.taints[0].key: Invalid value",
		`[{"key":"k","value":"a b","effect":"NoSchedule"}]`:                   "spec.taints[0].value: Invalid value",
		`[{"key":"k","effect":"Never"}]`:                                      `spec.taints[0].effect: Unsupported value: "Never"`,
		`[{"key":"k"}]`:                                                       "spec.taints[0].effect: Required value",
		`[{"key":"k","effect":"NoExecute"},{"key":"k","effect":"NoExecute"}]`: "taints must be unique by key and effect pair",
	} {
		if _, err := patch(taints); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", taints, err)
		}
	}
	if _, err := nodes.Patch(t.Context(), "n1", types.MergePatchType, []byte(`{"spec":{"podCIDR":"192.0.2.0/24"}}`), metav1.PatchOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("another field of the spec: %v", err)
	}
}

func TestEvictGivesNotice(t *testing.T) {
	h := start(t)
	pods := h.client().CoreV1().Pods("default")
	victim, err := pods.Create(t.Context(), testPod("victim"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	e := controlplane.Eviction{Key: keyOf(victim), UID: string(victim.UID), Node: "n1", Reason: controlplane.Preempted, Message: "make room",
		For: controlplane.Key{Resource: "pods", Namespace: "default", Name: "vip"}}
	stale := e
	stale.UID = "another"
	for _, e := range []controlplane.Eviction{stale, e, e} { // of another pod; and twice
		if err := h.server.Evict(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	got, err := pods.Get(t.Context(), "victim", metav1.GetOptions{})
	if err != nil || got.DeletionTimestamp == nil || *got.DeletionGracePeriodSeconds != 30 {
		t.Fatalf("%+v, %v", got, err)
	}
	if c := conditionOf(got, corev1.DisruptionTarget); c == nil || c.Status != corev1.ConditionTrue || c.Reason != "PreemptionByScheduler" || c.Message != "make room" {
		t.Errorf("%+v", got.Status.Conditions)
	}
	if h.ledger.holds(string(victim.UID)) == (controlplane.Demand{}) {
		t.Error("its room is free before it is gone")
	}
	events, err := h.client().CoreV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: "reason=Preempted"})
	if err != nil || len(events.Items) != 1 || events.Items[0].Message != "Preempted by pod default/vip on node n1" || events.Items[0].Count != 1 {
		t.Errorf("%+v, %v", events, err)
	}
	if err := h.server.Evict(t.Context(), controlplane.Eviction{Key: podKey{Resource: "pods", Namespace: "default", Name: "gone"}}); err != nil {
		t.Errorf("a pod that is gone: %v", err)
	}
}

func TestEvictionSubresource(t *testing.T) {
	h := start(t)
	c := h.client()
	if _, err := c.CoreV1().Pods("default").Create(t.Context(), testPod("p"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	evict := func(o *metav1.DeleteOptions) error {
		return c.PolicyV1().Evictions("default").Evict(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "default"}, DeleteOptions: o})
	}
	get := func() *corev1.Pod {
		p, err := c.CoreV1().Pods("default").Get(t.Context(), "p", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if err := evict(&metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}); err != nil || get().DeletionTimestamp != nil {
		t.Errorf("dry run: %v", err)
	}
	other := types.UID("other")
	if err := evict(&metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}}); !apierrors.IsConflict(err) {
		t.Errorf("another pod's uid: %v", err)
	}
	five := int64(5)
	if err := evict(&metav1.DeleteOptions{GracePeriodSeconds: &five}); err != nil {
		t.Fatal(err)
	}
	if p := get(); p.DeletionTimestamp == nil || *p.DeletionGracePeriodSeconds != 5 || conditionOf(p, corev1.DisruptionTarget) == nil {
		t.Errorf("%+v", p)
	}
	if err := c.PolicyV1().Evictions("default").Evict(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "none", Namespace: "default"}}); !apierrors.IsNotFound(err) {
		t.Errorf("no such pod: %v", err)
	}
}

// Why a pod waits stands on it, and is kept up to date without a write.
func TestWaits(t *testing.T) {
	h := start(t)
	pods := h.client().CoreV1().Pods("default")
	big := testPod("big")
	big.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resizeQuantity(100_000)}
	big.Spec.Containers[0].Resources.Requests = nil
	p, err := pods.Create(t.Context(), big, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	req, err := controlplane.PodPlacement(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, why := range []string{"0/1 nodes are available: 1 Insufficient cpu.", "0/2 nodes are available: 2 Insufficient cpu.", "0/2 nodes are available: 2 Insufficient cpu."} {
		h.server.Waits(t.Context(), req, why)
		p, err = pods.Get(t.Context(), "big", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if c := conditionOf(p, corev1.PodScheduled); c == nil || c.Status != corev1.ConditionFalse || c.Reason != "Unschedulable" || c.Message != why {
			t.Errorf("%+v", p.Status.Conditions)
		}
	}
	h.server.Nominated(req, "n1")
	if p, _ = pods.Get(t.Context(), "big", metav1.GetOptions{}); p.Status.NominatedNodeName != "n1" {
		t.Errorf("%+v", p.Status)
	}
	h.server.Nominated(req, "")
	if p, _ = pods.Get(t.Context(), "big", metav1.GetOptions{}); p.Status.NominatedNodeName != "" {
		t.Errorf("nominated no more: %+v", p.Status)
	}
	h.server.Nominated(req, "n1")
	events, err := h.client().CoreV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: "reason=FailedScheduling,involvedObject.name=big"})
	if err != nil || len(events.Items) != 2 {
		t.Errorf("%+v, %v", events, err)
	}
	if err := h.server.Bound(t.Context(), req, "n1"); err != nil {
		t.Fatal(err)
	}
	h.server.Waits(t.Context(), req, "too late")
	h.server.Nominated(req, "n2")
	if p, _ = pods.Get(t.Context(), "big", metav1.GetOptions{}); p.Spec.NodeName != "n1" || p.Status.NominatedNodeName != "" || conditionOf(p, corev1.PodScheduled).Status != corev1.ConditionTrue {
		t.Errorf("%+v", p.Status)
	}
}

func conditionOf(p *corev1.Pod, t corev1.PodConditionType) *corev1.PodCondition {
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == t {
			return &p.Status.Conditions[i]
		}
	}
	return nil
}

func TestKubectlPlacement(t *testing.T) {
	h := start(t)
	k := h.kubectl()
	args := strings.Fields
	k.must("", args("get priorityclasses"), "VALUE", "GLOBAL-DEFAULT", "system-cluster-critical", "2000000000", "PreemptLowerPriority")
	k.must("", args("create priorityclass urgent --value=100 --description=soon"), "priorityclass.scheduling.k8s.io/urgent created")
	k.must("", args("get pc urgent"), "100")
	k.must("", args("describe priorityclass urgent"), "soon")
	k.must("", args("explain priorityclass.value"), "<integer>")
	k.must("", args("taint nodes n1 team=a:NoSchedule"), "node/n1 tainted")
	k.must("", args("describe node n1"), "team=a:NoSchedule")
	k.must("", args("label node n1 disk=ssd"), "node/n1 labeled")
	k.must("", args("taint nodes n1 team-"), "node/n1 untainted")
	k.must(podManifest, args("create -f -"), "pod/web created")
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		k.must("", args("drain n1 --force --timeout=20s"), "node/n1 cordoned", "evicting pod default/web", "node/n1 drained")
	}()
	web := podKey{Resource: "pods", Namespace: "default", Name: "web"}
	h.eventually("the pod to be evicted", func() bool {
		o, ok := h.store.Get(web)
		return ok && o.GetDeletionTimestamp() != nil
	})
	h.store.drop(web) // as its nodelet's report does
	<-drained
	k.must("", args("delete priorityclass urgent"), "deleted")
}
