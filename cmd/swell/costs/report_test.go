package costs

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/billing"
	"swell.dev/swell/controlplane"
	"swell.dev/swell/controlplane/apiserver"
)

// reports is an engine with two projects, a plan, a credit, and segments of two days that cross midnights of Berlin.
func reports(t *testing.T) (*Engine, *API) {
	t.Helper()
	m := &memory{}
	m.record(
		segment("shop.a", 1, 1000, 1<<30, at(2, 0, 0), at(2, 12, 0)), segment("shop.a", 2, 2000, 1<<30, at(2, 12, 0), at(3, 0, 0)),
		segment("search.b", 1, 3000, 2<<30, at(2, 20, 0), at(3, 0, 0)), segment("search.b", 2, 3000, 2<<30, at(3, 0, 0), at(3, 4, 0)),
	)
	e := newEngine(t, m, at(20, 0, 0), dayPlan("p", "1", 550_000, billing.Scope{Project: "shop"}))
	var api API
	e.AddReports(&api)
	return e, &api
}

func get(t *testing.T, api *API, namespace, endpoint, query string) (*httptest.ResponseRecorder, error) {
	t.Helper()
	w := httptest.NewRecorder()
	err := api.Serve(w, httptest.NewRequest(http.MethodGet, "/?"+query, nil), apiserver.BillingRequest{Namespace: namespace, Endpoint: endpoint, User: controlplane.User{Name: "ada"}})
	return w, err
}

func reportFrom(t *testing.T, api *API, namespace, query string) *v1alpha1.BillReport {
	t.Helper()
	w, err := get(t, api, namespace, "report", query)
	if err != nil {
		t.Fatal(err)
	}
	out := &v1alpha1.BillReport{}
	if err := json.Unmarshal(w.Body.Bytes(), out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestReportsAreOfTheCharges: whatever the grouping, a report's total is what the engine charges, and what its rows
// sum to.
func TestReportsAreOfTheCharges(t *testing.T) {
	e, api := reports(t)
	want := sum(charges(t, e, Query{From: at(1, 0, 0), To: at(30, 0, 0)}))
	for _, by := range []string{"", "project", "pod", "day&zone=Europe/Berlin", "hour,project", "item,plan", "workload,kind", "account"} {
		r := reportFrom(t, api, "", "from=2026-11-01&to=2026-11-30&by="+by)
		if r.Total.List != want.list.String() || r.Total.Billed != want.billed.String() || r.Total.Effective != want.effective.String() {
			t.Errorf("by %s: %+v, want %+v", by, r.Total, want)
		}
		var list, billed, effective billing.Money
		for _, row := range r.Rows {
			list, billed, effective = list.Plus(billing.MustMoney(row.List)), billed.Plus(billing.MustMoney(row.Billed)), effective.Plus(billing.MustMoney(row.Effective))
		}
		if list != want.list || billed != want.billed || effective != want.effective {
			t.Errorf("by %s: rows sum to %s %s %s", by, list, billed, effective)
		}
		if r.Total.Seconds != "115200.000" { // 24 h and 8 h
			t.Errorf("by %s: %s seconds", by, r.Total.Seconds)
		}
	}
	// In Berlin the 2nd began an hour before, and use is cut there.
	r := reportFrom(t, api, "", "from=2026-11-02&to=2026-11-05&by=day&zone=Europe/Berlin&filter=kind=usage")
	if len(r.Rows) != 2 || r.Rows[0].From != "2026-11-02T00:00:00+01:00" || r.Rows[0].Seconds != "93600.000" || r.Rows[1].Seconds != "21600.000" {
		t.Errorf("by day in Berlin: %+v", r.Rows)
	}
}

func TestReportOfAProject(t *testing.T) {
	_, api := reports(t)
	r := reportFrom(t, api, "shop", "month=2026-11&by=project,plan&overview=true")
	if len(r.Filter) != 1 || r.Filter[0] != "project=shop" {
		t.Errorf("filter %v", r.Filter)
	}
	for _, row := range r.Rows {
		if row.Key[0] != "shop" {
			t.Errorf("a row of %v", row.Key)
		}
	}
	o := r.Overview
	if o == nil || len(o.Resized) != 1 || o.Resizes != 1 || len(o.Resized[0].Sizes) != 2 || o.Resized[0].Sizes[1].CPUMilli != 2000 || len(o.Workloads) == 0 {
		t.Fatalf("overview %+v", o)
	}
	// One a day up to now: the 2nd drew what it could, the others nothing; the 20th has begun.
	if len(o.Plans) != 20 || o.Plans[1].Day != "2026-11-02" || o.Plans[1].Used != "0.999999999999" || o.Plans[1].Unused != "0.000000000001" || o.Plans[2].Unused != "1" || o.Plans[2].Utilisation != "0.000000" ||
		o.Plans[19].Commitment != "1" || o.Plans[19].Unused != "0" || o.Plans[19].Utilisation != "" {
		t.Errorf("plans %+v", o.Plans)
	}
	if o.Before.From != "2026-10-01T00:00:00Z" || o.Before.To != "2026-10-20T00:00:00Z" {
		t.Errorf("compared with %+v", o.Before)
	}
	if r := reportFrom(t, api, "shop", "month=2026-11&filter=project=search"); len(r.Rows) != 0 || r.Total.List != "0" {
		t.Errorf("another project's costs: %+v", r)
	}
}

func TestReportFormats(t *testing.T) {
	_, api := reports(t)
	w, err := get(t, api, "", "report", "month=2026-11&format=csv")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(w.Body).ReadAll()
	if err != nil || len(rows) != 3 || rows[1][2] != "search" || w.Header().Get("Content-Disposition") != `attachment; filename="costs-2026-11-01-2026-12-01.csv"` {
		t.Errorf("CSV %v %v %v", rows, err, w.Header())
	}
	if w, err = get(t, api, "", "report", "month=2026-11&format=table"); err != nil || !strings.HasPrefix(w.Body.String(), "PROJECT ") || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		t.Errorf("table %s %v", w.Body, err)
	}
	w, err = get(t, api, "", "report", "month=2026-11&format=html")
	if err != nil || !strings.HasPrefix(w.Body.String(), "<!DOCTYPE html>") || !strings.Contains(w.Body.String(), "Plan utilisation") {
		t.Errorf("page %.200s %v", w.Body, err)
	}
	if h := w.Header(); h.Get("Content-Security-Policy") != "sandbox allow-scripts" || h.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(h.Get("Content-Type"), "text/html") {
		t.Errorf("the page's headers: %v", h)
	}
	for query, says := range map[string]string{
		"format=pdf":                            `query parameter format: "pdf": want one of json, csv, html, table`,
		"colour=red":                            `query parameter colour: "red": want one of the parameters from, to`,
		"overview=perhaps":                      `overview: "perhaps": want true or false`,
		"overview=true&format=csv":              `overview: "true": want it with format=json only`,
		"from=soon":                             `query parameter from: "soon"`,
		"by=colour":                             `by: dimension "colour"`,
		"from=1990-01-01&to=2026-01-01":         "1830 days at most",
		"from=2026-01-01&step=hour&limit=50000": "limit 50000",
	} {
		if _, err := get(t, api, "", "report", query); !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", query, err, says)
		}
	}
}

func TestAllocation(t *testing.T) {
	e, api := reports(t)
	want := charges(t, e, Query{From: at(2, 0, 0), To: at(4, 0, 0)})
	for _, endpoint := range []string{"allocation", "allocation/compute"} {
		w, err := get(t, api, "", endpoint, "window=2026-11-02T00:00:00Z,2026-11-04T00:00:00Z&aggregate=namespace&step=1d&includeIdle=true")
		if err != nil {
			t.Fatal(err)
		}
		var out struct {
			Code int
			Data []map[string]struct{ TotalCost, CPUCoreHours float64 }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || out.Code != 200 || len(out.Data) != 2 {
			t.Fatalf("%s %v", w.Body, err)
		}
		total := 0.0
		for _, set := range out.Data {
			for _, a := range set {
				total += a.TotalCost
			}
		}
		if s := sum(want).effective.Float(); total < s-1e-9 || total > s+1e-9 || out.Data[0]["shop"].CPUCoreHours != 36 || out.Data[1]["search"].CPUCoreHours != 12 {
			t.Errorf("%v in all, want %v: %s", total, s, w.Body)
		}
	}
	for query, says := range map[string]string{"window=soon": "Invalid 'window' parameter", "window=1900d": "1830 days at most"} {
		w, err := get(t, api, "", "allocation", query)
		if err != nil || w.Code != 400 || !strings.Contains(w.Body.String(), `"code":400`) || !strings.Contains(w.Body.String(), says) {
			t.Errorf("%s: %d %s %v, want %q", query, w.Code, w.Body, err, says)
		}
	}
}
