package client

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
)

func TestPlanBuy(t *testing.T) {
	f := newFakeAPI(t)
	var query string
	var sent v1alpha1.SavingsPlan
	f.group("POST /savingsplans", func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.RawQuery
		var p v1alpha1.SavingsPlan
		if err := json.Unmarshal(f.body(r.Method+" "+r.URL.Path), &p); err != nil {
			t.Error(err)
		}
		sent = *p.DeepCopy()
		p.Spec.Currency, p.Spec.Interval, p.Spec.StartDate = "CNY", v1alpha1.SavingsDay, "2027-03-02"
		p.Status.Phase = v1alpha1.SavingsPlanQueued
		p.Status.StartTime = metav1.NewTime(time.Date(2027, 3, 2, 0, 0, 0, 0, time.UTC))
		p.Status.ReturnableUntil = p.Status.StartTime
		if strings.Contains(query, "dryRun") {
			p.Status.Forecast = &v1alpha1.SavingsForecast{Days: 60, List: "100.0000", Saving: "-3.2000", SavingPercent: "-3.2%", WorstFrom: "2027-01-01", WorstSaving: "-9.0000", WorstPercent: "-12.0%", ChanceToLose: "81.5%", Best: "2.5"}
		}
		answer(w, 201, p)
	})
	r := f.mustRun("bill", "plan", "buy", "year", "--discount", "55%", "--discount", "30%:class=performance,resource=vcpu", "--days", "90", "--commitment", "12.5", "--scope-project", "shop", "--zone", "Asia/Shanghai")
	if !strings.Contains(r.stdout, "savingsplan/year bought: 12.5 CNY per day from 2027-03-02 for 90 days") || !strings.Contains(r.stdout, "returned until 2027-03-02T00:00:00Z") {
		t.Errorf("printed %s", r.stdout)
	}
	if len(sent.Spec.Discounts) != 2 || sent.Spec.Discounts[1] != (v1alpha1.SavingsDiscount{ComputeClass: "performance", Resource: "vcpu", Discount: "30%"}) || sent.Spec.Scope.Project != "shop" || sent.Kind != "SavingsPlan" {
		t.Errorf("sent %+v", sent)
	}
	r = f.mustRun("bill", "plan", "buy", "year", "--offer", "day-1y", "--commitment", "5", "--dry-run")
	for _, want := range []string{"nothing is bought", "would save    -3.2000 of 100.0000 CNY (-3.2%)", "may lose      in 81.5% of terms", "worst month   -9.0000 (-12.0%), from 2027-01-01", "best          2.5 CNY"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in %s", want, r.stdout)
		}
	}
	if !strings.Contains(query, "dryRun=All") {
		t.Errorf("asked %s", query)
	}
	if r = f.mustRun("bill", "plan", "renew", "year"); !strings.Contains(r.stdout, "savingsplan/year-renewal bought") {
		t.Errorf("printed %s", r.stdout)
	}
	for _, args := range [][]string{{}, {"a", "--discount", "5%:color=red"}, {"a", "--discount", "5%:class="}, {"a", "--days", "many"}} {
		if r := f.run(append([]string{"bill", "plan", "buy"}, args...)...); r.err == nil {
			t.Errorf("%v is taken", args)
		}
	}
}

func TestPlanList(t *testing.T) {
	f := newFakeAPI(t)
	p := v1alpha1.SavingsPlan{Spec: v1alpha1.SavingsPlanSpec{Commitment: "10", Currency: "CNY", Interval: v1alpha1.SavingsDay, Discounts: []v1alpha1.SavingsDiscount{{Discount: "55%"}}, TermDays: 365, StartDate: "2027-01-01", TimeZone: "UTC"},
		Status: v1alpha1.SavingsPlanStatus{Phase: v1alpha1.SavingsPlanActive, Utilisation: &v1alpha1.SavingsPlanUse{Intervals: 7, Committed: "70", Used: "63", Unused: "7", Percent: "90.0%"}}}
	p.Name = "year"
	f.group("GET /savingsplans", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, v1alpha1.SavingsPlanList{Items: []v1alpha1.SavingsPlan{p}})
	})
	f.group("GET /savingsplans/year", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, p) })
	returned := ""
	f.group("POST /savingsplans/year/return", func(w http.ResponseWriter, r *http.Request) {
		returned += "/" + r.URL.Query().Get("dryRun")
		answer(w, 200, p)
	})
	if r := f.mustRun("bill", "plan", "ls"); !strings.Contains(r.stdout, "year   Active") || !strings.Contains(r.stdout, "90.0%") {
		t.Errorf("printed %s", r.stdout)
	}
	if r := f.mustRun("bill", "plan", "ls", "-o", "name"); r.stdout != "savingsplan/year\n" {
		t.Errorf("printed %s", r.stdout)
	}
	if r := f.mustRun("bill", "plan", "show", "year"); !strings.Contains(r.stdout, "63 of 70 CNY in the last 7 intervals (90.0%); 7 lost") {
		t.Errorf("printed %s", r.stdout)
	}
	f.mustRun("bill", "plan", "return", "year", "--dry-run")
	if r := f.mustRun("bill", "plan", "return", "year"); r.stdout != "savingsplan/year returned\n" || returned != "/All/" {
		t.Errorf("printed %s, asked %s", r.stdout, returned)
	}
}

func TestBillRecommend(t *testing.T) {
	f := newFakeAPI(t)
	list, asked := v1alpha1.SavingsRecommendationList{}, ""
	f.group("GET /billing/recommend", func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.RawQuery
		answer(w, 200, list)
	})
	if r := f.mustRun("bill", "recommend"); !strings.Contains(r.stderr, "nothing to recommend") || asked != "days=90" {
		t.Errorf("printed %s, asked %s", r.stderr, asked)
	}
	list.Items = []v1alpha1.SavingsRecommendation{{Offer: "day-1y", Interval: v1alpha1.SavingsDay, Commitment: "12.34", Currency: "CNY",
		Forecast: v1alpha1.SavingsForecast{Days: 60, Saving: "99.0000", SavingPercent: "48.1%", OutOfSamplePercent: "47.0%", WorstPercent: "44.0%", ChanceToLose: "0.0%", Utilisation: "97.9%"}}}
	r := f.mustRun("bill", "recommend", "--offer", "day-1y", "--days", "60", "--scope-project", "shop", "--zone", "Asia/Shanghai")
	if !strings.Contains(r.stdout, "day-1y        12.34   CNY   day   99.0000     48.1%       47.0%         44.0%       0.0%   97.9%   60 days") || asked != "days=60&offer=day-1y&project=shop&zone=Asia%2FShanghai" {
		t.Errorf("printed %s, asked %s", r.stdout, asked)
	}
}
