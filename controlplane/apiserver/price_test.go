package apiserver

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// testPrice is what a pod costs in these tests: its milli-CPU.
func testPrice(pod *corev1.Pod) (perHour, billed string) {
	d, err := controlplane.PodDemand(pod)
	if err != nil {
		panic(err)
	}
	return fmt.Sprint(d.CPUMilli, " CNY"), fmt.Sprintf("cpu=%dm", d.CPUMilli)
}

// TestPrice: a pod says what it costs from its create on and through resizes, and users change nothing about it.
func TestPrice(t *testing.T) {
	h := start(t, func(c *Config) { c.Price = testPrice })
	const path = "/api/v1/namespaces/default/pods"
	price := func(a answer) (perHour, billed string) {
		t.Helper()
		var pod corev1.Pod
		if a.code >= 300 {
			t.Fatalf("%d %s", a.code, a.body)
		}
		if err := json.Unmarshal(a.body, &pod); err != nil {
			t.Fatal(err)
		}
		return pod.Annotations[v1alpha1.AnnotationPrice], pod.Annotations[v1alpha1.AnnotationBilledSize]
	}
	body := func(cpu string) string {
		return `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","annotations":{"swell.dev/price-per-hour":"0 CNY","swell.dev/billed-size":"none","mine":"x"}},
			"spec":{"containers":[{"name":"c","image":"a","resources":{"requests":{"cpu":"` + cpu + `","memory":"64Mi"},"limits":{"cpu":"` + cpu + `","memory":"64Mi"}}}]}}`
	}
	for _, c := range []struct{ what, method, path, body, perHour, billed string }{
		{"a dry run of the create", http.MethodPost, path + "?dryRun=All", body("500m"), "500 CNY", "cpu=500m"},
		{"the create", http.MethodPost, path, body("500m"), "500 CNY", ""},
		{"a user's change", http.MethodPatch, path + "/p", `{"metadata":{"annotations":{"swell.dev/price-per-hour":"1 CNY","mine":"y"}}}`, "500 CNY", ""},
		{"a user's removal", http.MethodPatch, path + "/p", `{"metadata":{"annotations":{"swell.dev/price-per-hour":null}}}`, "500 CNY", ""},
		{"a dry run of a resize", http.MethodPatch, path + "/p/resize?dryRun=All", resizeTo("2"), "2000 CNY", "cpu=2000m"},
		{"as before", http.MethodGet, path + "/p", "", "500 CNY", ""},
		{"a resize", http.MethodPatch, path + "/p/resize", resizeTo("2"), "2000 CNY", ""},
		{"another pod", http.MethodPost, path, strings.Replace(body("1900m"), `"name":"p"`, `"name":"other"`, 1), "1900 CNY", ""},
		{"a resize that has to wait", http.MethodPatch, path + "/p/resize", resizeTo("2500m"), "2000 CNY", ""},
		{"a dry run of another while it waits", http.MethodPatch, path + "/p/resize?dryRun=All", resizeTo("1"), "1000 CNY", "cpu=1000m"},
	} {
		var headers []string
		if c.method == http.MethodPatch {
			headers = []string{"Content-Type", "application/strategic-merge-patch+json"}
		}
		perHour, billed := price(h.do(c.method, c.path, c.body, headers...))
		if perHour != c.perHour || billed != c.billed {
			t.Errorf("%s: %q, billed as %q, want %q and %q", c.what, perHour, billed, c.perHour, c.billed)
		}
	}
}

func resizeTo(cpu string) string {
	return `{"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"` + cpu + `"},"limits":{"cpu":"` + cpu + `"}}}]}}`
}
