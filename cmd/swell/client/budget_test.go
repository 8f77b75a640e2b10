package client

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
)

func TestBudgetSet(t *testing.T) {
	f := newFakeAPI(t)
	var sent v1alpha1.AccountBudget
	var verb string
	take := func(w http.ResponseWriter, r *http.Request) {
		verb, sent = r.Method, v1alpha1.AccountBudget{}
		if err := json.Unmarshal(f.body(r.Method+" "+r.URL.Path), &sent); err != nil {
			t.Error(err)
		}
		out := sent
		out.Spec.Currency = "CNY"
		answer(w, 200, out)
	}
	f.group("POST /namespaces/{ns}/budgets", take)
	f.group("POST /accountbudgets", take)
	f.group("PUT /accountbudgets/everything", take)
	f.group("GET /accountbudgets/everything", func(w http.ResponseWriter, _ *http.Request) {
		b := v1alpha1.AccountBudget{Spec: v1alpha1.AccountBudgetSpec{Account: "acme", BudgetSpec: v1alpha1.BudgetSpec{Amount: "1", HardStop: v1alpha1.HardStopEnd, GraceSeconds: new(int64), TimeZone: "Asia/Shanghai"}}}
		b.Name, b.ResourceVersion = "everything", "7"
		answer(w, 200, b)
	})
	r := f.mustRun("budget", "set", "monthly", "1500", "-n", "shop", "--hard-stop", "DenyAndStop", "--grace", "90s", "--threshold", "80", "--threshold", "100%:forecast")
	if !strings.Contains(r.stdout, "budget/monthly made: 1500 CNY a month, hard stop DenyAndStop") {
		t.Errorf("printed %s", r.stdout)
	}
	if s := sent.Spec; verb != http.MethodPost || sent.Kind != "Budget" || s.Amount != "1500" || *s.GraceSeconds != 90 || len(s.Thresholds) != 2 || s.Thresholds[1] != (v1alpha1.BudgetThreshold{Percent: 100, Of: v1alpha1.BudgetForecast}) {
		t.Errorf("%s %+v", verb, sent)
	}
	// What isn't named stays, and what went with another hard stop doesn't.
	r = f.mustRun("budget", "set", "everything", "20000", "--account", "acme", "--hard-stop", "Deny")
	if s := sent.Spec; !strings.Contains(r.stdout, "accountbudget/everything changed") || verb != http.MethodPut || sent.ResourceVersion != "7" || s.TimeZone != "Asia/Shanghai" || s.GraceSeconds != nil || s.Account != "acme" || s.Amount != "20000" {
		t.Errorf("%s %+v", verb, sent)
	}
	for _, args := range [][]string{{"a"}, {"a", "1", "--threshold", "much"}, {"a", "1", "--threshold", "5:luck"}} {
		if r := f.run(append([]string{"budget", "set"}, args...)...); r.err == nil {
			t.Errorf("%v is taken", args)
		}
	}
}

func TestBudgetList(t *testing.T) {
	f := newFakeAPI(t)
	b := v1alpha1.Budget{Spec: v1alpha1.BudgetSpec{Amount: "1500", Currency: "CNY", HardStop: v1alpha1.HardStopDeny, TimeZone: "UTC"},
		Status: v1alpha1.BudgetStatus{State: v1alpha1.BudgetDenying, Spent: "1501.000000", Percent: "100.0%"}}
	b.Name, b.Namespace = "monthly", "shop"
	f.group("GET /budgets", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, v1alpha1.BudgetList{Items: []v1alpha1.Budget{b}})
	})
	f.group("GET /accountbudgets", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, v1alpha1.AccountBudgetList{}) })
	f.group("DELETE /accountbudgets/everything", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, metav1.Status{}) })
	if r := f.mustRun("budget", "ls", "-A"); !strings.Contains(r.stdout, "shop        monthly   Denying   1501.000000     1500   CNY    100.0%") {
		t.Errorf("printed %s", r.stdout)
	}
	if r := f.mustRun("budget", "ls", "-A", "-o", "yaml"); strings.Contains(r.stdout, "account") || !strings.Contains(r.stdout, "state: Denying") {
		t.Errorf("printed %s", r.stdout)
	}
	if r := f.mustRun("budget", "ls", "--accounts"); !strings.Contains(r.stderr, "no budgets") {
		t.Errorf("printed %s", r.stderr)
	}
	if r := f.mustRun("budget", "rm", "everything", "--accounts"); r.stdout != "accountbudget/everything removed\n" {
		t.Errorf("printed %s", r.stdout)
	}
}
