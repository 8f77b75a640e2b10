package costs

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/focus"
	"swell.dev/swell/billing/ledger"
	"swell.dev/swell/controlplane/apiserver"
)

// ask sends a request to an API, as the apiserver does.
func ask(t *testing.T, a *API, method, endpoint, query, namespace string) (*httptest.ResponseRecorder, error) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), method, "/"+endpoint+"?"+query, nil)
	return w, a.Serve(w, r, apiserver.BillingRequest{Endpoint: endpoint, Namespace: namespace})
}

func ok(t *testing.T, a *API, method, endpoint, query string) *httptest.ResponseRecorder {
	t.Helper()
	w, err := ask(t, a, method, endpoint, query, "")
	if err != nil {
		t.Fatalf("%s %s?%s: %v", method, endpoint, query, err)
	}
	return w
}

func validate(t *testing.T, body []byte, parquet bool, v focus.Version, d focus.Dataset) *focus.Report {
	t.Helper()
	var table focus.Table
	var err error
	if parquet {
		table, err = focus.OpenParquet(bytes.NewReader(body), int64(len(body)))
	} else {
		table, err = focus.OpenCSV(bytes.NewReader(body))
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := focus.Validate(table, v, d)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// table reads a CSV answer.
func table(t *testing.T, body []byte) []map[string]string {
	t.Helper()
	all, err := csv.NewReader(bytes.NewReader(body)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]string
	for _, row := range all[1:] {
		of := map[string]string{}
		for i, s := range row {
			of[all[0][i]] = s
		}
		out = append(out, of)
	}
	return out
}

// TestExportsOfAnyHistory: whatever happened, an export keeps all of FOCUS's rules and sums to the bill.
func TestExportsOfAnyHistory(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 21))
		segments, plans := world(r)
		m := &memory{}
		e := newEngine(t, m, at(30, 0, 0), plans...)
		start, end := at(1, 0, 0).Add(-72*time.Hour), at(30, 0, 0)
		r.Shuffle(len(segments), func(i, j int) { segments[i], segments[j] = segments[j], segments[i] })
		m.record(segments[:len(segments)/2]...)
		for _, account := range []string{DefaultAccount, "retail"} {
			in, err := e.Draft(t.Context(), account, start, at(12, 0, 0), false)
			if err != nil {
				t.Fatal(err)
			}
			in.ID = "first-" + account
			m.invoices = append(m.invoices, in)
		}
		m.record(segments...)
		want := sum(statement(t, e, Query{From: start, To: end}))
		a := &API{}
		e.AddFOCUS(a, "test")
		for _, query := range []string{"version=1.2", "version=1.4&granularity=hour", "version=1.4&granularity=segment&format=parquet", "version=1.2&zone=Asia/Kathmandu"} {
			w := ok(t, a, http.MethodGet, "focus", fmt.Sprintf("%s&from=%s&to=%s", query, start.Format(time.RFC3339), end.Format(time.RFC3339)))
			v, parquet := focus.Version14, strings.Contains(query, "parquet")
			if strings.Contains(query, "1.2") {
				v = focus.Version12
			}
			report := validate(t, w.Body.Bytes(), parquet, v, focus.CostAndUsage)
			for _, broken := range report.Violations {
				t.Errorf("seed %d: %s: %s", seed, query, broken)
			}
			if parquet {
				continue
			}
			var billed, effective billing.Money
			for _, row := range table(t, w.Body.Bytes()) {
				billed, effective = billed.Plus(billing.MustMoney(row["BilledCost"])), effective.Plus(billing.MustMoney(row["EffectiveCost"]))
			}
			if billed != want.billed || effective != want.effective {
				t.Errorf("seed %d: %s: billed %s, effective %s, the statement has %s and %s", seed, query, billed, effective, want.billed, want.effective)
			}
		}
		if t.Failed() {
			return
		}
	}
}

// TestInvoicesAreClosed: a month is closed by one request, once, and what comes late is a correction in FOCUS's way.
func TestInvoicesAreClosed(t *testing.T) {
	m := &memory{}
	shop := segment("shop.a", 1, 1000, 4<<30, time.Date(2026, 10, 3, 0, 0, 0, 0, time.UTC), time.Date(2026, 10, 4, 0, 0, 0, 0, time.UTC))
	m.record(shop, segment("lab.b", 1, 2000, 0, time.Date(2026, 10, 5, 0, 0, 0, 0, time.UTC), time.Date(2026, 10, 6, 0, 0, 0, 0, time.UTC)))
	e := newEngine(t, m, at(3, 0, 0))
	a := &API{}
	e.AddInvoices(a, m)
	e.AddFOCUS(a, "test")

	var list v1alpha1.InvoiceList
	post := func(query string) []v1alpha1.Invoice {
		t.Helper()
		list = v1alpha1.InvoiceList{}
		if err := json.Unmarshal(ok(t, a, http.MethodPost, "invoices", query).Body.Bytes(), &list); err != nil {
			t.Fatal(err)
		}
		return list.Items
	}
	if drafts := post("month=2026-10&dryRun=All"); len(drafts) != 2 || drafts[0].ID != "" || len(m.invoices) != 0 {
		t.Errorf("a dry run: %+v, %d recorded", drafts, len(m.invoices))
	}
	if one := post("month=2026-10&account=retail"); len(one) != 1 || one[0].ID != "2026-10-retail" || one[0].Total != "4.32" || one[0].Currency != "CNY" {
		t.Errorf("closed: %+v", one)
	}
	if rest := post("month=2026-10"); len(rest) != 1 || rest[0].ID != "2026-10-default" || len(m.invoices) != 2 {
		t.Errorf("the others: %+v", rest)
	}
	if again := post("month=2026-10"); len(again) != 0 {
		t.Errorf("once more: %+v", again)
	}
	for query, says := range map[string]string{
		"month=2026-10&account=retail":              "account retail is invoiced up to 2026-11-01T00:00:00Z, by 2026-10-retail",
		"month=2026-09&account=retail":              "account retail is invoiced up to 2026-11-01T00:00:00Z, by 2026-10-retail",
		"month=2026-11":                             "want a month that is over",
		"account=retail":                            `month: "": want a month`,
		"month=2026-10&force=perhaps":               `force: "perhaps": want true or false`,
		"month=2026-10&dryRun=true":                 "want All",
		"month=2026-10&acount=retail":               "acount",
		"month=2026-10&from=2026-10-01&zone=Europe": "from",
	} {
		if _, err := ask(t, a, http.MethodPost, "invoices", query, ""); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", query, err, says)
		}
	}
	if _, err := ask(t, a, http.MethodGet, "invoices", "", "shop"); !apierrors.IsBadRequest(err) {
		t.Errorf("of a namespace: %v", err)
	}

	// The lines of an invoice are what it comes to, and FOCUS's.
	var shown v1alpha1.Invoice
	if err := json.Unmarshal(ok(t, a, http.MethodGet, "invoices/2026-10-retail", "").Body.Bytes(), &shown); err != nil {
		t.Fatal(err)
	}
	if len(shown.Lines) != 2 || shown.Lines[0].ID != "shop/general-purpose/default/memory" || shown.Lines[0].Amount != "2.88" || shown.Lines[1].Amount != "1.44" {
		t.Errorf("shown: %+v", shown)
	}
	if _, err := ask(t, a, http.MethodGet, "invoices/2026-10-nobody", "", ""); !apierrors.IsNotFound(err) {
		t.Errorf("an unknown one: %v", err)
	}
	details := ok(t, a, http.MethodGet, "focus", "dataset=invoice-detail&month=2026-10")
	if rows := table(t, details.Body.Bytes()); len(rows) != 3 || validate(t, details.Body.Bytes(), false, focus.Version14, focus.InvoiceDetail).Musts > 0 {
		t.Errorf("details: %s", details.Body)
	}

	// An hour of shop's day was lost, and comes late.
	late := segment("shop.c", 1, 1000, 0, time.Date(2026, 10, 7, 1, 0, 0, 0, time.UTC), time.Date(2026, 10, 7, 2, 0, 0, 0, time.UTC))
	m.record(late)
	october := ok(t, a, http.MethodGet, "focus", "month=2026-10").Body.Bytes()
	for _, row := range table(t, october) {
		if row["InvoiceId"] == "" || row["InvoiceDetailId"] == "" || row["ChargeClass"] != "" || row["BillingPeriodStart"] != "2026-10-01T00:00:00Z" {
			t.Errorf("October has %v", row)
		}
	}
	november := ok(t, a, http.MethodGet, "focus", "month=2026-11").Body.Bytes()
	rows := table(t, november)
	if len(rows) != 1 || rows[0]["ChargeClass"] != "Correction" || rows[0]["x_SwellCorrectedInvoiceId"] != "2026-10-retail" || rows[0]["InvoiceId"] != "" ||
		rows[0]["ChargePeriodStart"] != "2026-10-07T00:00:00Z" || rows[0]["BillingPeriodStart"] != "2026-11-01T00:00:00Z" || rows[0]["BilledCost"] != "0.06" {
		t.Errorf("November has %v", rows)
	}
	for _, body := range [][]byte{october, november} {
		if r := validate(t, body, false, focus.Version14, focus.CostAndUsage); len(r.Violations) > 0 {
			t.Errorf("%v", r.Violations)
		}
	}
	periods := table(t, ok(t, a, http.MethodGet, "focus", "dataset=billing-period&from=2026-10-01&to=2026-12-01").Body.Bytes())
	if len(periods) != 2 || periods[0]["BillingPeriodStatus"] != "Closed" || periods[1]["BillingPeriodStatus"] != "Open" {
		t.Errorf("periods %v", periods)
	}

	// November's invoice has the correction, and closes with what is still open only if it is forced to.
	m.open = []usagev1.Segment{segment("shop.d", 1, 1000, 0, at(30, 23, 0), time.Time{})}
	e.cfg.Now = func() time.Time { return at(31, 0, 1) }
	if _, err := ask(t, a, http.MethodPost, "invoices", "month=2026-11&account=retail", ""); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), "still open") {
		t.Errorf("with an open segment: %v", err)
	}
	if forced := post("month=2026-11&account=retail&force=true"); len(forced) != 1 || forced[0].Total != "0.06" {
		t.Errorf("forced: %+v", forced)
	}
	rows = table(t, ok(t, a, http.MethodGet, "focus", "month=2026-11&account=retail").Body.Bytes())
	if len(rows) != 1 || rows[0]["InvoiceId"] != "2026-11-retail" || rows[0]["ChargeClass"] != "Correction" {
		t.Errorf("November's invoice has %v", rows)
	}
}

// CloseInvoice is the ledger's, without its checks.
func (m *memory) CloseInvoice(_ context.Context, i ledger.Invoice) error {
	m.invoices = append(m.invoices, i)
	return nil
}

func TestFOCUSRequests(t *testing.T) {
	m := &memory{}
	m.record(segment("shop.a", 1, 1000, 0, at(2, 0, 0), at(2, 1, 0)), segment("lab.b", 1, 1000, 0, at(2, 0, 0), at(2, 1, 0)))
	p := dayPlan("p", "1", 500_000, billing.Scope{Project: "lab"})
	e := newEngine(t, m, at(4, 0, 0), p)
	a := &API{}
	e.AddFOCUS(a, "v9")

	w := ok(t, a, http.MethodGet, "focus", "from=2026-11-02&to=2026-11-03&provider=Example+Cloud")
	if h := w.Header(); h.Get("Content-Type") != "text/csv; charset=utf-8" || h.Get("Content-Disposition") != `attachment; filename="swell-focus-1.4-cost-and-usage.csv"` {
		t.Errorf("%v", h)
	}
	rows := table(t, w.Body.Bytes())
	if len(rows) != 4 || !slices.ContainsFunc(rows, func(r map[string]string) bool {
		return r["ServiceProviderName"] == "Example Cloud" && r["BillingAccountId"] == "retail"
	}) {
		t.Errorf("%v", rows)
	}
	one, err := ask(t, a, http.MethodGet, "focus", "from=2026-11-02&to=2026-11-03", "shop")
	if err != nil {
		t.Fatal(err)
	}
	if rows := table(t, one.Body.Bytes()); len(rows) != 1 || rows[0]["SubAccountId"] != "shop" {
		t.Errorf("of a project: %v", rows)
	}
	if some := ok(t, a, http.MethodGet, "focus", "from=2026-11-02&to=2026-11-03&columns=SkuId,BilledCost"); !strings.HasPrefix(some.Body.String(), "BilledCost,SkuId\n") || !strings.Contains(some.Body.String(), "\n0.06,general-purpose/default/vcpu\n") {
		t.Errorf("selected columns: %s", some.Body)
	}
	commitments := ok(t, a, http.MethodGet, "focus", "dataset=contract-commitment&month=2026-11")
	if rows := table(t, commitments.Body.Bytes()); len(rows) != 1 || rows[0]["ContractCommitmentCost"] != "28" || rows[0]["ContractCommitmentFulfillmentInterval"] != "Daily" {
		t.Errorf("%v", rows)
	}
	if r := validate(t, commitments.Body.Bytes(), false, focus.Version14, focus.ContractCommitment); len(r.Violations) > 0 {
		t.Errorf("%v", r.Violations)
	}
	if head := ok(t, a, http.MethodHead, "focus", "format=parquet"); head.Body.Len() > 0 || head.Header().Get("Content-Type") != "application/vnd.apache.parquet" {
		t.Errorf("HEAD: %v", head)
	}
	var meta struct {
		Schema  struct{ FocusVersion, DataGeneratorVersion string }
		Recency struct{ DatasetInstanceComplete bool }
	}
	if err := json.Unmarshal(ok(t, a, http.MethodGet, "focus/metadata", "month=2026-11").Body.Bytes(), &meta); err != nil || meta.Schema.FocusVersion != "1.4" || meta.Schema.DataGeneratorVersion != "v9" || meta.Recency.DatasetInstanceComplete {
		t.Errorf("%v %+v", err, meta)
	}
	for query, says := range map[string]string{
		"version=1.3":   "want 1.2 or 1.4",
		"dataset=costs": "want cost-and-usage, contract-commitment",
		"version=1.2&dataset=contract-commitment": "FOCUS 1.2 has none",
		"granularity=minute":                      "want day, hour or segment",
		"format=xlsx":                             "want csv or parquet",
		"from=yesterday":                          `from: "yesterday"`,
		"from=2001-01-01&to=2026-01-01":           "at most",
		"columns=Costs":                           `column "Costs": want some of BilledCost, `,
		"colour=red":                              `colour: "red"`,
	} {
		if _, err := ask(t, a, http.MethodGet, "focus", query, ""); !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", query, err, says)
		}
	}
	if _, err := ask(t, a, http.MethodGet, "focus", "dataset=invoice-detail", "shop"); !apierrors.IsBadRequest(err) {
		t.Errorf("invoices of a namespace: %v", err)
	}
}
