package e2e

import (
	"encoding/csv"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestBillFOCUS: exports of real pods keep FOCUS's rules and come to what the pods' bills do, to the last digit.
func TestBillFOCUS(t *testing.T) {
	ns := namespace(t)
	pod := shellPod("web", "trap 'exit 0' TERM; while :; do sleep 0.1; done")
	pod.Labels = map[string]string{"team": "a", "app.kubernetes.io/name": "web"}
	create(t, client, ns, pod)
	if out, err := runSwell(t.Context(), shared, "resize", "-n", ns, "web", "--cpu", "200m"); err != nil {
		t.Fatalf("swell resize: %v\n%s", err, out)
	}
	kubectl(t, "delete", "pod", "-n", ns, "web")
	bills := closedBills(t, ns)
	want := new(big.Rat)
	for _, b := range bills {
		cost, ok := new(big.Rat).SetString(b.Total.Cost)
		if !ok {
			t.Fatalf("cost %q", b.Total.Cost)
		}
		want.Add(want, cost)
	}
	from := time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly)
	dir := t.TempDir()
	for _, c := range []struct{ version, granularity, file string }{
		{"1.2", "day", "day.csv"}, {"1.4", "segment", "segment.csv"}, {"1.4", "hour", "hour.parquet"},
	} {
		file := filepath.Join(dir, c.file)
		if out, err := runSwell(t.Context(), shared, "bill", "focus", "export", "-n", ns, "--from", from, "--version", c.version, "--granularity", c.granularity, "-O", file); err != nil {
			t.Fatalf("swell bill focus export: %v\n%s", err, out)
		}
		out, err := runSwell(t.Context(), shared, "bill", "focus", "validate", file, "--version", c.version)
		if err != nil || !strings.Contains(out, "keeps all rules") || strings.Contains(out, "recommendations") {
			t.Errorf("%s: %v\n%s", c.file, err, out)
		}
		if strings.HasSuffix(file, ".csv") {
			if got := sumColumn(t, file, "BilledCost"); got.Cmp(want) != 0 {
				t.Errorf("%s: %s is billed, the pods' bills come to %s", c.file, got.FloatString(21), want.FloatString(21))
			}
		}
	}
	if out, err := runSwell(t.Context(), shared, "bill", "invoice", "close", "--month", time.Now().UTC().Format("2006-01")); err == nil || !strings.Contains(out, "want a month that is over") {
		t.Errorf("closing the present month: %v\n%s", err, out)
	}
	if out, err := runSwell(t.Context(), shared, "bill", "invoice", "close", "--month", "2020-01", "--dry-run"); err != nil || !strings.Contains(out, "nothing to close") {
		t.Errorf("closing a month without charges: %v\n%s", err, out)
	}
}

func sumColumn(t *testing.T, file, column string) *big.Rat {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) < 2 {
		t.Fatalf("%s: %d rows, %v", file, len(rows), err)
	}
	at := slices.Index(rows[0], column)
	sum := new(big.Rat)
	for _, row := range rows[1:] {
		n, ok := new(big.Rat).SetString(row[at])
		if !ok {
			t.Fatalf("%s: %s is %q", file, column, row[at])
		}
		sum.Add(sum, n)
	}
	return sum
}
