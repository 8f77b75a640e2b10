package client

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"swell.dev/swell/api/v1alpha1"
)

func sizeList(cpu, memory string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
}

func usage(p50, p90, p95, most string) v1alpha1.UsageSummary {
	q := resource.MustParse
	return v1alpha1.UsageSummary{P50: q(p50), P90: q(p90), P95: q(p95), Max: q(most)}
}

func someRecommendations() []v1alpha1.Recommendation {
	rec := func(namespace, kind, name string, pods int32, containers ...v1alpha1.ContainerRecommendation) v1alpha1.Recommendation {
		return v1alpha1.Recommendation{
			TypeMeta:   metav1.TypeMeta{APIVersion: "swell.dev/v1alpha1", Kind: "Recommendation"},
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: strings.ToLower(kind) + "-" + name}, Pods: pods,
			WorkloadRecommendation: v1alpha1.WorkloadRecommendation{Workload: v1alpha1.WorkloadReference{Kind: kind, Name: name}, Containers: containers},
		}
	}
	web := v1alpha1.ContainerRecommendation{
		Name: "main", Target: sizeList("411m", "345Mi"), LowerBound: sizeList("130m", "300Mi"), UpperBound: sizeList("480m", "400Mi"),
		CPU: usage("113m", "358m", "390m", "800m"), Memory: usage("280Mi", "300Mi", "300Mi", "300Mi"),
		Since: metav1.NewTime(testNow.Add(-72 * time.Hour)), ObservedSeconds: 259200, Samples: 25920, ThrottledPercent: 12,
		Explanation: "cpu: p90 of 3d is 358m, margin 15 %, throttled 12 % of the time lately; memory: p98 of the peaks of 3d is 300Mi, margin 15 %",
	}
	log := v1alpha1.ContainerRecommendation{
		Name: "log", Target: sizeList("12m", "23Mi"), LowerBound: sizeList("12m", "20Mi"), UpperBound: sizeList("100m", "64Mi"),
		CPU: usage("10m", "10m", "10m", "32m"), Memory: usage("20Mi", "20Mi", "20Mi", "20Mi"), ObservedSeconds: 259200, Samples: 25920,
		Explanation: "cpu: p90 of 3d is 10m, margin 15 %; memory: p98 of the peaks of 3d is 20Mi, margin 15 %",
	}
	two := rec("default", "Deployment", "web", 3, web, log)
	two.Current = []v1alpha1.CurrentContainerSize{
		{Name: "log", Size: sizeList("50m", "64Mi")}, {Name: "main", Size: sizeList("250m", "1Gi"), Largest: sizeList("500m", "1Gi")},
	}
	two.Autosize = "web (Off)"
	alone := rec("default", "Pod", "shell", 1, log)
	alone.Current = []v1alpha1.CurrentContainerSize{{Name: "log", Size: sizeList("13m", "24Mi")}}
	gone := rec("team", "CronJob", "nightly", 0, web)
	return []v1alpha1.Recommendation{two, alone, gone}
}

func recommending(t *testing.T) *fakeAPI {
	f := newFakeAPI(t)
	all := someRecommendations()
	list := func(items []v1alpha1.Recommendation) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, v1alpha1.RecommendationList{TypeMeta: metav1.TypeMeta{APIVersion: "swell.dev/v1alpha1", Kind: "RecommendationList"}, Items: items})
		}
	}
	f.group("GET /recommendations", list(all))
	f.group("GET /namespaces/default/recommendations", list(all[:2]))
	f.group("GET /namespaces/team/recommendations", list(all[2:]))
	f.group("GET /namespaces/empty/recommendations", list(nil))
	return f
}

func TestRecommend(t *testing.T) {
	f := recommending(t)
	golden(t, "recommend.golden", f.mustRun("recommend").stdout)
	golden(t, "recommend-all.golden", f.mustRun("recommend", "-A", "-o", "table").stdout)
	golden(t, "recommend-yaml.golden", f.mustRun("recommend", "shell", "-o", "yaml").stdout)
	for _, name := range []string{"web", "deployment/web", "Deployment/web", "deployment-web"} {
		if r := f.mustRun("recommend", name, "-o", "name"); r.stdout != "Deployment/web\n" {
			t.Errorf("%s: printed %q", name, r.stdout)
		}
	}
	if r := f.mustRun("recommend", "-n", "empty"); !strings.HasPrefix(r.stderr, "no recommendations") || r.stdout != "" {
		t.Errorf("without recommendations: %+v", r)
	}
	f.run("recommend", "Pod/web").wantError(t, `recommendations.swell.dev "Pod/web" not found`)
	f.run("recommend", "-o", "xml").wantError(t, "must be one of table, json, yaml, name, vpa, hpa")
}

func TestRecommendVPA(t *testing.T) {
	f := recommending(t)
	r := f.mustRun("recommend", "-A", "-o", "vpa")
	golden(t, "recommend-vpa.golden", r.stdout)
	if want := "left out: Pod/shell: a VerticalPodAutoscaler is for pods that a controller makes (Deployment, StatefulSet, DaemonSet …)\n"; r.stderr != want {
		t.Errorf("told %q, want %q", r.stderr, want)
	}
	var refused *NotScalableError
	if r := f.run("recommend", "shell", "-o", "vpa"); !errors.As(r.err, &refused) || r.stdout != "" {
		t.Errorf("for a pod: %+v", r)
	}
}

// TestRecommendHPA has the manifest read by Kubernetes' own types, strictly.
func TestRecommendHPA(t *testing.T) {
	f := recommending(t)
	r := f.mustRun("recommend", "web", "-o", "hpa")
	golden(t, "recommend-hpa.golden", r.stdout)
	var hpa autoscalingv2.HorizontalPodAutoscaler
	if err := yaml.UnmarshalStrict([]byte(r.stdout), &hpa); err != nil {
		t.Fatal(err)
	}
	s := hpa.Spec
	if hpa.APIVersion != "autoscaling/v2" || s.ScaleTargetRef != (autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}) ||
		*s.MinReplicas < 1 || s.MaxReplicas < *s.MinReplicas || len(s.Metrics) != 2 {
		t.Errorf("%+v", s)
	}
	for _, m := range s.Metrics {
		if m.Type != autoscalingv2.ContainerResourceMetricSourceType || m.ContainerResource.Target.Type != autoscalingv2.UtilizationMetricType {
			t.Errorf("metric %+v", m)
		}
		// What it is for: when the usual load is at the target, the 95th percentile fits.
		if u := *m.ContainerResource.Target.AverageUtilization; m.ContainerResource.Container == "main" && u*390 > 100*113+390 {
			t.Errorf("at %d %% the peaks are above the size", u)
		}
	}
	for _, name := range []string{"shell", "nightly"} {
		ns := map[string]string{"shell": "default", "nightly": "team"}[name]
		var refused *NotScalableError
		if r := f.run("recommend", "-n", ns, name, "-o", "hpa"); !errors.As(r.err, &refused) || r.stdout != "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
