package apiserver

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
)

// withLimitRanges serves limit ranges whose default and maximum of CPU hold, and nothing else of them.
func withLimitRanges(c *Config) {
	first := func(lr *corev1.LimitRange) *corev1.LimitRangeItem { return &lr.Spec.Limits[0] }
	c.Admission.DefaultLimitRange = func(lr *corev1.LimitRange) {
		if l := first(lr); l.Default == nil {
			l.Default = l.Max
		}
	}
	c.Admission.ValidateLimitRange = func(lr *corev1.LimitRange) field.ErrorList {
		if l := first(lr); l.Type != corev1.LimitTypeContainer {
			return field.ErrorList{field.NotSupported(field.NewPath("spec", "limits").Index(0).Child("type"), l.Type, []corev1.LimitType{corev1.LimitTypeContainer})}
		}
		return nil
	}
	c.Admission.LimitPod = func(pod *corev1.Pod, ranges []*corev1.LimitRange) string {
		note := ""
		for i := range pod.Spec.Containers {
			for _, lr := range ranges {
				if r := &pod.Spec.Containers[i].Resources; r.Limits == nil {
					r.Limits = first(lr).Default.DeepCopy()
					note = "LimitRanger plugin set: by " + lr.Name
				}
			}
		}
		return note
	}
	c.Admission.CheckLimits = func(pod *corev1.Pod, ranges []*corev1.LimitRange) error {
		for i := range pod.Spec.Containers {
			for _, lr := range ranges {
				most, limit := first(lr).Max[corev1.ResourceCPU], pod.Spec.Containers[i].Resources.Limits[corev1.ResourceCPU]
				if limit.Cmp(most) > 0 {
					return fmt.Errorf("maximum cpu usage per Container is %s, but limit is %s", most.String(), limit.String())
				}
			}
		}
		return nil
	}
}

const limitRangesPath = "/api/v1/namespaces/default/limitranges"

func cpuRange(name, byDefault, most string) *corev1.LimitRange {
	l := corev1.LimitRangeItem{Type: corev1.LimitTypeContainer, Max: corev1.ResourceList{corev1.ResourceCPU: quantity.MustParse(most)}}
	if byDefault != "" {
		l.Default = corev1.ResourceList{corev1.ResourceCPU: quantity.MustParse(byDefault)}
	}
	return &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{l}}}
}

func TestLimitRanges(t *testing.T) {
	h := start(t, withLimitRanges)
	ranges := h.client().CoreV1().LimitRanges("default")
	lr, err := ranges.Create(t.Context(), cpuRange("l", "", "1"), metav1.CreateOptions{})
	if err != nil || lr.Spec.Limits[0].Default.Cpu().String() != "1" || lr.Generation != 0 {
		t.Fatalf("%+v, %v", lr, err)
	}
	bad := cpuRange("bad", "", "1")
	bad.Spec.Limits[0].Type = corev1.LimitTypePersistentVolumeClaim
	if _, err := ranges.Create(t.Context(), bad, metav1.CreateOptions{}); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), `spec.limits[0].type: Unsupported value: "PersistentVolumeClaim"`) {
		t.Errorf("another type: %v", err)
	}
	if lr, err = ranges.Patch(t.Context(), "l", types.StrategicMergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{}); err != nil || lr.Generation != 0 {
		t.Errorf("%+v, %v", lr, err)
	}
	apply := `{"apiVersion":"v1","kind":"LimitRange","metadata":{"name":"applied"},"spec":{"limits":[{"type":"Container","max":{"cpu":"3"}}]}}`
	if lr, err = ranges.Patch(t.Context(), "applied", types.ApplyYAMLPatchType, []byte(apply), metav1.PatchOptions{FieldManager: "m"}); err != nil || lr.Spec.Limits[0].Default.Cpu().String() != "3" {
		t.Errorf("%+v, %v", lr, err)
	}
	if a := h.do(http.MethodGet, limitRangesPath, "", "Accept", "application/json;as=Table;g=meta.k8s.io;v=v1"); !strings.Contains(string(a.body), `"Created At"`) || !strings.Contains(string(a.body), `"cells":["l","20`) {
		t.Errorf("table %s", a.body)
	}
	if a := h.do(http.MethodGet, "/api/v1", ""); !strings.Contains(string(a.body), `"shortNames":["limits"]`) {
		t.Errorf("discovery %s", a.body)
	}
	if a := h.do(http.MethodGet, "/openapi/v3/api/v1", ""); a.code != http.StatusOK || !strings.Contains(string(a.body), "maxLimitRequestRatio") {
		t.Errorf("openapi %d", a.code)
	}
	if a := start(t).do(http.MethodGet, limitRangesPath, ""); a.code != http.StatusNotFound {
		t.Errorf("not served, and yet %d", a.code)
	}
}

// sizeless is a pod that names no size.
func sizeless(name string) *corev1.Pod {
	pod := testPod(name)
	pod.Spec.Containers[0].Resources = corev1.ResourceRequirements{}
	return pod
}

// TestLimitsOfPods: what holds is what is there when a pod comes, whatever was known of its spec, and of its namespace
// alone.
func TestLimitsOfPods(t *testing.T) {
	looked := 0
	h := start(t, knowing(&looked), withLimitRanges)
	client := h.protobufClient()
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "other"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ranges := client.CoreV1().LimitRanges("default")
	n := 0
	expect := func(namespace, cpu, note string) {
		t.Helper()
		for range 2 { // as a new spec, and as a known one
			n++
			pod, err := client.CoreV1().Pods(namespace).Create(t.Context(), func() *corev1.Pod {
				p := sizeless(fmt.Sprint("p", n))
				p.Namespace = ""
				return p
			}(), metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got := pod.Spec.Containers[0].Resources.Limits.Cpu().String(); got != cpu || pod.Annotations[annotationLimitRanger] != note {
				t.Errorf("a pod in %s has %s CPU by %q, want %s by %q", namespace, got, pod.Annotations[annotationLimitRanger], cpu, note)
			}
		}
	}
	expect("default", "0", "")
	if _, err := ranges.Create(t.Context(), cpuRange("l", "100m", "1"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	expect("default", "100m", "LimitRanger plugin set: by l")
	expect("other", "0", "")
	if _, err := ranges.Update(t.Context(), cpuRange("l", "200m", "1"), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	expect("default", "200m", "LimitRanger plugin set: by l")
	if looked != 3 {
		t.Errorf("%d specs were looked at, want one for each set of limits", looked)
	}

	big := testPod("big")
	big.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: quantity.MustParse("2")}
	_, err := client.CoreV1().Pods("default").Create(t.Context(), big, metav1.CreateOptions{})
	if want := `pods "big" is forbidden: maximum cpu usage per Container is 1, but limit is 2`; !apierrors.IsForbidden(err) || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if _, err := client.CoreV1().Pods("default").Create(t.Context(), big, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); !apierrors.IsForbidden(err) {
		t.Errorf("a dry run: %v", err)
	}
	if _, err := client.CoreV1().Pods("default").Create(t.Context(), testPod("a"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = h.resize("a", "2")
	if want := `pods "a" is forbidden: maximum cpu usage per Container is 1, but limit is 2`; !apierrors.IsForbidden(err) || err.Error() != want {
		t.Errorf("a resize: %v, want %s", err, want)
	}
	if _, err := h.resize("a", "1"); err != nil {
		t.Errorf("a resize within limits: %v", err)
	}
	// A pod that goes is nobody's to size.
	h.store.observe("default", "a", func(p *corev1.Pod) { now := metav1.Now(); p.DeletionTimestamp = &now })
	if _, err := h.resize("a", "2"); err != nil {
		t.Errorf("a resize of one that is being deleted: %v", err)
	}
	if err := ranges.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	expect("default", "0", "")
	if _, err := client.CoreV1().Pods("default").Create(t.Context(), big, metav1.CreateOptions{}); err != nil {
		t.Errorf("without limits: %v", err)
	}
}

// TestLimitsAfterARestart: those that are stored hold from the first request.
func TestLimitsAfterARestart(t *testing.T) {
	var cfg Config
	h := start(t, withLimitRanges, func(c *Config) { cfg = *c })
	if _, err := h.client().CoreV1().LimitRanges("default").Create(t.Context(), cpuRange("l", "", "100m"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	again, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.outsideLimits(testPod("a")); !apierrors.IsForbidden(err) {
		t.Errorf("%v", err)
	}
}

// TestInitialSizeWithinLimits: a policy's size that isn't allowed isn't given; the pod has its own.
func TestInitialSizeWithinLimits(t *testing.T) {
	to := "800m"
	h := start(t, withLimitRanges, func(c *Config) {
		c.InitialSize = func(pod *corev1.Pod) bool {
			own := *pod.Spec.Containers[0].DeepCopy()
			for _, list := range []corev1.ResourceList{own.Resources.Requests, own.Resources.Limits} {
				list[corev1.ResourceCPU] = quantity.MustParse(to)
			}
			pod.Spec.Containers = []corev1.Container{own}
			pod.Annotations = map[string]string{v1alpha1.AnnotationAutosized: "{}"}
			return true
		}
	})
	if _, err := h.client().CoreV1().LimitRanges("default").Create(t.Context(), cpuRange("l", "", "1"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ to, want string }{{"800m", "800m"}, {"1200m", "500m"}} {
		to = c.to
		pod, err := h.client().CoreV1().Pods("default").Create(t.Context(), testPod("p"+c.to), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		_, noted := pod.Annotations[v1alpha1.AnnotationAutosized]
		if got := pod.Spec.Containers[0].Resources.Limits.Cpu().String(); got != c.want || noted != (c.to == c.want) {
			t.Errorf("sized to %s: has %s, annotation %v; want %s", c.to, got, noted, c.want)
		}
	}
}
