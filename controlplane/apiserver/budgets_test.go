package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// purse is a Budgets whose namespaces are out of money by name.
type purse struct {
	spent   atomic.Pointer[string]
	reloads atomic.Int32
}

func (p *purse) Spent(namespace string) error {
	if s := p.spent.Load(); s != nil && *s == namespace {
		return errors.New("budget monthly is spent")
	}
	return nil
}

func (p *purse) Closed(namespace string) bool { return p.Spent(namespace) != nil }

func (p *purse) Reload() { p.reloads.Add(1) }

func withBudgets(p *purse) func(*Config) {
	return func(c *Config) {
		c.Budgets = p
		c.Admission.DefaultBudget = func(s *v1alpha1.BudgetSpec) { s.Currency = "CNY" }
		c.Admission.ValidateBudget = func(s *v1alpha1.BudgetSpec) field.ErrorList {
			if s.Amount == "" {
				return field.ErrorList{field.Required(field.NewPath("spec", "amount"), "")}
			}
			return nil
		}
	}
}

func TestBudgets(t *testing.T) {
	p := &purse{}
	h := start(t, withBudgets(p))
	for _, c := range []struct{ path, kind, spec, replaced string }{
		{"/apis/swell.dev/v1alpha1/namespaces/default/budgets", "Budget", `{"amount":"10"}`, `{"amount":"20"}`},
		{"/apis/swell.dev/v1alpha1/accountbudgets", "AccountBudget", `{"amount":"10"}`, `{"amount":"20","account":"b"}`},
	} {
		t.Run(c.kind, func(t *testing.T) {
			p.reloads.Store(0)
			body := func(spec string) string {
				return `{"apiVersion":"swell.dev/v1alpha1","kind":"` + c.kind + `","metadata":{"name":"b"},"spec":` + spec + `,"status":{"spent":"7"}}`
			}
			var got v1alpha1.AccountBudget
			read := func(a answer, want int) {
				t.Helper()
				got = v1alpha1.AccountBudget{}
				if err := json.Unmarshal(a.body, &got); err != nil || a.code != want {
					t.Fatalf("%d %s, want %d", a.code, a.body, want)
				}
			}
			read(h.do(http.MethodPost, c.path, body(c.spec)), http.StatusCreated)
			if got.Spec.Amount != "10" || got.Spec.Currency != "CNY" || got.Status.Spent != "" || got.Generation != 1 || c.kind == "AccountBudget" && got.Spec.Account != "b" {
				t.Errorf("%+v", got)
			}
			if a := h.do(http.MethodPost, c.path, body(`{}`)); a.code != http.StatusUnprocessableEntity || !strings.Contains(string(a.body), "spec.amount") {
				t.Errorf("%d %s", a.code, a.body)
			}
			read(h.do(http.MethodPut, c.path+"/b", body(c.replaced)), http.StatusOK)
			if got.Spec.Amount != "20" || got.Status.Spent != "" || got.Generation != 2 {
				t.Errorf("%+v", got)
			}
			if c.kind == "AccountBudget" {
				if a := h.do(http.MethodPost, c.path, strings.Replace(body(`{"amount":"1","account":"a/b"}`), `"name":"b"`, `"name":"c"`, 1)); a.code != http.StatusUnprocessableEntity || !strings.Contains(string(a.body), "spec.account") {
					t.Errorf("%d %s", a.code, a.body)
				}
			}
			a := h.do(http.MethodGet, c.path, "", "Accept", "application/json;as=Table;g=meta.k8s.io;v=v1")
			if !strings.Contains(string(a.body), `"20 CNY"`) || strings.Contains(string(a.body), `"name":"Account"`) != (c.kind == "AccountBudget") {
				t.Errorf("%s", a.body)
			}
			if a := h.do(http.MethodGet, "/openapi/v3/apis/swell.dev/v1alpha1", ""); !strings.Contains(string(a.body), "graceSeconds") {
				t.Errorf("openapi %d", a.code)
			}
			if a := h.do(http.MethodDelete, c.path+"/b", ""); a.code != http.StatusOK {
				t.Errorf("%d %s", a.code, a.body)
			}
			if n := p.reloads.Load(); n != 3 {
				t.Errorf("told %d times of 3 changes", n)
			}
		})
	}
	if a := start(t).do(http.MethodGet, "/apis/swell.dev/v1alpha1/accountbudgets", ""); a.code != http.StatusNotFound {
		t.Errorf("not served, and yet %d", a.code)
	}
}

// TestSpentBudgetRefuses: creates, their dry runs and larger sizes; not smaller ones, deletions, nor other namespaces.
func TestSpentBudgetRefuses(t *testing.T) {
	p := &purse{}
	h := start(t, withBudgets(p))
	ctx, pods := context.Background(), "/api/v1/namespaces/default/pods"
	body := func(name string) string {
		pod := testPod(name)
		pod.APIVersion, pod.Kind = "v1", "Pod"
		data, err := json.Marshal(pod)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if a := h.do(http.MethodPost, pods, body("web")); a.code != http.StatusCreated {
		t.Fatalf("%d %s", a.code, a.body)
	}
	burst := func(text string) answer {
		return h.do(http.MethodPatch, pods+"/web", `{"metadata":{"annotations":{"swell.dev/burst":"`+text+`"}}}`, "Content-Type", "application/merge-patch+json")
	}
	if a := burst("cpu=2,budget=30s"); a.code != http.StatusOK {
		t.Fatalf("%d %s", a.code, a.body)
	}
	ns := "default"
	p.spent.Store(&ns)
	refused := func(a answer) {
		t.Helper()
		if st := a.status(t); st.Code != http.StatusForbidden || !strings.Contains(st.Message, "is forbidden: budget monthly is spent") {
			t.Errorf("%+v", st)
		}
	}
	refused(h.do(http.MethodPost, pods, body("more")))
	refused(h.do(http.MethodPost, pods+"?dryRun=All", body("more")))
	for text, code := range map[string]int{"cpu=1,budget=30s": http.StatusOK, "cpu=3,budget=30s": http.StatusForbidden, "cpu=1,budget=60s": http.StatusForbidden, "cpu=1,memory=1Gi": http.StatusForbidden} {
		if a := burst(text); a.code != code || code == http.StatusForbidden && !strings.Contains(string(a.body), "annotation swell.dev/burst: budget monthly is spent") {
			t.Errorf("burst %s: %d %s", text, a.code, a.body)
		}
		burst("cpu=1,budget=30s")
	}
	resize := func(cpu, memory string) answer {
		return h.do(http.MethodPatch, pods+"/web/resize", `{"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"`+cpu+`","memory":"`+memory+`"},"limits":{"cpu":"`+cpu+`","memory":"`+memory+`"}}}]}}`,
			"Content-Type", "application/strategic-merge-patch+json")
	}
	refused(resize("600m", "256Mi"))
	refused(resize("100m", "257Mi"))
	if a := resize("400m", "256Mi"); a.code != http.StatusOK {
		t.Errorf("smaller: %d %s", a.code, a.body)
	}
	refused(resize("500m", "256Mi")) // what it had once
	if err := h.server.Evict(ctx, controlplane.Eviction{Key: controlplane.Key{Resource: "pods", Namespace: "default", Name: "web"}, UID: uidOf(t, h, "web"), Reason: controlplane.Overspent, Message: "budget monthly is spent"}); err != nil {
		t.Fatal(err)
	}
	o, _ := h.store.Get(controlplane.Key{Resource: "pods", Namespace: "default", Name: "web"})
	if pod := o.(*corev1.Pod); pod.DeletionTimestamp == nil || !strings.Contains(string(h.do(http.MethodGet, "/api/v1/namespaces/default/events", "").body), `"Ended: budget monthly is spent"`) {
		t.Errorf("%+v", pod.ObjectMeta)
	}
	if a := h.do(http.MethodDelete, pods+"/web", ""); a.code != http.StatusOK {
		t.Errorf("%d %s", a.code, a.body)
	}
	other := "other"
	p.spent.Store(&other)
	if a := h.do(http.MethodPost, pods, body("more")); a.code != http.StatusCreated {
		t.Errorf("%d %s", a.code, a.body)
	}
}

func uidOf(t *testing.T, h *harness, name string) string {
	t.Helper()
	o, ok := h.store.Get(controlplane.Key{Resource: "pods", Namespace: "default", Name: name})
	if !ok {
		t.Fatalf("pod %s isn't there", name)
	}
	return string(o.GetUID())
}

func TestEventsAboutBudgets(t *testing.T) {
	h := start(t, withBudgets(&purse{}))
	account := &v1alpha1.AccountBudget{}
	account.Name, account.UID = "acme", "u1"
	budget := &v1alpha1.Budget{}
	budget.Name, budget.Namespace, budget.UID = "monthly", "default", "u2"
	for _, o := range []controlplane.Object{account, budget} {
		h.server.RecordBudget(context.Background(), o, corev1.EventTypeWarning, "BudgetSpent", "gone")
	}
	list := &corev1.EventList{}
	h.do(http.MethodGet, "/api/v1/namespaces/default/events", "", "Accept", "application/json").into(t, list)
	kinds := map[string]string{}
	for _, e := range list.Items {
		kinds[e.InvolvedObject.Kind] = e.InvolvedObject.APIVersion + " " + e.InvolvedObject.Name + " " + e.Message
	}
	if len(kinds) != 2 || kinds["AccountBudget"] != "swell.dev/v1alpha1 acme gone" || kinds["Budget"] != "swell.dev/v1alpha1 monthly gone" {
		t.Errorf("%v", kinds)
	}
}

// TestAccountsOfNamespaces: a label that would make a namespace another account's is asked about, at the create and later.
func TestAccountsOfNamespaces(t *testing.T) {
	h := start(t, func(c *Config) {
		c.MayMove = func(_ context.Context, namespace, account string) error {
			if account == "acme" {
				return errors.New("invoice 1 of account " + account + " has closed the time of " + namespace)
			}
			return nil
		}
	})
	body := func(account string) string {
		return `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop","labels":{"swell.dev/account":"` + account + `"}}}`
	}
	refused := func(a answer) {
		t.Helper()
		if st := a.status(t); st.Code != http.StatusForbidden || !strings.Contains(st.Message, `namespaces "shop" is forbidden: invoice 1 of account acme has closed the time of shop`) {
			t.Errorf("%+v", st)
		}
	}
	refused(h.do(http.MethodPost, "/api/v1/namespaces", body("acme")))
	if a := h.do(http.MethodPost, "/api/v1/namespaces", body("other")); a.code != http.StatusCreated {
		t.Fatalf("%d %s", a.code, a.body)
	}
	refused(h.do(http.MethodPatch, "/api/v1/namespaces/shop", `{"metadata":{"labels":{"swell.dev/account":"acme"}}}`, "Content-Type", "application/merge-patch+json"))
	if a := h.do(http.MethodPatch, "/api/v1/namespaces/shop", `{"metadata":{"labels":{"swell.dev/account":null}}}`, "Content-Type", "application/merge-patch+json"); a.code != http.StatusOK {
		t.Errorf("%d %s", a.code, a.body)
	}
}
