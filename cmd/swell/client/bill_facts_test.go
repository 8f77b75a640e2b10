package client

import (
	"net/http"
	"strings"
	"testing"

	"swell.dev/swell/api/v1alpha1"
)

func TestBillVerify(t *testing.T) {
	f := newFakeAPI(t)
	found := v1alpha1.BillVerification{From: "2026-11-01T00:00:00Z", To: "2026-12-01T00:00:00Z", Currency: "CNY", OK: true, Segments: 3, Charges: 6, List: "1.5", Exact: "1.5"}
	var asked string
	f.group("GET /namespaces/{ns}/billing/verify", func(w http.ResponseWriter, r *http.Request) {
		asked = r.PathValue("ns") + " " + r.URL.RawQuery
		answer(w, 200, found)
	})
	r := f.mustRun("bill", "verify", "-n", "shop", "--month", "2026-11", "--zone", "Asia/Shanghai", "--pod", "pod/web")
	if asked != "shop month=2026-11&pod=web&zone=Asia%2FShanghai" || !strings.Contains(r.stdout, "nothing is missing") || !strings.Contains(r.stdout, "3 segments and 6 charges") {
		t.Errorf("asked %s; printed %s", asked, r.stdout)
	}
	found.OK, found.FindingsTotal = false, 7
	found.Findings = []v1alpha1.BillFinding{{Kind: "missing", Project: "shop", Pod: "web", Message: "metering began 1h0m0s after the pod"}}
	r = f.run("bill", "verify", "-n", "shop")
	if r.err == nil || !strings.Contains(r.err.Error(), "7 places") || !strings.Contains(r.stdout, "metering began 1h0m0s") || !strings.Contains(r.stdout, "and 6 more") {
		t.Errorf("printed %s, %v", r.stdout, r.err)
	}
}

func TestBillCorrect(t *testing.T) {
	f := newFakeAPI(t)
	f.group("POST /billing/corrections", func(w http.ResponseWriter, _ *http.Request) { answer(w, 201, v1alpha1.BillCorrection{}) })
	f.mustRun("bill", "correct", "uid-1/2/3", "--cpu", "250m", "--memory", "1Gi", "--reason", "why")
	if got := string(f.body("POST /apis/swell.dev/v1alpha1/billing/corrections")); got != `{"segment":{"podUID":"uid-1","generation":2,"sequence":3},"cpuMilli":250,"memoryBytes":1073741824,"reason":"why"}` {
		t.Errorf("sent %s", got)
	}
	for _, args := range [][]string{{"uid/2"}, {"uid/two/3"}, {"uid/1/1", "--cpu", "much"}, {}} {
		if r := f.run(append([]string{"bill", "correct"}, args...)...); r.err == nil {
			t.Errorf("%v is taken", args)
		}
	}
}

func TestBillAdjust(t *testing.T) {
	f := newFakeAPI(t)
	f.group("POST /billing/adjustments", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 201, v1alpha1.BillAdjustment{ID: "a", Amount: "-12.5", Account: "retail"})
	})
	f.group("GET /namespaces/{ns}/billing/adjustments", func(w http.ResponseWriter, r *http.Request) {
		answer(w, 200, map[string]any{"items": []v1alpha1.BillAdjustment{{ID: "a", Account: "retail", Project: r.PathValue("ns"), Amount: "-12.5", By: "ops", Reason: "an outage"}}})
	})
	if r := f.mustRun("bill", "adjust", "--project", "shop", "--id", "a", "--reason", "an outage", "--", "-12.50"); r.stdout != "adjustment a of -12.5 recorded for account retail\n" {
		t.Errorf("printed %q", r.stdout)
	}
	if got := string(f.body("POST /apis/swell.dev/v1alpha1/billing/adjustments")); got != `{"id":"a","project":"shop","amount":"-12.50","reason":"an outage"}` {
		t.Errorf("sent %s", got)
	}
	if r := f.mustRun("bill", "adjust", "--project", "shop", "--month", "2026-11"); !strings.Contains(r.stdout, "retail") || !strings.Contains(r.stdout, "an outage") {
		t.Errorf("printed %s", r.stdout)
	}
}
