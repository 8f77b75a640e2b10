package costs

import (
	"slices"
	"strings"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/ledger"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

// TestVerifyFinds breaks a good history in each way that there is.
func TestVerifyFinds(t *testing.T) {
	life := usagev1.Lifecycle{PodUID: "uid-shop.a", Namespace: "shop", Pod: "shop.a", Started: at(2, 0, 0), Ended: at(2, 6, 0)}
	for name, c := range map[string]struct {
		change func(*memory)
		kind   string // empty: nothing is found
		says   string
	}{
		"a good history":          {func(m *memory) {}, "", ""},
		"started before metering": {func(m *memory) { m.lives[0].Started = at(1, 23, 0) }, "missing", "metering began 1h0m0s after the pod"},
		"ended after metering":    {func(m *memory) { m.lives[0].Ended = at(2, 7, 0) }, "missing", "metering ended 1h0m0s before the pod"},
		"ended before metering":   {func(m *memory) { m.lives[0].Ended = at(2, 5, 59) }, "double", "went on for 1m0s"},
		"metered before it ran":   {func(m *memory) { m.lives[0].Started = at(2, 1, 0) }, "double", "began 1h0m0s before the pod"},
		"restarts forget":         {func(m *memory) { m.lives[0].Started, m.lives[0].Restarts = at(2, 1, 0), 4 }, "", ""},
		"never metered":           {func(m *memory) { m.lives[0].PodUID = "uid-lost" }, "missing", "nothing of it was metered"},
		"ended and still open": {func(m *memory) {
			m.segments = m.segments[:1]
			m.open = []usagev1.Segment{segment("shop.a", 2, 2000, 1<<30, at(2, 3, 0), time.Time{})}
		}, "double", "is metered still"},
		"a gap": {func(m *memory) {
			m.gaps = []ledger.Gap{{PodUID: "uid-shop.a", After: 1, From: at(2, 3, 0), To: at(2, 4, 0)}}
		}, "missing", "nothing was metered for 1h0m0s"},
		"an overlap": {func(m *memory) {
			m.gaps = []ledger.Gap{{PodUID: "uid-shop.a", After: 1, From: at(2, 4, 0), To: at(2, 3, 0)}}
		}, "double", "metered twice"},
		"a gap elsewhere": {func(m *memory) {
			m.gaps = []ledger.Gap{{PodUID: "uid-shop.a", After: 1, From: at(22, 3, 0), To: at(22, 4, 0)}}
		}, "", ""},
		"a conflict": {func(m *memory) {
			m.refusals = []ledger.Refusal{{Segment: segment("shop.a", 1, 9000, 0, at(2, 0, 0), at(2, 3, 0))}}
		}, "conflict", "said something else"},
		"a wrong invoice": {func(m *memory) {
			m.invoices = []ledger.Invoice{{ID: "i", Account: "retail", From: at(2, 0, 0), To: at(3, 0, 0), Through: 2}}
		}, "invoice", "was closed at 0, and comes to"},
	} {
		m := &memory{lives: []usagev1.Lifecycle{life}}
		m.record(segment("shop.a", 1, 1000, 1<<30, at(2, 0, 0), at(2, 3, 0)), segment("shop.a", 2, 2000, 1<<30, at(2, 3, 0), at(2, 6, 0)))
		c.change(m)
		v, err := newEngine(t, m, at(10, 0, 0)).Verify(t.Context(), Query{From: at(1, 0, 0), To: at(9, 0, 0)})
		switch {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case c.kind == "" && !v.OK:
			t.Errorf("%s: %+v", name, v.Findings)
		case c.kind != "" && (v.OK || len(v.Findings) != 1 || v.Findings[0].Kind != c.kind || !contains(v.Findings[0].Message, c.says)):
			t.Errorf("%s: %+v, want one of kind %s that says %q", name, v.Findings, c.kind, c.says)
		}
	}
}

// TestVerifyWorksItOut: the exact sum is what the sizes come to, and rounding what is left.
func TestVerifyWorksItOut(t *testing.T) {
	m := &memory{}
	m.record(segment("shop.a", 1, 1000, 0, at(2, 0, 0), at(2, 0, 0).Add(time.Second)))
	v, err := newEngine(t, m, at(10, 0, 0)).Verify(t.Context(), Query{From: at(1, 0, 0), To: at(9, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	// 1/3600 h is rounded to 0.000277778 h, and costs 0.06 an hour.
	if v.List != "0.00001666668" || v.Exact != "0.000016666666666667" || v.Rounding != "0.000000000013333333" || !v.OK {
		t.Errorf("%+v", v)
	}
}

// TestVerifyFindsWrongAmounts tampers with what segments are charged.
func TestVerifyFindsWrongAmounts(t *testing.T) {
	m := &memory{}
	s := segment("shop.a", 1, 1000, 1<<30, at(2, 0, 0), at(2, 3, 0))
	s.Burst = usagev1.Burst{Millis: 1000, CPUMillis: 5_000_000}
	m.record(s, segment("shop.b", 1, 1000, 1<<30, at(2, 0, 0), at(2, 3, 0)))
	e := newEngine(t, m, at(10, 0, 0))
	q := e.fix(Query{From: at(1, 0, 0), To: at(9, 0, 0)})
	for _, of := range m.segments {
		q.UID = of.PodUID
		right := charges(t, e, q)
		for name, c := range map[string]struct {
			change func([]billing.Charge) []billing.Charge
			says   string
		}{
			"right":         {func(c []billing.Charge) []billing.Charge { return c }, ""},
			"a second less": {func(c []billing.Charge) []billing.Charge { c[0].Quantity -= 277_778; return c }, "general-purpose/default/vcpu: charged"},
			"a second more": {func(c []billing.Charge) []billing.Charge { c[1].Quantity += 277_778; return c }, "general-purpose/default/memory: charged"},
			"nothing":       {func(c []billing.Charge) []billing.Charge { return nil }, "charged 0.000000000 hours"},
			"negative":      {func(c []billing.Charge) []billing.Charge { c[1].Quantity = -c[1].Quantity; return c }, "charged -"},
			"something else": {func(c []billing.Charge) []billing.Charge {
				other := *c[0].Item
				c[0].Item = &other
				return c
			}, "of which it had none"},
		} {
			var w worth
			wrong, err := w.segment(e.cfg.Books, &of.Segment, q, c.change(slices.Clone(right)))
			if err != nil || (c.says == "") != (wrong == "") || !contains(wrong, c.says) {
				t.Errorf("%s, %s: %q (%v), want %q", of.Pod, name, wrong, err, c.says)
			}
		}
	}
}
