package costs

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/billing/ledger"
	"swell.dev/swell/controlplane"
	"swell.dev/swell/controlplane/apiserver"
)

// served is an engine on a real ledger, behind its endpoints.
type served struct {
	t      *testing.T
	ledger *ledger.Ledger
	engine *Engine
	api    API
}

func serve(t *testing.T) *served {
	t.Helper()
	l, err := ledger.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	e, err := New(Config{Ledger: l, Books: exactBooks(t), Now: func() time.Time { return at(20, 0, 0) }, Account: newEngine(t, &memory{}, at(20, 0, 0)).cfg.Account})
	if err != nil {
		t.Fatal(err)
	}
	s := &served{t: t, ledger: l, engine: e}
	e.AddTo(&s.api)
	return s
}

// ask sends a request of an administrator and decodes the answer into v.
func (s *served) ask(method, namespace, endpoint, query, body string, v any) error {
	s.t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, "/?"+query, strings.NewReader(body))
	if err := s.api.Serve(w, r, apiserver.BillingRequest{Namespace: namespace, Endpoint: endpoint, User: controlplane.User{Name: "ada"}}); err != nil {
		return err
	}
	if v == nil {
		return nil
	}
	return json.Unmarshal(w.Body.Bytes(), v)
}

func TestCorrectionsAndAdjustments(t *testing.T) {
	s := serve(t)
	if err := s.ledger.Record(t.Context(), []usagev1.Segment{segment("shop.a", 1, 1000, 0, at(2, 0, 0), at(2, 1, 0)), segment("shop.a", 2, 2000, 0, at(2, 1, 0), at(2, 2, 0))}); err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	verify := func() (v v1alpha1.BillVerification) {
		t.Helper()
		must(s.ask(http.MethodGet, "shop", "verify", "month=2026-11", "", &v))
		return v
	}
	if v := verify(); !v.OK || v.List != "0.18" || v.Segments != 2 {
		t.Errorf("as recorded: %+v", v)
	}
	must(s.ask(http.MethodPost, "", "corrections", "", `{"segment":{"podUID":"uid-shop.a","generation":2,"sequence":2},"cpuMilli":500,"reason":"metered at a size that it never had"}`, nil))
	if v := verify(); !v.OK || v.List != "0.09" {
		t.Errorf("corrected: %+v", v)
	}
	var list struct{ Items []v1alpha1.BillCorrection }
	must(s.ask(http.MethodGet, "", "corrections", "month=2026-11", "", &list))
	if len(list.Items) != 1 || list.Items[0].By != "ada" || *list.Items[0].CPUMilli != 500 || list.Items[0].End != "2026-11-02T02:00:00.000Z" || list.Items[0].At == "" {
		t.Errorf("listed: %+v", list.Items)
	}
	must(s.ask(http.MethodPost, "", "corrections", "", `{"segment":{"podUID":"uid-shop.a","generation":2,"sequence":2},"void":true,"reason":"it never was"}`, nil))
	if v := verify(); !v.OK || v.List != "0.06" || v.Segments != 1 {
		t.Errorf("void: %+v", v)
	}

	must(s.ask(http.MethodPost, "", "adjustments", "", `{"id":"outage","project":"shop","amount":"-0.01","reason":"an outage","at":"2026-11-02T00:00:00Z"}`, nil))
	must(s.ask(http.MethodPost, "", "adjustments", "", `{"id":"outage","project":"shop","amount":"-0.01","reason":"an outage","at":"2026-11-02T00:00:00Z"}`, nil))
	if v := verify(); !v.OK || v.Billed != "0.05" {
		t.Errorf("adjusted once: %+v", v)
	}
	var adjusted struct{ Items []v1alpha1.BillAdjustment }
	must(s.ask(http.MethodGet, "shop", "adjustments", "month=2026-11", "", &adjusted))
	if len(adjusted.Items) != 1 || adjusted.Items[0].Account != "retail" || adjusted.Items[0].By != "ada" {
		t.Errorf("listed: %+v", adjusted.Items)
	}

	for _, c := range []struct{ method, namespace, endpoint, query, body, says string }{
		{"POST", "", "corrections", "", `{"segment":{"podUID":"u","generation":1,"sequence":1},"cpuMilli":5,"reason":"x"}`, "no segment u/1/1"},
		{"POST", "", "corrections", "", `{"segment":{"podUID":"uid-shop.a","generation":1,"sequence":1},"void":true}`, "reason is empty"},
		{"POST", "", "corrections", "", `{"segment":{"podUID":"uid-shop.a","generation":1,"sequence":1},"reason":"x"}`, "either void"},
		{"POST", "", "corrections", "", `{"segment":{"podUID":"uid-shop.a","generation":1,"sequence":1},"end":"noon","reason":"x"}`, `end: "noon"`},
		{"POST", "", "corrections", "", `{"segment":{"podUID":"uid-shop.a","generation":1,"sequence":1},"computeClass":"turbo","reason":"x"}`, `class "turbo"`},
		{"POST", "", "corrections", "", `{"segment":{"podUID":"uid-shop.a","generation":1,"sequence":1},"void":true,"reason":"x","by":"eve"}`, "leave them out"},
		{"POST", "shop", "corrections", "", `{"segment":{"podUID":"uid-shop.a","generation":1,"sequence":1},"void":true,"reason":"x"}`, "without a namespace"},
		{"POST", "", "corrections", "", `{"colour":"red"}`, "unknown field"},
		{"POST", "", "adjustments", "", `{"id":"b","amount":"much","reason":"x"}`, `amount "much"`},
		{"POST", "", "adjustments", "", `{"id":"b","amount":"0","reason":"x"}`, "isn't zero"},
		{"POST", "", "adjustments", "", `{"id":"b","amount":"1","reason":"x","project":"shop","account":"default"}`, "project shop is of account retail"},
		{"GET", "", "verify", "from=soon", "", `from: "soon"`},
		{"GET", "", "verify", "from=1990-01-01&to=2026-01-01", "", "1830 days at most"},
	} {
		err := s.ask(c.method, c.namespace, c.endpoint, c.query, c.body, nil)
		var status apierrors.APIStatus
		if !errors.As(err, &status) || status.Status().Code != http.StatusBadRequest || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %s: %v, want %q", c.endpoint, c.query+c.body, err, c.says)
		}
	}
	if err := s.ask("GET", "", "nothing", "", "", nil); !apierrors.IsNotFound(err) {
		t.Errorf("an endpoint that isn't there: %v", err)
	}
	if err := s.ask("DELETE", "", "corrections", "", "", nil); !apierrors.IsMethodNotSupported(err) {
		t.Errorf("deleting: %v", err)
	}
}
