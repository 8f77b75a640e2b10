package apiserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

func withAutosizes(c *Config) {
	c.Admission.DefaultAutosize = func(p *v1alpha1.Autosize) {
		if p.Spec.Mode == "" {
			p.Spec.Mode = v1alpha1.AutosizeAuto
		}
	}
	c.Admission.ValidateAutosize = func(p *v1alpha1.Autosize) field.ErrorList {
		if p.Spec.UpPercent < 0 {
			return field.ErrorList{field.Invalid(field.NewPath("spec", "upPercent"), p.Spec.UpPercent, "must not be negative")}
		}
		return nil
	}
	c.Recommendations = func(namespace, name string) []v1alpha1.Recommendation {
		r := v1alpha1.Recommendation{
			TypeMeta:   metav1.TypeMeta{APIVersion: "swell.dev/v1alpha1", Kind: "Recommendation"},
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "deployment-web"}, Pods: 2, Autosize: "p (Off)",
			WorkloadRecommendation: v1alpha1.WorkloadRecommendation{
				Workload: v1alpha1.WorkloadReference{Kind: "Deployment", Name: "web"},
				Containers: []v1alpha1.ContainerRecommendation{{Name: "c", Explanation: "p90", Target: corev1.ResourceList{
					corev1.ResourceCPU: quantity.MustParse("411m"), corev1.ResourceMemory: quantity.MustParse("64Mi"),
				}}},
			},
		}
		if namespace != "" && namespace != r.Namespace || name != "" && name != r.Name {
			return nil
		}
		return []v1alpha1.Recommendation{r}
	}
}

const autosizesPath = "/apis/swell.dev/v1alpha1/namespaces/default/autosizes"

func TestAutosizes(t *testing.T) {
	h := start(t, withAutosizes)
	read := func(a answer, want int) *v1alpha1.Autosize {
		t.Helper()
		p := &v1alpha1.Autosize{}
		if err := json.Unmarshal(a.body, p); err != nil || a.code != want {
			t.Fatalf("%d %s, want %d", a.code, a.body, want)
		}
		return p
	}
	body := `{"apiVersion":"swell.dev/v1alpha1","kind":"Autosize","metadata":{"name":"p"},"spec":{"workload":{"kind":"App","name":"web"},"upPercent":50,"containers":[{"name":"*","max":{"cpu":"2"}}]},"status":{"resizes":7}}`
	p := read(h.do(http.MethodPost, autosizesPath, body), http.StatusCreated)
	if p.Spec.Mode != v1alpha1.AutosizeAuto || p.Spec.UpPercent != 50 || p.Spec.Containers[0].Max.Cpu().Value() != 2 || p.Status.Resizes != 0 || p.Generation != 1 {
		t.Errorf("created %+v", p)
	}
	if a := h.do(http.MethodPost, autosizesPath, strings.Replace(body, "50", "-50", 1)); a.code != http.StatusUnprocessableEntity || !strings.Contains(string(a.body), "spec.upPercent") {
		t.Errorf("%d %s", a.code, a.body)
	}
	if a := h.do(http.MethodPost, autosizesPath+"?fieldValidation=Strict", strings.Replace(body, "upPercent", "upPercents", 1)); a.code != http.StatusBadRequest || !strings.Contains(string(a.body), "upPercents") {
		t.Errorf("%d %s", a.code, a.body)
	}
	// Its status is the server's.
	key := controlplane.Key{Resource: "autosizes", Namespace: "default", Name: "p"}
	o, _ := h.store.Get(key)
	seen := o.(*v1alpha1.Autosize).DeepCopy()
	seen.Status = v1alpha1.AutosizeStatus{Resizes: 3, Pods: 4, WorkloadsInAll: 1}
	h.store.put(key, seen)
	p = read(h.do(http.MethodPatch, autosizesPath+"/p", `{"spec":{"mode":"Off"},"status":{"resizes":9}}`, "Content-Type", "application/merge-patch+json"), http.StatusOK)
	if p.Spec.Mode != v1alpha1.AutosizeOff || p.Status.Resizes != 3 || p.Generation != 2 {
		t.Errorf("patched %+v", p)
	}
	applied := `{"apiVersion":"swell.dev/v1alpha1","kind":"Autosize","metadata":{"name":"p"},"spec":{"mode":"Initial"}}`
	p = read(h.do(http.MethodPatch, autosizesPath+"/p?fieldManager=me&force=true", applied, "Content-Type", "application/apply-patch+yaml"), http.StatusOK)
	if p.Spec.Mode != v1alpha1.AutosizeInitial || p.Status.Pods != 4 || p.Generation != 3 {
		t.Errorf("applied %+v", p)
	}
	a := h.do(http.MethodGet, autosizesPath, "", "Accept", "application/json;as=Table;g=meta.k8s.io;v=v1")
	if !strings.Contains(string(a.body), `"App/web"`) || !strings.Contains(string(a.body), "Resizes") {
		t.Errorf("table %s", a.body)
	}
	for _, path := range []string{"/apis/swell.dev/v1alpha1", "/openapi/v3/apis/swell.dev/v1alpha1"} {
		if a := h.do(http.MethodGet, path, ""); a.code != http.StatusOK || !strings.Contains(string(a.body), "autosizes") || !strings.Contains(string(a.body), "recommendations") {
			t.Errorf("%s: %d", path, a.code)
		}
	}
	if a := h.do(http.MethodDelete, autosizesPath+"/p", ""); a.code != http.StatusOK {
		t.Errorf("%d %s", a.code, a.body)
	}
	for _, kind := range []string{"autosizes", "recommendations"} {
		if a := start(t).do(http.MethodGet, "/apis/swell.dev/v1alpha1/"+kind, ""); a.code != http.StatusNotFound {
			t.Errorf("%s aren't served, and yet %d", kind, a.code)
		}
	}
}

func TestRecommendations(t *testing.T) {
	h := start(t, withAutosizes)
	const path = "/apis/swell.dev/v1alpha1/namespaces/default/recommendations"
	var list v1alpha1.RecommendationList
	h.do(http.MethodGet, "/apis/swell.dev/v1alpha1/recommendations", "").into(t, &list)
	if len(list.Items) != 1 || list.Kind != "RecommendationList" || list.Items[0].Containers[0].Target.Cpu().MilliValue() != 411 {
		t.Errorf("%+v", list)
	}
	var one v1alpha1.Recommendation
	h.do(http.MethodGet, path+"/deployment-web", "").into(t, &one)
	if one.Workload.Name != "web" || one.Pods != 2 {
		t.Errorf("%+v", one)
	}
	a := h.do(http.MethodGet, path, "", "Accept", "application/json;as=Table;g=meta.k8s.io;v=v1")
	if !strings.Contains(string(a.body), `"deployment-web",2,1,"411m","64Mi","p (Off)"`) {
		t.Errorf("table %s", a.body)
	}
	if a := h.do(http.MethodGet, path+"/pod-x", ""); a.code != http.StatusNotFound {
		t.Errorf("%d %s", a.code, a.body)
	}
	if a := h.do(http.MethodPost, path, "{}"); a.code != http.StatusMethodNotAllowed {
		t.Errorf("%d %s", a.code, a.body)
	}
}

func setCPU(pod *corev1.Pod, cpu string) {
	r := pod.Spec.Containers[0].Resources.DeepCopy()
	r.Requests[corev1.ResourceCPU], r.Limits[corev1.ResourceCPU] = quantity.MustParse(cpu), quantity.MustParse(cpu)
	pod.Spec.Containers[0].Resources = *r
}

// TestResizePod: Autosize's way is a user's: by the same rules, with the ledger's verdict.
func TestResizePod(t *testing.T) {
	h := start(t)
	ctx := testContext(t)
	created, err := h.client().CoreV1().Pods("default").Create(ctx, testPod("a"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	key, uid := controlplane.Key{Resource: "pods", Namespace: "default", Name: "a"}, string(created.UID)
	to := func(cpu string) func(*corev1.Pod) error {
		return func(p *corev1.Pod) error {
			setCPU(p, cpu)
			p.Labels = map[string]string{"stray": "edit"}
			p.Annotations = map[string]string{v1alpha1.AnnotationAutosized: "{}", "stray": "edit"}
			return nil
		}
	}
	p, err := h.server.ResizePod(ctx, key, uid, to("2"))
	if err != nil {
		t.Fatal(err)
	}
	if p.Generation != 2 || p.Spec.Containers[0].Resources.Limits.Cpu().Value() != 2 || p.Annotations[v1alpha1.AnnotationAutosized] != "{}" ||
		p.Annotations["stray"] != "" || p.Labels["stray"] != "" {
		t.Errorf("resized to %+v", p)
	}
	if d := h.ledger.holds(uid); d.CPUMilli != 2000 {
		t.Errorf("the ledger holds %+v", d)
	}
	if same, err := h.server.ResizePod(ctx, key, uid, to("2")); err != nil || same.Generation != 2 {
		t.Errorf("the same size: %v, %v", same, err)
	}
	// What doesn't fit now waits; what no node could hold, or the rules forbid, is refused.
	other := testPod("other")
	setCPU(other, "1")
	if _, err := h.client().CoreV1().Pods("default").Create(ctx, other, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if p, err = h.server.ResizePod(ctx, key, uid, to("3500m")); err != nil {
		t.Fatal(err)
	}
	if c := condition(p, corev1.PodResizePending); c == nil || c.Reason != corev1.PodReasonDeferred || p.Annotations[v1alpha1.AnnotationAllocated] == "" || p.Annotations[v1alpha1.AnnotationAutosized] == "" {
		t.Errorf("waits as %+v", p)
	}
	if _, err = h.server.ResizePod(ctx, key, uid, to("64")); !errors.Is(err, controlplane.ErrInfeasible) {
		t.Errorf("64 CPUs: %v", err)
	}
	if _, err = h.server.ResizePod(ctx, key, uid, func(p *corev1.Pod) error {
		r := p.Spec.Containers[0].Resources.DeepCopy()
		r.Requests[corev1.ResourceCPU] = quantity.MustParse("1m")
		p.Spec.Containers[0].Resources = *r
		return nil
	}); !apierrors.IsInvalid(err) {
		t.Errorf("another class: %v", err)
	}
	abandoned := errors.New("no need")
	if _, err = h.server.ResizePod(ctx, key, uid, func(*corev1.Pod) error { return abandoned }); !errors.Is(err, abandoned) {
		t.Errorf("abandoned: %v", err)
	}
	if _, err = h.server.ResizePod(ctx, key, "another", to("1")); !errors.Is(err, controlplane.ErrNotFound) {
		t.Errorf("another pod of that name: %v", err)
	}
	h.server.Record(ctx, p, corev1.EventTypeNormal, "Autosized", "cpu 1 → 2")
	events, _ := h.store.List("events", "default")
	if !slices.ContainsFunc(events, func(o controlplane.Object) bool {
		e := o.(*corev1.Event)
		return e.Reason == "Autosized" && e.Source.Component == "autosize" && string(e.InvolvedObject.UID) == uid
	}) {
		t.Errorf("events %v", events)
	}
}

// TestInitialSize: a new pod gets its size before it is placed, also where its spec is one that is shared; the spec
// of the others stays as it is.
func TestInitialSize(t *testing.T) {
	looked := 0
	h := start(t, knowing(&looked), func(c *Config) {
		c.InitialSize = func(p *corev1.Pod) bool {
			if p.Labels["of"] != "sized" {
				return false
			}
			p.Spec.Containers = slices.Clone(p.Spec.Containers)
			setCPU(p, "300m")
			if p.Annotations == nil {
				p.Annotations = map[string]string{}
			}
			p.Annotations[v1alpha1.AnnotationAutosized] = "{}"
			return true
		}
	})
	pods := h.protobufClient().CoreV1().Pods("default")
	for i, name := range []string{"first", "sized", "last"} {
		pod := templatePod(name, "10m")
		pod.Annotations = map[string]string{v1alpha1.AnnotationAutosized: "forged"}
		made, err := pods.Create(t.Context(), pod, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		cpu, note := int64(10), ""
		if name == "sized" {
			cpu, note = 300, "{}"
		}
		if got := made.Spec.Containers[0].Resources.Limits.Cpu().MilliValue(); got != cpu || made.Annotations[v1alpha1.AnnotationAutosized] != note || made.Status.QOSClass != corev1.PodQOSGuaranteed {
			t.Errorf("pod %d has %dm: %+v", i, got, made)
		}
		if d := h.ledger.holds(string(made.UID)); d.CPUMilli != cpu {
			t.Errorf("pod %d: the ledger holds %+v", i, d)
		}
	}
	if looked != 1 {
		t.Errorf("%d specs were looked at, want one", looked)
	}
	dry, err := pods.Create(t.Context(), func() *corev1.Pod { p := templatePod("dry", "10m"); p.Labels["of"] = "sized"; return p }(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil || dry.Spec.Containers[0].Resources.Limits.Cpu().MilliValue() != 300 {
		t.Errorf("a dry run: %v, %v", dry, err)
	}
}

// TestInitialSizeAndSlots: a pod that is given another size takes no slot of the size that it was sent with.
func TestInitialSizeAndSlots(t *testing.T) {
	looked, sizing := 0, false
	h := start(t, knowing(&looked), func(c *Config) {
		c.Slots = &slotBook{}
		c.InitialSize = func(p *corev1.Pod) bool {
			if sizing {
				p.Spec.Containers = slices.Clone(p.Spec.Containers)
				setCPU(p, "300m")
				p.Annotations = map[string]string{v1alpha1.AnnotationAutosized: "{}"}
			}
			return sizing
		}
	})
	pods := h.protobufClient().CoreV1().Pods("default")
	workload := func(cpu string) controlplane.Workload {
		p := templatePod("expected", cpu)
		testDefault(p)
		p.Spec.Priority, p.Spec.PreemptionPolicy = noPriority, preempts
		return controlplane.Workload{Namespace: "default", Template: controlplane.PodTemplate(p)}
	}
	h.ledger.mu.Lock()
	h.ledger.slots[workload("10m")], h.ledger.slots[workload("300m")] = []string{"small-1", "small-2", "small-3"}, []string{"large-1"}
	h.ledger.mu.Unlock()
	for i, want := range []string{"small-1", "small-2", "large-1", ""} {
		sizing = i >= 2
		made, err := pods.Create(t.Context(), templatePod(fmt.Sprint("p", i), "10m"), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(made.UID); got != want && (want != "" || len(got) != len("01234567-89ab-cdef-0123-456789abcdef")) { // "": a UID of its own
			t.Errorf("pod %d takes %q, want %q", i, made.UID, want)
		}
	}
	if looked != 1 {
		t.Errorf("%d specs were looked at, want one", looked)
	}
}

// TestKubectlAutosize is what users type.
func TestKubectlAutosize(t *testing.T) {
	h := start(t, withAutosizes)
	k := h.kubectl()
	policy := "apiVersion: swell.dev/v1alpha1\nkind: Autosize\nmetadata: {name: web}\nspec: {selector: {matchLabels: {app: web}}, upPercent: %d}\n"
	for _, step := range []struct {
		stdin, args, want string
		fails             bool
	}{
		{fmt.Sprintf(policy, 50), "apply -f -", "autosize.swell.dev/web created", false},
		{fmt.Sprintf(policy, 60), "apply -f -", "autosize.swell.dev/web configured", false},
		{fmt.Sprintf(policy, -1), "apply -f -", "spec.upPercent: Invalid value: -1", true},
		{"", "get asz", "app=web", false},
		{"", "describe autosize web", "Up Percent:", false},
		{"", "explain autosize.spec.cooldownSeconds", "cooldownSeconds", false},
		{"", "get recommendations", "deployment-web", false},
		{"", "get rec deployment-web -o yaml", "explanation: p90", false},
		{"", "delete autosize web", `"web" deleted`, false},
	} {
		out, err := k.run(step.stdin, strings.Fields(step.args)...)
		if (err != nil) != step.fails || !strings.Contains(out, step.want) {
			t.Errorf("kubectl %s: %v\n%s", step.args, err, out)
		}
	}
}
