package apiserver

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
)

func withStartupBoosts(c *Config) {
	c.Admission.ValidateStartupBoost = func(p *v1alpha1.StartupBoost) field.ErrorList {
		if p.Spec.CPU == "" {
			return field.ErrorList{field.Required(field.NewPath("spec", "cpu"), "")}
		}
		return nil
	}
}

func TestStartupBoosts(t *testing.T) {
	h := start(t, withStartupBoosts)
	const path = "/apis/swell.dev/v1alpha1/namespaces/default/startupboosts"
	policy := func(name, spec string) {
		t.Helper()
		if a := h.do(http.MethodPost, path, `{"apiVersion":"swell.dev/v1alpha1","kind":"StartupBoost","metadata":{"name":"`+name+`"},"spec":`+spec+`}`); a.code != http.StatusCreated {
			t.Fatalf("%d %s", a.code, a.body)
		}
	}
	policy("b", `{"cpu":4}`)
	policy("a", `{"selector":{"matchLabels":{"app":"shop"}},"cpu":"3x","for":"90s","containers":[{"name":"other","cpu":"2"}]}`)
	if a := h.do(http.MethodPost, path, `{"apiVersion":"swell.dev/v1alpha1","kind":"StartupBoost","metadata":{"name":"c"},"spec":{}}`); a.code != http.StatusUnprocessableEntity {
		t.Errorf("%d %s", a.code, a.body)
	}
	create := func(name, meta string) string {
		t.Helper()
		body := `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"` + name + `"` + meta + `},"spec":{"containers":[{"name":"app","image":"i"}]}}`
		a := h.do(http.MethodPost, "/api/v1/namespaces/default/pods", body)
		pod := &corev1.Pod{}
		if err := json.Unmarshal(a.body, pod); err != nil || a.code != http.StatusCreated {
			t.Fatalf("%d %s", a.code, a.body)
		}
		return pod.Annotations[v1alpha1.AnnotationStartupBoost]
	}
	for _, c := range []struct{ name, meta, want string }{
		{"first", `,"labels":{"app":"shop"}`, "cpu=3x,for=1m30s"},
		{"second", ``, "cpu=4"},
		{"own", `,"labels":{"app":"shop"},"annotations":{"swell.dev/startup-boost":"cpu=1"}`, "cpu=1"},
	} {
		if got := create(c.name, c.meta); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	a := h.do(http.MethodGet, path, "", "Accept", "application/json;as=Table;g=meta.k8s.io;v=v1")
	if !strings.Contains(string(a.body), `"other=2"`) || !strings.Contains(string(a.body), "Containers") {
		t.Errorf("table %s", a.body)
	}
	if a := h.do(http.MethodGet, "/openapi/v3/apis/swell.dev/v1alpha1", ""); a.code != http.StatusOK || !strings.Contains(string(a.body), "StartupBoostSpec") {
		t.Errorf("openapi %d", a.code)
	}
	if a := h.do(http.MethodDelete, path, ""); a.code != http.StatusOK {
		t.Errorf("%d %s", a.code, a.body)
	}
	if got := create("after", ""); got != "" {
		t.Errorf("%q without a policy", got)
	}
	if a := start(t).do(http.MethodGet, path, ""); a.code != http.StatusNotFound {
		t.Errorf("not served, and yet %d", a.code)
	}
}
