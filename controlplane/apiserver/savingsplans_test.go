package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

const plansPath = "/apis/swell.dev/v1alpha1/savingsplans"

// withSales sells plans that start in an hour and can be returned for as long.
func withSales(forecast func() (*v1alpha1.SavingsForecast, error)) func(*Config) {
	return func(c *Config) {
		c.Sales = Sales{
			Complete: func(p, renewed *v1alpha1.SavingsPlan, bought time.Time) {
				if p.Spec.Interval == "" {
					p.Spec.Interval = v1alpha1.SavingsDay
				}
				if renewed != nil && p.Spec.Commitment == "" {
					p.Spec.Commitment = renewed.Spec.Commitment
				}
				p.Status.Phase = v1alpha1.SavingsPlanQueued
				p.Status.StartTime, p.Status.ReturnableUntil = metav1.NewTime(bought.Add(time.Hour)), metav1.NewTime(bought.Add(time.Hour))
			},
			Validate: func(p *v1alpha1.SavingsPlan) field.ErrorList {
				if p.Spec.Commitment == "" {
					return field.ErrorList{field.Required(field.NewPath("spec", "commitment"), "")}
				}
				return nil
			},
			MayReturn: func(_ context.Context, p *v1alpha1.SavingsPlan) error {
				if p.Labels["invoiced"] != "" {
					return errors.New("it has been active, and invoice 1 has closed the time")
				}
				return nil
			},
			Forecast: func(context.Context, *v1alpha1.SavingsPlan) (*v1alpha1.SavingsForecast, error) { return forecast() },
		}
	}
}

func planBody(name, spec string) string {
	return `{"apiVersion":"swell.dev/v1alpha1","kind":"SavingsPlan","metadata":{"name":"` + name + `"},"spec":` + spec + `,"status":{"phase":"Ended"}}`
}

func TestSavingsPlans(t *testing.T) {
	var known error = errors.New("there is no history yet")
	h := start(t, withSales(func() (*v1alpha1.SavingsForecast, error) { return &v1alpha1.SavingsForecast{Saving: "12.5"}, known }))
	read := func(a answer, want int) *v1alpha1.SavingsPlan {
		t.Helper()
		p := &v1alpha1.SavingsPlan{}
		if err := json.Unmarshal(a.body, p); err != nil || a.code != want {
			t.Fatalf("%d %s, want %d", a.code, a.body, want)
		}
		return p
	}
	refused := func(a answer, code int, says string) {
		t.Helper()
		if a.code != code || !strings.Contains(string(a.body), says) {
			t.Errorf("%d %s, want %d and %q", a.code, a.body, code, says)
		}
	}
	body := planBody("p", `{"commitment":"10","discounts":[{"discount":"55%"}]}`)

	// A dry run stores nothing, and tells what it would save or why it can't.
	p := read(h.do(http.MethodPost, plansPath+"?dryRun=All", body), http.StatusCreated)
	if p.Status.Forecast != nil || p.Status.NotForecastReason != "there is no history yet" || p.Status.Phase != v1alpha1.SavingsPlanQueued {
		t.Errorf("%+v", p.Status)
	}
	known = nil
	if p = read(h.do(http.MethodPost, plansPath+"?dryRun=All", body), http.StatusCreated); p.Status.Forecast.Saving != "12.5" {
		t.Errorf("%+v", p.Status)
	}
	refused(h.do(http.MethodGet, plansPath+"/p", ""), http.StatusNotFound, "")

	p = read(h.do(http.MethodPost, plansPath, body), http.StatusCreated)
	if p.Spec.Interval != v1alpha1.SavingsDay || p.Status.Phase != v1alpha1.SavingsPlanQueued || p.Status.Forecast != nil {
		t.Errorf("%+v", p)
	}
	refused(h.do(http.MethodPost, plansPath, body), http.StatusConflict, "already exists")
	refused(h.do(http.MethodPost, plansPath, planBody("q", `{}`)), http.StatusUnprocessableEntity, "spec.commitment")

	// What was bought stays: each field that would change is named.
	merge := []string{"Content-Type", "application/merge-patch+json"}
	refused(h.do(http.MethodPatch, plansPath+"/p", `{"spec":{"commitment":"11","scope":{"project":"web"}}}`, merge...), http.StatusUnprocessableEntity, "spec.commitment: Invalid value")
	refused(h.do(http.MethodPatch, plansPath+"/p", `{"spec":{"scope":{"project":"web"}}}`, merge...), http.StatusUnprocessableEntity, "spec.scope: Invalid value")
	refused(h.do(http.MethodDelete, plansPath+"/p", ""), http.StatusForbidden, "it can be returned until")
	refused(h.do(http.MethodDelete, plansPath+"/p?dryRun=All", ""), http.StatusForbidden, "record of what was bought")
	refused(h.do(http.MethodDelete, plansPath, ""), http.StatusForbidden, "record of what was bought")
	refused(h.do(http.MethodDelete, plansPath+"/none", ""), http.StatusNotFound, "")
	// But labels may, and a manifest without what the server filled in is the same plan.
	if p = read(h.do(http.MethodPatch, plansPath+"/p", `{"metadata":{"labels":{"team":"a"}},"status":{"phase":"Ended"}}`, merge...), http.StatusOK); p.Labels["team"] != "a" || p.Status.Phase != v1alpha1.SavingsPlanQueued {
		t.Errorf("%+v", p)
	}
	read(h.do(http.MethodPut, plansPath+"/p", body), http.StatusOK)
	applied := `{"apiVersion":"swell.dev/v1alpha1","kind":"SavingsPlan","metadata":{"name":"p"},"spec":{"commitment":"10"}}`
	read(h.do(http.MethodPatch, plansPath+"/p?fieldManager=me", applied, "Content-Type", "application/apply-patch+yaml"), http.StatusOK)

	// A renewal, once.
	refused(h.do(http.MethodPost, plansPath, planBody("r", `{"renews":"none","commitment":"1"}`)), http.StatusUnprocessableEntity, `spec.renews: Not found: \"none\"`)
	if p = read(h.do(http.MethodPost, plansPath, planBody("r", `{"renews":"p"}`)), http.StatusCreated); p.Spec.Commitment != "10" {
		t.Errorf("%+v", p)
	}
	refused(h.do(http.MethodPost, plansPath, planBody("s", `{"renews":"p"}`)), http.StatusUnprocessableEntity, "is renewed by r already")

	// Back with it, unless bills were closed that it is on.
	read(h.do(http.MethodPatch, plansPath+"/r", `{"metadata":{"labels":{"invoiced":"yes"}}}`, merge...), http.StatusOK)
	refused(h.do(http.MethodPost, plansPath+"/r/return", ""), http.StatusForbidden, "invoice 1 has closed the time")
	read(h.do(http.MethodPatch, plansPath+"/r", `{"metadata":{"labels":{"invoiced":null}}}`, merge...), http.StatusOK)
	if p = read(h.do(http.MethodPost, plansPath+"/r/return?dryRun=All", ""), http.StatusOK); p.Status.ReturnedAt.IsZero() {
		t.Errorf("%+v", p.Status)
	}
	if p = read(h.do(http.MethodPost, plansPath+"/r/return", ""), http.StatusOK); p.Status.ReturnedAt.IsZero() || p.Status.Phase != v1alpha1.SavingsPlanReturned {
		t.Errorf("%+v", p.Status)
	}
	refused(h.do(http.MethodPost, plansPath+"/r/return", ""), http.StatusForbidden, "it was returned at")
	refused(h.do(http.MethodPost, plansPath, planBody("s", `{"renews":"r","commitment":"1"}`)), http.StatusUnprocessableEntity, "was returned")
	read(h.do(http.MethodPost, plansPath, planBody("s", `{"renews":"p"}`)), http.StatusCreated)
	key := controlplane.Key{Resource: savingsPlansResource, Name: "p"}
	o, _ := h.store.Get(key)
	late := o.(*v1alpha1.SavingsPlan).DeepCopy()
	late.Status.ReturnableUntil = metav1.NewTime(time.Now().Add(-time.Second))
	h.store.put(key, late)
	refused(h.do(http.MethodPost, plansPath+"/p/return", ""), http.StatusForbidden, "it could be returned until")
	late = late.DeepCopy()
	late.Status.ReturnableUntil = metav1.Time{}
	h.store.put(key, late)
	refused(h.do(http.MethodPost, plansPath+"/p/return", ""), http.StatusForbidden, "without a window")
	refused(h.do(http.MethodGet, plansPath+"/p/return", ""), http.StatusMethodNotAllowed, "")

	a := h.do(http.MethodGet, plansPath, "", "Accept", "application/json;as=Table;g=meta.k8s.io;v=v1")
	refused(a, http.StatusOK, `"55%"`)
	refused(h.do(http.MethodGet, "/openapi/v3/apis/swell.dev/v1alpha1", ""), http.StatusOK, "returnWindowSeconds")
	refused(h.do(http.MethodGet, "/apis/swell.dev/v1alpha1", ""), http.StatusOK, `"savingsplans/return"`)
	refused(start(t).do(http.MethodGet, plansPath, ""), http.StatusNotFound, "")
}

// TestRenewedOnce: of many renewals that come at once one is sold.
func TestRenewedOnce(t *testing.T) {
	h := start(t, withSales(nil))
	if a := h.do(http.MethodPost, plansPath, planBody("p", `{"commitment":"10"}`)); a.code != http.StatusCreated {
		t.Fatal(a)
	}
	var wg sync.WaitGroup
	codes := make(chan int, 20)
	for i := range cap(codes) {
		wg.Go(func() {
			codes <- h.do(http.MethodPost, plansPath, planBody("r"+string(rune('a'+i)), `{"renews":"p"}`)).code
		})
	}
	wg.Wait()
	close(codes)
	sold := 0
	for code := range codes {
		if code == http.StatusCreated {
			sold++
		}
	}
	if sold != 1 {
		t.Errorf("%d renewals were sold", sold)
	}
}
