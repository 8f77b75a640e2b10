package role

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/billing"
)

func TestPrices(t *testing.T) {
	now := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	of := func(book string) *prices {
		books, err := billing.LoadBooks(book)
		if err != nil {
			t.Fatal(err)
		}
		return &prices{books: books, region: func(string) string { return "" }, now: func() time.Time { return now }}
	}
	pod := func(cpu, memory string, annotations ...string) *corev1.Pod {
		list := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{Requests: list, Limits: list}}}}}
		p.Annotations = map[string]string{}
		for i := 0; i < len(annotations); i += 2 {
			p.Annotations[annotations[i]] = annotations[i+1]
		}
		return p
	}
	for _, c := range []struct {
		book            string
		pod             *corev1.Pod
		perHour, billed string
	}{
		{"exact", pod("500m", "256Mi"), "0.0375 CNY", "cpu=500m,memory=256Mi"},
		{"acs", pod("500m", "256Mi"), "0.06 CNY", "cpu=500m,memory=1Gi"},
		{"exact", pod("2", "4Gi", v1alpha1.AnnotationQoS, v1alpha1.QoSBestEffort), "0.048 CNY", "cpu=2,memory=4Gi"},
		{"exact", pod("1", "1Gi", v1alpha1.AnnotationComputeClass, v1alpha1.ClassPerformance), "0.117 CNY", "cpu=1,memory=1Gi"},
	} {
		p := of(c.book)
		for range 2 { // the second time it is remembered
			if perHour, billed := p.of(c.pod); perHour != c.perHour || billed != c.billed {
				t.Errorf("%s: %q, %q, want %q, %q", c.book, perHour, billed, c.perHour, c.billed)
			}
		}
	}
	p := of("exact")
	now = time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)
	if perHour, billed := p.of(pod("1", "1Gi")); perHour+billed != "" {
		t.Errorf("before all books: %q, %q", perHour, billed)
	}
	now = time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	for i := range 2 * maxPrices {
		p.of(pod(resource.NewMilliQuantity(int64(i+1), resource.DecimalSI).String(), "1Gi"))
	}
	if len(p.known) > maxPrices {
		t.Errorf("%d prices are remembered", len(p.known))
	}
}

// BenchmarkPrices is what each create pays.
func BenchmarkPrices(b *testing.B) {
	books, err := billing.LoadBooks("acs")
	if err != nil {
		b.Fatal(err)
	}
	p := &prices{books: books, region: func(string) string { return "eu-1" }, now: time.Now}
	list := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("1Gi")}
	pod := &corev1.Pod{Spec: corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{Requests: list, Limits: list}}}}}
	b.ReportAllocs()
	for b.Loop() {
		p.of(pod)
	}
}
