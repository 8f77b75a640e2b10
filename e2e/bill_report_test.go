package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/fixed"
)

// TestBillReport: a report, its page and OpenCost's allocation have what pods' bills come to, to the last digit.
func TestBillReport(t *testing.T) {
	ns := namespace(t)
	for _, name := range []string{"batch-x2x4z", "batch-b4c5d"} {
		pod := shellPod(name, "trap 'exit 0' TERM; while :; do sleep 0.1; done")
		pod.Labels = map[string]string{"team": "a"}
		create(t, client, ns, pod)
	}
	if out, err := runSwell(t.Context(), shared, "resize", "-n", ns, "batch-x2x4z", "--cpu", "200m"); err != nil {
		t.Fatalf("swell resize: %v\n%s", err, out)
	}
	kubectl(t, "delete", "pod", "-n", ns, "batch-x2x4z", "batch-b4c5d")
	ours := closedBills(t, ns)
	if len(ours) != 2 {
		t.Fatalf("%d bills", len(ours))
	}

	from := time.Now().UTC().AddDate(0, 0, -1).Format(time.RFC3339)
	var report v1alpha1.BillReport
	out, err := runSwell(t.Context(), shared, "bill", "report", "-n", ns, "--from", from, "--by", "pod", "-l", "team=a", "--format", "json")
	if err != nil {
		t.Fatalf("swell bill report: %v\n%s", err, out)
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if len(report.Rows) != 2 {
		t.Fatalf("%d rows\n%s", len(report.Rows), out)
	}
	for _, bill := range ours {
		at := slices.IndexFunc(report.Rows, func(r v1alpha1.BillReportRow) bool { return r.Key[0] == ns+"/"+bill.Name })
		if at < 0 {
			t.Fatalf("no row of pod %s\n%s", bill.Name, out)
		}
		if row := report.Rows[at]; row.List != bill.Total.Cost || row.Billed != row.List || row.Seconds != fixed.Thousandths(bill.Total.Milliseconds) {
			t.Errorf("pod %s: %s for %s s, its bill says %s for %d ms", bill.Name, row.List, row.Seconds, bill.Total.Cost, bill.Total.Milliseconds)
		}
	}

	// Both are one workload; one of them was resized.
	out, err = runSwell(t.Context(), shared, "bill", "report", "-n", ns, "--from", from, "--by", "workload")
	if err != nil || !strings.Contains(out, ns+"/batch ") {
		t.Errorf("by workload: %v\n%s", err, out)
	}
	file := filepath.Join(t.TempDir(), "report.html")
	if out, err := runSwell(t.Context(), shared, "bill", "report", "-n", ns, "--from", from, "-O", file); err != nil {
		t.Fatalf("swell bill report -O: %v\n%s", err, out)
	}
	page, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(page), "1 resize of 1 pod") || !strings.Contains(string(page), ns) {
		t.Errorf("the page of %d bytes lacks the resize: %v", len(page), err)
	}

	var allocation struct {
		Code int
		Data []map[string]struct {
			Minutes   float64
			TotalCost json.Number
		}
	}
	out = kubectl(t, "get", "--raw", "/allocation?window=2d&aggregate=namespace&accumulate=true")
	if err := json.Unmarshal([]byte(out), &allocation); err != nil || allocation.Code != 200 || len(allocation.Data) != 1 {
		t.Fatalf("%v\n%s", err, out)
	}
	got, err := allocation.Data[0][ns].TotalCost.Float64()
	if want, _ := json.Number(report.Total.List).Float64(); err != nil || got < want*(1-1e-12) || got > want*(1+1e-12) {
		t.Errorf("allocation: %v %v, want %s\n%s", got, err, report.Total.List, out)
	}
}

// closedBills waits until all of a namespace's bills are final.
func closedBills(t *testing.T, ns string) []v1alpha1.Bill {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		ours := slices.DeleteFunc(bills(t, shared), func(b v1alpha1.Bill) bool { return b.Namespace != ns })
		open := slices.ContainsFunc(ours, func(b v1alpha1.Bill) bool {
			return slices.ContainsFunc(b.Lines, func(l v1alpha1.BillLine) bool { return l.End.IsZero() })
		})
		if !open {
			return ours
		}
		if time.Now().After(deadline) {
			t.Fatalf("bills of %s are still open", ns)
		}
		<-tick.C
	}
}
