package apiserver

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

func withSlotPolicies(c *Config) {
	c.Admission.DefaultSlotPolicy = func(p *v1alpha1.SlotPolicy) {
		if p.Spec.Mode == "" {
			p.Spec.Mode = v1alpha1.SlotModeAutomatic
		}
	}
	c.Admission.ValidateSlotPolicy = func(p *v1alpha1.SlotPolicy) field.ErrorList {
		if p.Spec.Min < 0 {
			return field.ErrorList{field.Invalid(field.NewPath("spec", "min"), p.Spec.Min, "must not be negative")}
		}
		return nil
	}
}

const policiesPath = "/apis/swell.dev/v1alpha1/namespaces/default/slotpolicies"

func TestSlotPolicies(t *testing.T) {
	h := start(t, withSlotPolicies)
	read := func(a answer, want int) *v1alpha1.SlotPolicy {
		t.Helper()
		p := &v1alpha1.SlotPolicy{}
		if err := json.Unmarshal(a.body, p); err != nil || a.code != want {
			t.Fatalf("%d %s, want %d", a.code, a.body, want)
		}
		return p
	}
	body := `{"apiVersion":"swell.dev/v1alpha1","kind":"SlotPolicy","metadata":{"name":"p"},"spec":{"min":2,"max":5},"status":{"hits":7}}`
	p := read(h.do(http.MethodPost, policiesPath, body), http.StatusCreated)
	if p.Spec.Mode != v1alpha1.SlotModeAutomatic || p.Spec.Min != 2 || *p.Spec.Max != 5 || p.Status.Hits != 0 || p.Generation != 1 || p.Kind != "SlotPolicy" {
		t.Errorf("created %+v", p)
	}
	if a := h.do(http.MethodPost, policiesPath, strings.Replace(body, `"min":2`, `"min":-2`, 1)); a.code != http.StatusUnprocessableEntity || !strings.Contains(string(a.body), "spec.min") {
		t.Errorf("%d %s", a.code, a.body)
	}

	// Its status is the server's.
	key := controlplane.Key{Resource: "slotpolicies", Namespace: "default", Name: "p"}
	o, _ := h.store.Get(key)
	seen := o.(*v1alpha1.SlotPolicy).DeepCopy()
	seen.Status = v1alpha1.SlotPolicyStatus{Hits: 3, Misses: 1, Slots: v1alpha1.SlotCounts{Wanted: 4, Container: 2}}
	h.store.put(key, seen)
	for kind, patch := range map[string]string{
		"application/merge-patch+json": `{"spec":{"min":3},"status":{"hits":9}}`,
		"application/json-patch+json":  `[{"op":"replace","path":"/spec/min","value":3}]`,
	} {
		p = read(h.do(http.MethodPatch, policiesPath+"/p", patch, "Content-Type", kind), http.StatusOK)
		if p.Spec.Min != 3 || p.Status.Hits != 3 || p.Generation != 2 {
			t.Errorf("%s: %+v", kind, p)
		}
	}
	applied := `{"apiVersion":"swell.dev/v1alpha1","kind":"SlotPolicy","metadata":{"name":"p"},"spec":{"min":4,"schedule":[{"from":"08:00","to":"09:00","min":5}]}}`
	p = read(h.do(http.MethodPatch, policiesPath+"/p?fieldManager=me&force=true", applied, "Content-Type", "application/apply-patch+yaml"), http.StatusOK)
	if p.Spec.Min != 4 || len(p.Spec.Schedule) != 1 || p.Status.Hits != 3 || p.Generation != 3 {
		t.Errorf("applied: %+v", p)
	}
	p.Spec.Max = nil
	replaced, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if p = read(h.do(http.MethodPut, policiesPath+"/p", string(replaced)), http.StatusOK); p.Spec.Max != nil || p.Generation != 4 {
		t.Errorf("replaced: %+v", p)
	}

	// As a table, in discovery and in OpenAPI.
	a := h.do(http.MethodGet, policiesPath, "", "Accept", "application/json;as=Table;g=meta.k8s.io;v=v1")
	if !strings.Contains(string(a.body), `"2/4"`) || !strings.Contains(string(a.body), "Misses") {
		t.Errorf("table %s", a.body)
	}
	if a := h.do(http.MethodGet, "/apis/swell.dev/v1alpha1", ""); !strings.Contains(string(a.body), `"slotpolicies"`) {
		t.Errorf("discovery %s", a.body)
	}
	if a := h.do(http.MethodGet, "/openapi/v3/apis/swell.dev/v1alpha1", ""); a.code != http.StatusOK || !strings.Contains(string(a.body), "coldStartCost") {
		t.Errorf("openapi %d", a.code)
	}
	if a := h.do(http.MethodDelete, policiesPath+"/p", ""); a.code != http.StatusOK {
		t.Errorf("%d %s", a.code, a.body)
	}
	if a := h.do(http.MethodGet, policiesPath+"/p", ""); a.code != http.StatusNotFound {
		t.Errorf("%d %s", a.code, a.body)
	}
	if a := start(t).do(http.MethodGet, policiesPath, ""); a.code != http.StatusNotFound {
		t.Errorf("not served, and yet %d", a.code)
	}
}
