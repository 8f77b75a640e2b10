package client

import (
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
)

func TestQuoted(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
		v1alpha1.AnnotationPrice: "0.0375 CNY", v1alpha1.AnnotationBilledSize: "cpu=500m,memory=1Gi"}}}
	if got := quoted(pod); got != "; billed as cpu=500m,memory=1Gi it costs 0.0375 CNY an hour, 27.00 for 30 days" {
		t.Errorf("%q", got)
	}
	if got := quoted(&corev1.Pod{}); got != "" {
		t.Errorf("without a price: %q", got)
	}
}

func TestBillPrices(t *testing.T) {
	f := newFakeAPI(t)
	f.group("GET /billing/prices", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, v1alpha1.PriceBookList{Currency: "CNY", Items: []v1alpha1.PriceBook{{Version: "v1", Effective: "2026-01-01T00:00:00Z", InForce: true,
			Prices: []v1alpha1.BookPrice{{Item: "general-purpose/default/vcpu", PerHour: "0.06", Unit: "vCPU-Hours"}}}}})
	})
	if r := f.mustRun("bill", "prices"); !strings.Contains(r.stdout, "v1        2026-01-01T00:00:00Z   in force   general-purpose/default/vcpu    0.06   CNY a vCPU-Hour") {
		t.Errorf("printed %s", r.stdout)
	}
	if r := f.mustRun("bill", "prices", "acs"); !strings.Contains(r.stdout, "sizeGrid:") || !strings.Contains(r.stdout, "currency: CNY") {
		t.Errorf("printed %s", r.stdout)
	}
	if r := f.run("bill", "prices", "gold"); r.err == nil || !strings.Contains(r.err.Error(), "Swell ships acs and exact") {
		t.Errorf("a book that isn't there: %v", r.err)
	}
}
