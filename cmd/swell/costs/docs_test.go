package costs

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
)

// tables are the tables below a heading of a page, each with its rows as maps by column.
func tables(t *testing.T, page, heading string) [][]map[string]string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, below, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("%s has no %q", page, heading)
	}
	below, _, _ = strings.Cut(below, "\n## ")
	var out [][]map[string]string
	var columns []string
	for line := range strings.Lines(below) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			columns = nil
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case columns == nil:
			columns = cells
			out = append(out, nil)
		case strings.HasPrefix(cells[0], "---"):
		default:
			row := map[string]string{}
			for i, c := range cells {
				row[columns[i]] = c
			}
			out[len(out)-1] = append(out[len(out)-1], row)
		}
	}
	return out
}

func documented(t *testing.T, row map[string]string) usagev1.Segment {
	t.Helper()
	number := func(column string) int64 {
		n, err := strconv.ParseInt(row[column], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	when := func(column string) time.Time {
		at, err := time.Parse(time.RFC3339, row[column])
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	return segment("shop."+row["pod"], number("segment"), 1000*number("vCPU"), number("GiB")<<30, when("from"), when("to"))
}

// compare holds charges against a table whose last row is the total.
func compare(t *testing.T, got []billing.Charge, want []map[string]string) {
	t.Helper()
	if len(got) != len(want)-1 {
		t.Fatalf("%d charges, want %d", len(got), len(want)-1)
	}
	cell := func(kind string, day, segment, item, hours, plan string, s sums) string {
		return strings.Join([]string{kind, day, segment, item, hours, plan, s.list.String(), s.billed.String(), s.effective.String()}, " | ")
	}
	for i, c := range got {
		var segment, item, hours, plan string
		if c.Segment != nil {
			segment, item = fmt.Sprint(c.Segment.Sequence), c.Item.ID
			hours = strings.TrimRight(strings.TrimRight(c.Quantity.Hours(), "0"), ".")
		}
		if c.Plan != nil {
			plan = c.Plan.Name
		}
		is := cell(c.Kind.String(), fmt.Sprint(time.UnixMilli(c.From).UTC().Day()), segment, item, hours, plan, sum(got[i:i+1]))
		w := want[i]
		if says := strings.Join([]string{w["kind"], w["day"], w["segment"], w["item"], w["hours"], w["plan"], w["list"], w["billed"], w["effective"]}, " | "); is != says {
			t.Errorf("charge %d is\n%s, the page says\n%s", i, is, says)
		}
	}
	total, w := sum(got), want[len(want)-1]
	if w["kind"] != "total" || total.list.String() != w["list"] || total.billed.String() != w["billed"] || total.effective.String() != w["effective"] {
		t.Errorf("in all list %s, billed %s, effective %s, the page says %v", total.list, total.billed, total.effective, w)
	}
}

// TestBillByHand works out the bill that docs/billing.md explains.
func TestBillByHand(t *testing.T) {
	of := tables(t, "../../../docs/billing.md", "A bill by hand")
	if len(of) != 4 {
		t.Fatalf("%d tables", len(of))
	}
	m := &memory{}
	for _, row := range of[0] {
		m.record(documented(t, row))
	}
	p := dayPlan("day", "0.729", 550_000, billing.Scope{Account: "retail"})
	p.Start, p.End = at(2, 0, 0), at(4, 0, 0)
	december := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	e := newEngine(t, m, december.AddDate(0, 0, 20), p)
	november := Query{From: at(1, 0, 0), To: december, Account: "retail"}
	got := charges(t, e, november)
	compare(t, got, of[1])

	invoice, err := e.Draft(t.Context(), "retail", november.From, november.To, false)
	if err != nil {
		t.Fatal(err)
	}
	if invoice.Total.Fixed(2) != "2.00" {
		t.Errorf("the invoice is %s", invoice.Total)
	}
	invoice.ID = "2026-11"
	m.invoices = append(m.invoices, invoice)
	m.record(documented(t, of[2][0]))
	if again := statement(t, e, november); sum(again) != sum(got) {
		t.Errorf("November's invoice has become %+v", sum(again))
	}
	corrections := statement(t, e, Query{From: december, To: december.AddDate(0, 1, 0), Account: "retail"})
	compare(t, corrections, of[3])
	for _, c := range corrections {
		if c.Correction != "2026-11" {
			t.Errorf("%s corrects %q", c.Kind, c.Correction)
		}
	}
}
