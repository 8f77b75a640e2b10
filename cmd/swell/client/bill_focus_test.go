package client

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"swell.dev/swell/api/v1alpha1"
)

const focusGoldens = "../../../billing/focus/testdata/"

func TestFOCUSExport(t *testing.T) {
	f := newFakeAPI(t)
	var asked string
	broken := false
	f.group("GET /billing/focus", func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.RawQuery
		_, _ = w.Write([]byte("BilledCost\n1\n"))
		if broken {
			panic(http.ErrAbortHandler)
		}
	})
	f.group("GET /namespaces/{ns}/billing/focus", func(w http.ResponseWriter, r *http.Request) { asked = r.PathValue("ns") + " " + r.URL.RawQuery })
	if r := f.mustRun("bill", "focus", "export", "--month", "2026-10", "--columns", "BilledCost,SkuId"); r.stdout != "BilledCost\n1\n" || asked != "columns=BilledCost%2CSkuId&dataset=cost-and-usage&format=csv&month=2026-10&version=1.4" {
		t.Errorf("printed %q, asked %s", r.stdout, asked)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "october.parquet")
	f.mustRun("bill", "focus", "export", "--version", "1.2", "--granularity", "hour", "-O", file)
	if got, err := os.ReadFile(file); err != nil || string(got) != "BilledCost\n1\n" || asked != "dataset=cost-and-usage&format=parquet&granularity=hour&version=1.2" {
		t.Errorf("wrote %q, %v, asked %s", got, err, asked)
	}
	if f.mustRun("bill", "focus", "export", "-n", "shop", "--dataset", "contract-commitment"); asked != "shop dataset=contract-commitment&format=csv&version=1.4" {
		t.Errorf("asked %s", asked)
	}

	// An export that breaks off leaves what was there.
	broken = true
	if r := f.run("bill", "focus", "export", "-O", file); r.err == nil {
		t.Error("a broken export is taken for a whole one")
	}
	if r := f.run("bill", "focus", "export", "-O", filepath.Join(dir, "other.csv")); r.err == nil {
		t.Error("a broken export is taken for a whole one")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left %v, %v", left, err)
	}
	for says, args := range map[string][]string{
		"want 1.2 or 1.4":           {"--version", "1.0"},
		"FOCUS 1.2 has none":        {"--version", "1.2", "--dataset", "invoice-detail"},
		"want day, hour or segment": {"--granularity", "month"},
		"want csv or parquet":       {"--format", "xls"},
	} {
		var usage *UsageError
		if r := f.run(append([]string{"bill", "focus", "export"}, args...)...); !errors.As(r.err, &usage) || !strings.Contains(r.err.Error(), says) {
			t.Errorf("%v: %v, want %q", args, r.err, says)
		}
	}
}

func TestFOCUSValidate(t *testing.T) {
	f := newFakeAPI(t)
	good := focusGoldens + "cost-and-usage-1.4-day.csv"
	if r := f.mustRun("bill", "focus", "validate", good); r.stdout != "FOCUS 1.4, CostAndUsage: 20 rows, keeps all rules\n" {
		t.Errorf("printed %q", r.stdout)
	}
	f.mustRun("bill", "focus", "validate", focusGoldens+"cost-and-usage-1.2-day.csv", "--version", "1.2")
	f.mustRun("bill", "focus", "validate", focusGoldens+"contract-commitment-1.4.csv", "--dataset", "contract-commitment")
	f.mustRun("bill", "focus", "validate", focusGoldens+"invoice-detail-1.4.csv", "--dataset", "invoice-detail")

	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad.csv")
	if err := os.WriteFile(bad, []byte(strings.Replace(string(text), ",CNY,", ",yuan,", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	var exit *ExitError
	if r := f.run("bill", "focus", "validate", bad); !errors.As(r.err, &exit) || exit.Code != 1 ||
		!strings.Contains(r.stdout, `row 1: BillingCurrency MUST conform to CurrencyFormat: a code of ISO 4217: it is "yuan"`) || !strings.Contains(r.stdout, "20 rows, breaks rules in 1 places") {
		t.Errorf("printed %s, %v", r.stdout, r.err)
	}
	r := f.run("bill", "focus", "validate", bad, "-o", "json")
	var report focusReport
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || report.Musts != 1 || report.Violations[0].Row != 1 || report.Violations[0].Column != "BillingCurrency" {
		t.Errorf("%v: %s", err, r.stdout)
	}
	if r := f.run("bill", "focus", "validate", filepath.Join(t.TempDir(), "none.csv")); r.err == nil || !strings.Contains(r.err.Error(), "no such file") {
		t.Error(r.err)
	}
	fake := filepath.Join(t.TempDir(), "x.parquet")
	if err := os.WriteFile(fake, []byte("PAR1 and no more"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := f.run("bill", "focus", "validate", fake); r.err == nil || !strings.Contains(r.err.Error(), "Parquet file") {
		t.Error(r.err)
	}
}

func TestInvoices(t *testing.T) {
	f := newFakeAPI(t)
	invoice := v1alpha1.Invoice{ID: "2026-10-retail", Account: "retail", From: time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
		Currency: "CNY", Total: "4.32", Closed: time.Date(2026, 11, 3, 0, 0, 0, 0, time.UTC), Through: 7}
	var asked string
	closed := v1alpha1.InvoiceList{Items: []v1alpha1.Invoice{invoice}}
	f.group("POST /billing/invoices", func(w http.ResponseWriter, r *http.Request) { asked = r.URL.RawQuery; answer(w, 200, closed) })
	f.group("GET /billing/invoices", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, closed) })
	f.group("GET /billing/invoices/{id}", func(w http.ResponseWriter, r *http.Request) {
		shown := invoice
		shown.ID = r.PathValue("id")
		shown.Lines = []v1alpha1.InvoiceLine{{ID: "shop/x", Category: "Usage", Description: "x, project shop", Amount: "4.324"}}
		answer(w, 200, shown)
	})
	if r := f.mustRun("bill", "invoice", "close", "--month", "2026-10", "--account", "retail", "--force", "--dry-run"); asked != "account=retail&dryRun=All&force=true&month=2026-10" || !strings.Contains(r.stdout, "2026-10-retail") {
		t.Errorf("asked %s, printed %s", asked, r.stdout)
	}
	if r := f.mustRun("bill", "invoice", "ls"); !strings.Contains(strings.Join(strings.Fields(r.stdout), " "), "2026-10-retail retail 2026-10-01T00:00:00Z 2026-11-01T00:00:00Z 4.32 CNY 2026-11-03T00:00:00Z 7") {
		t.Errorf("printed %s", r.stdout)
	}
	if r := f.mustRun("bill", "invoice", "show", "2026-10-retail"); !strings.Contains(r.stdout, "x, project shop") || !strings.Contains(r.stdout, "4.324") || !strings.Contains(r.stdout, "total") {
		t.Errorf("printed %s", r.stdout)
	}
	closed.Items = nil
	if r := f.mustRun("bill", "invoice", "close", "--month", "2026-10"); r.stdout != "" || !strings.Contains(r.stderr, "nothing to close") {
		t.Errorf("printed %s, %s", r.stdout, r.stderr)
	}
	if r := f.run("bill", "invoice", "close"); r.err == nil || !strings.Contains(r.err.Error(), "--month is missing") {
		t.Error(r.err)
	}
}
