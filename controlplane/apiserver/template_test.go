package apiserver

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/kubernetes"
)

// knowing lets the server remember specs, and counts how many it looks at.
func knowing(looked *int) func(*Config) {
	return func(c *Config) {
		validate := c.Admission.Validate
		c.Admission.Validate = func(p *corev1.Pod) field.ErrorList {
			*looked++
			return validate(p)
		}
		c.Admission.ValidateMeta = func(p *corev1.Pod) field.ErrorList {
			return validation.ValidateObjectMeta(&p.ObjectMeta, true, validation.NameIsDNSSubdomain, field.NewPath("metadata"))
		}
	}
}

func (h *harness) protobufClient() *kubernetes.Clientset {
	h.t.Helper()
	cfg := h.rest()
	cfg.ContentType = runtime.ContentTypeProtobuf
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	return client
}

func templatePod(name, cpu string) *corev1.Pod {
	list := corev1.ResourceList{corev1.ResourceCPU: quantity.MustParse(cpu), corev1.ResourceMemory: quantity.MustParse("8Mi")}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"of": name}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "example.com/a:1", Resources: corev1.ResourceRequirements{Requests: list, Limits: list}}}},
	}
}

// TestKnownSpec: a pod whose spec came before is as one whose spec is new, but for being looked at once.
func TestKnownSpec(t *testing.T) {
	looked := 0
	h := start(t, knowing(&looked))
	pods := h.protobufClient().CoreV1().Pods("default")
	var made []*corev1.Pod
	for i := range 3 {
		pod, err := pods.Create(t.Context(), templatePod(fmt.Sprintf("p%d", i), "10m"), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, pod)
	}
	if looked != 1 {
		t.Errorf("%d specs were looked at, want one", looked)
	}
	uids := map[types.UID]bool{}
	for i, pod := range made {
		uids[pod.UID] = true
		if pod.Spec.NodeName != "n1" || pod.Name != fmt.Sprintf("p%d", i) || pod.Labels["of"] != pod.Name || pod.Status.Phase != corev1.PodPending {
			t.Errorf("pod %d: %+v", i, pod)
		}
		if !equality.Semantic.DeepEqual(pod.Spec, made[0].Spec) || pod.Status.QOSClass != made[0].Status.QOSClass {
			t.Errorf("pod %d differs from the first: %+v", i, pod.Spec)
		}
	}
	if len(uids) != 3 {
		t.Errorf("%d UIDs for three pods", len(uids))
	}
	// A change of one leaves those that share its spec alone.
	if _, err := pods.Patch(t.Context(), "p0", types.StrategicMergePatchType, []byte(`{"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"20m"},"requests":{"cpu":"20m"}}}]}}`),
		metav1.PatchOptions{}, "resize"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"p0": "20m", "p1": "10m"} {
		pod, err := pods.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := pod.Spec.Containers[0].Resources.Limits.Cpu().String(); got != want {
			t.Errorf("%s has %s CPU, want %s", name, got, want)
		}
	}
	if pod, err := pods.Create(t.Context(), templatePod("p3", "10m"), metav1.CreateOptions{}); err != nil || pod.Spec.Containers[0].Resources.Limits.Cpu().String() != "10m" {
		t.Errorf("after another's resize: %v, %v", pod, err)
	}
}

func TestKnownSpecIsChecked(t *testing.T) {
	looked := 0
	h := start(t, knowing(&looked))
	pods := h.protobufClient().CoreV1().Pods("default")
	create := func(pod *corev1.Pod, opts metav1.CreateOptions) error {
		_, err := pods.Create(t.Context(), pod, opts)
		return err
	}
	if err := create(templatePod("known", "10m"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	bad := templatePod("p", "10m")
	bad.Labels = map[string]string{"not a label": ""}
	foreign := templatePod("p", "10m")
	foreign.Namespace = "other"
	for name, c := range map[string]struct {
		pod  *corev1.Pod
		opts metav1.CreateOptions
		want func(error) bool
	}{
		"label":        {bad, metav1.CreateOptions{}, apierrors.IsInvalid},
		"no name":      {templatePod("", "10m"), metav1.CreateOptions{}, apierrors.IsInvalid},
		"taken name":   {templatePod("known", "10m"), metav1.CreateOptions{}, apierrors.IsAlreadyExists},
		"another size": {templatePod("p", "-1"), metav1.CreateOptions{}, apierrors.IsInvalid},
		"namespace":    {foreign, metav1.CreateOptions{}, apierrors.IsBadRequest},
	} {
		if err := create(c.pod, c.opts); !c.want(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := create(templatePod("dry", "10m"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
		t.Errorf("dry run: %v", err)
	}
	if _, err := pods.Get(t.Context(), "dry", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a dry run made a pod: %v", err)
	}
	if looked != 2 {
		t.Errorf("%d specs were looked at, want the known one and the one of another size", looked)
	}
}

// TestTemplatesAreBounded: what is asked for stays, what isn't goes.
func TestTemplatesAreBounded(t *testing.T) {
	var known templates
	kept := &knownSpec{}
	known.add(specKey{0, "kept"}, kept)
	for i := range 3 * maxAdmitted {
		known.add(specKey{0, fmt.Sprint(i)}, &knownSpec{})
		if known.find([]byte("kept"), 0) != kept {
			t.Fatalf("what was asked for is gone after %d others", i)
		}
	}
	if n := len(known.now) + len(known.old); n > maxAdmitted {
		t.Errorf("%d specs are remembered, more than %d", n, maxAdmitted)
	}
	if known.find([]byte("0"), 0) != nil {
		t.Error("the first of many is still there")
	}
	known.add(specKey{0, string(make([]byte, maxAdmittedBytes+1))}, kept)
	if known.find(make([]byte, maxAdmittedBytes+1), 0) != nil {
		t.Error("a spec above the limit is remembered")
	}
}

func TestSplitPodTakesPlainOnesOnly(t *testing.T) {
	pod := templatePod("p", "10m")
	raw, err := pod.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	body := func(change func(*runtime.Unknown)) []byte {
		u := &runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "v1", Kind: "Pod"}, Raw: raw}
		change(u)
		b, err := u.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return append([]byte(protobufPrefix), b...)
	}
	whole := body(func(*runtime.Unknown) {})
	if _, spec, plain := splitPod(whole); !plain || len(spec) != pod.Spec.Size() {
		t.Errorf("a plain pod: %d bytes, %v", len(spec), plain)
	}
	for name, data := range map[string][]byte{
		"empty":        nil,
		"JSON":         []byte(`{"kind":"Pod"}`),
		"another kind": body(func(u *runtime.Unknown) { u.Kind = "Secret" }),
		"no version":   body(func(u *runtime.Unknown) { u.APIVersion = "" }),
		"compressed":   body(func(u *runtime.Unknown) { u.ContentEncoding = "gzip" }),
		"two specs":    body(func(u *runtime.Unknown) { u.Raw = append(append([]byte{}, raw...), raw...) }),
		"another type": body(func(u *runtime.Unknown) { u.Raw = append([]byte{0x20, 1}, raw...) }),
		"cut off":      whole[:len(whole)-20],
	} {
		if _, _, plain := splitPod(data); plain {
			t.Errorf("%s is taken for a plain pod", name)
		}
	}
}
