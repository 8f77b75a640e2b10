package v1alpha1

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func cpuSize(milli int64) corev1.ResourceRequirements {
	q := corev1.ResourceList{corev1.ResourceCPU: *resource.NewMilliQuantity(milli, resource.DecimalSI)}
	return corev1.ResourceRequirements{Requests: q, Limits: q.DeepCopy()}
}

func TestParseBoosts(t *testing.T) {
	for text, canonical := range map[string]string{
		"cpu=2":                              "cpu=2",
		" cpu=1500m , for=90s ":              "cpu=1500m,for=1m30s",
		"app:cpu=3x":                         "app:cpu=3x",
		"required, cpu=2":                    "cpu=2,required",
		"app:cpu=3x,for=2s,required;cpu=2":   "app:cpu=3x,for=2s,required;cpu=2",
		"for=1s,cpu=0.5;app:cpu=2.5x,for=1m": "cpu=500m,for=1s;app:cpu=2.5x,for=1m0s",
	} {
		b, err := ParseBoosts(text)
		if err != nil || b.String() != canonical {
			t.Errorf("%q: %q, %v; want %q", text, b, err, canonical)
		}
	}
	for text, want := range map[string]string{
		"":                        `"": must be cpu=CPU, for=DURATION or required`,
		"for=3s":                  "cpu is missing",
		"cpu=1x":                  "must be more than 1x",
		"cpu=NaNx":                "must be more than 1x",
		"cpu=101x":                "at most 100x",
		"cpu=0":                   "must be more than 0",
		"cpu=1001":                "at most 1000",
		"cpu=lots":                "must be a quantity such as 2",
		"cpu=2,for=soon":          "for=soon: must be a duration such as 90s, from 100ms to 1h0m0s",
		"cpu=2,for=2h":            "for=2h",
		"cpu=2,cpu=3":             "cpu is there twice",
		"cpu=2;cpu=3":             "there is a clause",
		"cpu=2;":                  "must be cpu=CPU",
		"required":                "cpu is missing",
		"cpu=2,required=yes":      `"required=yes": must be`,
		"cpu=2,required,required": "required is there twice",
		":cpu=2":                  "name is missing",
		"memory=1Gi":              `"memory=1Gi": must be cpu=CPU`,
		"app:cpu=2;app:cpu=3x":    `there is a clause "app:cpu=2" already`,
	} {
		if _, err := ParseBoosts(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", text, err, want)
		}
	}
}

func TestBoostOf(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	pod := func(annotation string) *corev1.Pod {
		p := &corev1.Pod{}
		p.Annotations = map[string]string{AnnotationStartupBoost: annotation}
		p.Spec.InitContainers = []corev1.Container{
			{Name: "proxy", RestartPolicy: &always, Resources: cpuSize(100)},
			{Name: "migrate", Resources: cpuSize(1000)},
		}
		p.Spec.Containers = []corev1.Container{{Name: "app", Resources: cpuSize(500)}, {Name: "log", Resources: cpuSize(200)}}
		return p
	}
	for annotation, want := range map[string]int64{
		"app:cpu=2":             2000 + 200 + 100 - (1000 + 100), // beyond what the init container needs
		"app:cpu=700m":          0,                               // 1000m, still less than what that needs
		"cpu=2x":                1000 + 400 + 200 - 1100,
		"app:cpu=500m":          0,
		"proxy:cpu=2":           2000 + 1000 - 1100, // while migrate runs
		"cpu=10m;app:cpu=1500m": 1500 + 200 + 100 - 1100,
	} {
		got, err := BoostOf(pod(annotation))
		if err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", annotation, got, err, want)
		}
	}
	if err := CheckBoosts(pod("migrate:cpu=2")); err == nil || !strings.Contains(err.Error(), "migrate: must name a container") {
		t.Errorf("an init container that ends: %v", err)
	}
	if err := CheckBoosts(pod("proxy:cpu=2;cpu=3x")); err != nil {
		t.Error(err)
	}
}

func TestBoosted(t *testing.T) {
	got := Boosted(cpuSize(500), 2000)
	if got.Limits.Cpu().MilliValue() != 2000 || got.Requests.Cpu().MilliValue() != 2000 {
		t.Errorf("%v", got)
	}
	plain := cpuSize(500)
	if got := Boosted(plain, 300); got.Limits.Cpu().MilliValue() != 500 {
		t.Errorf("lowered: %v", got)
	}
	open := corev1.ResourceRequirements{Requests: cpuSize(500).Requests}
	if got := Boosted(open, 2000); got.Limits != nil || got.Requests.Cpu().MilliValue() != 2000 {
		t.Errorf("a limit where there was none: %v", got)
	}
	if open.Requests.Cpu().MilliValue() != 500 {
		t.Error("the argument was changed")
	}
}

func TestBoostPolicy(t *testing.T) {
	spec := &StartupBoostSpec{CPU: "2", For: "1m", Containers: []ContainerBoost{{Name: "app", CPU: "3x"}, {Name: "other", CPU: "4"}}}
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}}}
	if got := spec.Annotation(pod); got != "cpu=2,for=1m0s;app:cpu=3x" {
		t.Errorf("%q", got)
	}
	spec.Required = true
	if got, err := ParseBoosts(spec.Annotation(pod)); err != nil || !got.Required() {
		t.Errorf("of a policy that requires it: %v, %v", got, err)
	}
	b := Boosts{{CPUMilli: 2000}, {Container: "app", Factor: 3}}
	if b.Required() {
		t.Error("nothing requires it")
	}
	if b.Of("app").Factor != 3 || b.Of("other").CPUMilli != 2000 {
		t.Error("the clause of its own goes first")
	}
	if d := b.Of("app").Limit(true); d != 5*time.Minute {
		t.Error(d)
	}
	if d := b.Of("app").Limit(false); d != 30*time.Second {
		t.Error(d)
	}
}
