package report

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
)

var made = time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)

func overviewOf(t testing.TB, q Query, now, before []billing.Charge) *Overview {
	t.Helper()
	g, err := NewGathering(q, made)
	if err != nil {
		t.Fatal(err)
	}
	for i := range now {
		if err := g.Add(&now[i]); err != nil {
			t.Fatal(err)
		}
	}
	for i := range before {
		if err := g.AddBefore(&before[i]); err != nil {
			t.Fatal(err)
		}
	}
	o, err := g.Overview("CNY")
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func pageOf(t testing.TB, o *Overview) string {
	t.Helper()
	var b strings.Builder
	if err := o.HTML(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestOverviewAddsUp: what stands around a report are sums of the same charges.
func TestOverviewAddsUp(t *testing.T) {
	o := overviewOf(t, query(t, october+"&by=workload"), sample(t, time.October), sample(t, time.September))
	if o.ByProject.Total != o.Report.Total || o.ByClass.Total != o.Report.Total {
		t.Errorf("totals differ: %+v, %+v, %+v", o.Report.Total, o.ByProject.Total, o.ByClass.Total)
	}
	if got := reportOf(t, query(t, "from=2026-09&to=2026-10&zone=Europe/Berlin"), sample(t, time.September)); o.Before.Total != got.Total {
		t.Errorf("before: %+v, want %+v", o.Before.Total, got.Total)
	}
	var all PlanSums
	for _, p := range o.Plans {
		all.plus(p.PlanSums)
		if p.Used.Plus(p.Unused) != p.Commitment {
			t.Errorf("%s: used %s and unused %s aren't the commitment, %s", p.Day, p.Used, p.Unused, p.Commitment)
		}
	}
	if len(o.Plans) != 31 || all.Saving() != o.Report.Total.Saving() {
		t.Errorf("%d days; plans saved %s, the report says %s", len(o.Plans), all.Saving(), o.Report.Total.Saving())
	}
	for _, m := range o.Projects {
		if m.Name == "models" && m.Before.Sign() <= 0 {
			t.Errorf("%+v", m)
		}
	}
	resizes := 0
	last := map[string]usagev1.Segment{}
	seen := map[usagev1.ID]bool{}
	for _, c := range sample(t, time.October) {
		if c.Segment == nil || seen[c.Segment.ID] {
			continue
		}
		seen[c.Segment.ID] = true
		if p, ok := last[c.Segment.PodUID]; ok && (p.CPUMilli != c.Segment.CPUMilli || p.MemoryBytes != c.Segment.MemoryBytes) {
			resizes++
		}
		last[c.Segment.PodUID] = *c.Segment
	}
	if o.Resized.Resizes != resizes || len(o.Resized.Pods) != mostResized {
		t.Errorf("%d resizes of %d pods shown, want %d", o.Resized.Resizes, len(o.Resized.Pods), resizes)
	}
}

// TestNamesAreText: whatever a pod, a label or a plan is called, it is text on the page.
func TestNamesAreText(t *testing.T) {
	at := query(t, october).From.UnixMilli()
	evil := []string{`</script><script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `</style><b>`, `{{.}}`, "' onload='x", "\u202egnp", "<!--"}
	var charges []billing.Charge
	for i, name := range evil {
		plan := &billing.Plan{Name: name, UID: fmt.Sprint(i), Zone: time.UTC, Commitment: billing.MustMoney("1")}
		for seq := range 2 {
			s := &usagev1.Segment{ID: usagev1.ID{PodUID: fmt.Sprint(i), Sequence: int64(seq + 1)}, Pod: name, ComputeClass: name, CPUMilli: int64(1000 * (seq + 1)),
				Start: time.UnixMilli(at + int64(seq)*86_400_000), End: time.UnixMilli(at + int64(seq+1)*86_400_000), Labels: map[string]string{"x": name}}
			charges = append(charges, billing.Charge{From: s.Start.UnixMilli(), To: s.End.UnixMilli(), Project: name, Segment: s, Plan: plan, List: billing.MustMoney("2"), Effective: billing.MustMoney("1")})
		}
	}
	q := query(t, october+"&by=pod,label:x&filter=project="+"")
	q.Match = []Match{{Of: MustDimension("project"), Values: evil}}
	page := pageOf(t, overviewOf(t, q, charges, nil))
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{}
	for _, name := range strings.Fields("html head meta link title style body header div h1 h2 h3 p small button main section input label svg rect path text ul li span details summary table thead tbody tfoot tr th td b footer script") {
		allowed[name] = true
	}
	scripts, found := 0, map[string]int{}
	for n := range doc.Descendants() {
		switch n.Type {
		case html.CommentNode:
			t.Errorf("a comment: %q", n.Data)
		case html.TextNode:
			for _, name := range evil {
				if strings.Contains(n.Data, name) {
					found[name]++
				}
			}
		case html.ElementNode:
			if !allowed[n.Data] {
				t.Errorf("an element <%s>", n.Data)
			}
			if n.Data == "script" {
				if scripts++; n.FirstChild.Data != pageScript {
					t.Errorf("the script isn't ours: %.100q", n.FirstChild.Data)
				}
			}
			if n.Data == "style" && n.FirstChild.Data != pageStyle {
				t.Errorf("the style isn't ours: %.100q", n.FirstChild.Data)
			}
			for _, a := range n.Attr {
				if strings.HasPrefix(a.Key, "on") || a.Key == "src" || (a.Key == "href" && a.Val != "data:,") {
					t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
				}
			}
		}
	}
	if scripts != 1 {
		t.Errorf("%d scripts", scripts)
	}
	for _, name := range evil {
		if found[name] < 5 { // the table, the charts, the plans, the movers, the timeline
			t.Errorf("%q stands on the page %d times", name, found[name])
		}
	}
}

// TestPageOfNothing: a report without charges, without keys, or with negative sums is a page, too.
func TestPageOfNothing(t *testing.T) {
	at := query(t, october).From.UnixMilli()
	correction := billing.Charge{From: at, To: at + 1000, Project: "a", Correction: "2026-09", List: billing.MustMoney("-3"), Billed: billing.MustMoney("-3"), Effective: billing.MustMoney("-3")}
	for params, charges := range map[string][]billing.Charge{
		october: nil, october + "&by=": nil, october + "&by=day": nil, october + "&by=project": {correction}, "from=2026-10-01T00:00:00Z&to=2026-10-01T00:00:01Z": nil,
		"from=2024-01&to=2026-12&by=project": {correction},
	} {
		page := pageOf(t, overviewOf(t, query(t, params), charges, nil))
		if strings.Contains(page, "NaN") || strings.Contains(page, "Inf") || strings.Contains(page, "ZgotmplZ") {
			t.Errorf("%s: the page has no numbers in places", params)
		}
		if len(charges) > 0 && !strings.Contains(page, "-3.00") {
			t.Errorf("%s: the correction isn't on the page", params)
		}
	}
}

func TestNumber(t *testing.T) {
	for in, want := range map[string]string{"0": "0", "999": "999", "1000": "1,000", "-1234567.891": "-1,234,567.891", "-12.5": "-12.5", "100000": "100,000"} {
		if got := number(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]int{"0": 2, "0.00001234": 8, "0.5": 4, "5": 3, "12": 2, "1234": 2, "-0.01": 5, "0.000000000000000000001": 21} {
		if got := decimals(billing.MustMoney(in)); got != want {
			t.Errorf("%s: %d places, want %d", in, got, want)
		}
	}
	for in, want := range map[float64]float64{1: 0.2, 4.9: 1, 5: 1, 7: 2, 11: 2.5, 12.5: 2.5, 20: 5, 0: 1, 0.0003: 0.0001} {
		if got := niceStep(in); fmt.Sprintf("%.6g", got) != fmt.Sprintf("%.6g", want) {
			t.Errorf("%v: step %v, want %v", in, got, want)
		}
	}
}
