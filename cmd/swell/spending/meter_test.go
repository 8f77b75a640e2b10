package spending

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/ledger"
	"swell.dev/swell/cmd/swell/costs"
)

func openLedger(t testing.TB) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(t.Context(), filepath.Join(t.TempDir(), "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func books(t testing.TB, minimum string) *billing.Books {
	t.Helper()
	text := "version: v1\neffective: 2020-01-01\ncurrency: CNY\nbestEffort: 20%\n" + minimum +
		"prices:\n  general-purpose: {default: {vcpu: 0.06, gib: 0.03}}\n  performance: {default: {vcpu: 0.078, gib: 0.039}}\n"
	first, err := billing.ParseBook("a.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	text = "version: v2\neffective: 2027-03-10\ncurrency: CNY\nbestEffort: 10%\n" + minimum +
		"prices:\n  general-purpose: {default: {vcpu: 0.07, gib: 0.03}}\n  performance: {default: {vcpu: 0.08, gib: 0.039}}\n"
	second, err := billing.ParseBook("b.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	set, err := billing.NewBooks(first, second)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

var march = time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func account(project string) string { return "acct-" + project[len(project)-1:] }

// plansOf are a day plan of another zone, an hourly one and a narrow one.
func plansOf(t testing.TB) []*billing.Plan {
	shanghai := zone(t, "Asia/Shanghai")
	return []*billing.Plan{
		{Name: "day", UID: "1", Interval: billing.Day, Zone: shanghai, Start: billing.Midnight(2027, 3, 5, shanghai), End: billing.Midnight(2027, 3, 25, shanghai),
			Commitment: billing.MustMoney("3"), Discounts: []billing.PlanDiscount{{Discount: 550_000}}},
		{Name: "hour", UID: "2", Interval: billing.Hour, Zone: time.UTC, Start: march, End: march.AddDate(0, 0, 12),
			Commitment: billing.MustMoney("0.01"), Discounts: []billing.PlanDiscount{{Class: "performance", Discount: 300_000}}, Scope: billing.Scope{Account: "acct-1"}},
		{Name: "returned", UID: "3", Interval: billing.Day, Zone: time.UTC, Start: march, End: march.AddDate(1, 0, 0),
			Commitment: billing.MustMoney("100"), Discounts: []billing.PlanDiscount{{Discount: 900_000}}, Returned: march},
	}
}

// pod is a life of a pod, in segments of which the last is open until it ends.
func pod(r *rand.Rand, n int) []usagev1.Segment {
	start := march.Add(time.Duration(r.Int64N(int64(20 * 24 * time.Hour)))).Add(-36 * time.Hour).Truncate(time.Millisecond)
	class, qos := []string{"general-purpose", "performance"}[r.IntN(2)], []string{"default", "default", "best-effort"}[r.IntN(3)]
	var out []usagev1.Segment
	for i := range 1 + r.IntN(4) {
		end := start.Add(time.Duration(r.Int64N([]int64{int64(20 * time.Second), int64(2 * time.Hour), int64(40 * time.Hour)}[r.IntN(3)]) + int64(time.Millisecond))).Truncate(time.Millisecond)
		out = append(out, usagev1.Segment{ID: usagev1.ID{PodUID: fmt.Sprintf("u%d", n), Generation: int64(i + 1), Sequence: int64(i + 1)}, Namespace: fmt.Sprintf("p%d", n%4),
			Pod: fmt.Sprintf("pod%d", n), Node: "n", ComputeClass: class, QoS: qos, CPUMilli: 1 + r.Int64N(4000), MemoryBytes: 1 + r.Int64N(8<<30), Start: start, End: end})
		start = end
	}
	return out
}

// TestSpendingIsTheReports: whatever is recorded between looks, in whatever order and how often, what is known at any
// moment is what a report of the time says: the effective cost of use.
func TestSpendingIsTheReports(t *testing.T) {
	for _, minimum := range []string{"", "minimumDuration: 60s\n"} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("%q %d", minimum, seed), func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 1))
				l, set, plans := openLedger(t), books(t, minimum), plansOf(t)
				if seed == 2 {
					plans = nil
				}
				var segments []usagev1.Segment
				for n := range 40 {
					segments = append(segments, pod(r, n)...)
				}
				m := New(Config{Ledger: l, Books: set, Plans: func() []*billing.Plan { return plans }, Account: account})
				defer m.Close()
				since := []time.Time{time.Date(2027, 2, 28, 15, 0, 0, 0, time.UTC), march}
				looks := 0
				for now := march.Add(6 * time.Hour); now.Before(march.AddDate(0, 0, 22)); now = now.Add(time.Duration(r.Int64N(int64(40 * time.Hour)))).Truncate(time.Millisecond) {
					tell(t, r, l, segments, now)
					if looks == 5 && len(plans) > 0 { // another one is bought
						plans = append(plans, &billing.Plan{Name: "more", UID: "4", Interval: billing.Day, Zone: time.UTC, Start: now.Truncate(24*time.Hour).AddDate(0, 0, 1),
							End: now.AddDate(1, 0, 0), Commitment: billing.MustMoney("1"), Discounts: []billing.PlanDiscount{{Discount: 600_000}}, Scope: billing.Scope{Project: "p2"}})
					}
					got, err := m.Spending(t.Context(), now, since)
					if err != nil {
						t.Fatal(err)
					}
					engine, err := costs.New(costs.Config{Ledger: l, Books: set, Plans: func() []*billing.Plan { return plans }, Account: account, Now: func() time.Time { return now }})
					if err != nil {
						t.Fatal(err)
					}
					for i, from := range since {
						compare(t, engine, from, now, got[i], minimum != "")
					}
					looks++
				}
				if looks < 10 {
					t.Errorf("only %d looks", looks)
				}
			})
		}
	}
}

// tell records what has ended by now, in any order and some of it twice, and sets what is open.
func tell(t *testing.T, r *rand.Rand, l *ledger.Ledger, segments []usagev1.Segment, now time.Time) {
	t.Helper()
	var closed, open []usagev1.Segment
	for _, s := range segments {
		switch {
		case !s.End.After(now):
			closed = append(closed, s)
		case s.Start.Before(now):
			s.End = time.Time{}
			open = append(open, s)
		}
	}
	r.Shuffle(len(closed), func(i, j int) { closed[i], closed[j] = closed[j], closed[i] })
	for len(closed) > 0 {
		n := 1 + r.IntN(len(closed))
		if err := l.Record(t.Context(), closed[:n]); err != nil {
			t.Fatal(err)
		}
		closed = closed[n:]
	}
	if err := l.SetOpen(t.Context(), "n", open); err != nil {
		t.Fatal(err)
	}
}

func compare(t *testing.T, engine *costs.Engine, from, now time.Time, got map[string]Project, least bool) {
	t.Helper()
	want := map[string]Project{}
	// Whoever is billed for a minimum duration shows it within longest and a lag: those that ended just now are left out.
	err := engine.Charges(t.Context(), costs.Query{From: from, To: now.Add(48 * time.Hour)}, func(c *billing.Charge) error {
		if c.Kind != billing.Usage || c.Minimum && c.Segment.Start.After(now.Add(-time.Minute-reportLag)) {
			return nil
		}
		p := want[c.Project]
		p.Spent = p.Spent.Plus(c.Effective)
		if at := time.UnixMilli(c.From).UTC(); p.First.IsZero() || at.Before(p.First) {
			p.First = at
		}
		want[c.Project] = p
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for project := range got {
		if _, ok := want[project]; !ok {
			t.Errorf("%s from %s to %s: %s of nothing", project, from, now, got[project].Spent)
		}
	}
	for project, w := range want {
		g := got[project]
		if least { // several segments within the lag: within what a minute of the largest pod costs
			if d := g.Spent.Minus(w.Spent); d.Compare(billing.MustMoney("0.02")) > 0 || d.Compare(billing.MustMoney("-0.02")) < 0 {
				t.Errorf("%s from %s to %s: %s, want %s", project, from, now, g.Spent, w.Spent)
			}
		} else if g.Spent != w.Spent {
			t.Errorf("%s from %s to %s: %s, want %s", project, from, now, g.Spent, w.Spent)
		}
		if !g.First.Equal(w.First) {
			t.Errorf("%s from %s to %s: first used at %s, want %s", project, from, now, g.First, w.First)
		}
	}
}

// TestCorrections are counted with the next look.
func TestCorrections(t *testing.T) {
	l := openLedger(t)
	m := New(Config{Ledger: l, Books: books(t, ""), Plans: func() []*billing.Plan { return nil }, Account: account})
	defer m.Close()
	s := usagev1.Segment{ID: usagev1.ID{PodUID: "u", Generation: 1, Sequence: 1}, Namespace: "p1", Pod: "web", Node: "n", ComputeClass: "general-purpose", QoS: "default",
		CPUMilli: 1000, Start: march, End: march.Add(time.Hour)}
	if err := l.Record(t.Context(), []usagev1.Segment{s}); err != nil {
		t.Fatal(err)
	}
	now := march.Add(2 * time.Hour)
	spent := func() billing.Money {
		t.Helper()
		got, err := m.Spending(t.Context(), now, []time.Time{march})
		if err != nil {
			t.Fatal(err)
		}
		return got[0]["p1"].Spent
	}
	if got := spent(); got != billing.MustMoney("0.06") {
		t.Error(got)
	}
	if err := l.Correct(t.Context(), ledger.Correction{ID: s.ID, Void: true, Reason: "it never ran", By: "operator"}); err != nil {
		t.Fatal(err)
	}
	if got := spent(); !got.IsZero() {
		t.Error(got)
	}
}

// TestNobodyAsksForLong: what isn't asked for is forgotten, and found again.
func TestNobodyAsksForLong(t *testing.T) {
	l := openLedger(t)
	m := New(Config{Ledger: l, Books: books(t, ""), Plans: func() []*billing.Plan { return nil }, Account: account})
	defer m.Close()
	now := march.Add(24 * time.Hour)
	if _, err := m.Spending(t.Context(), now, []time.Time{march}); err != nil {
		t.Fatal(err)
	}
	one := usagev1.Segment{ID: usagev1.ID{PodUID: "u", Generation: 1, Sequence: 1}, Namespace: "p1", ComputeClass: "general-purpose", QoS: "default", CPUMilli: 1000, Start: march, End: march.Add(time.Hour)}
	if err := l.Record(t.Context(), []usagev1.Segment{one}); err != nil {
		t.Fatal(err)
	}
	many := make([]*usagev1.Segment, maxPending)
	for i := range many {
		many[i] = &one
	}
	m.later(many)
	if len(m.pending) != 0 || !m.isLost() {
		t.Errorf("%d wait", len(m.pending))
	}
	got, err := m.Spending(t.Context(), now, []time.Time{march})
	if err != nil || got[0]["p1"].Spent != billing.MustMoney("0.06") || m.isLost() {
		t.Errorf("%v, %v", got, err)
	}
}

func TestPerHour(t *testing.T) {
	l := openLedger(t)
	m := New(Config{Ledger: l, Books: books(t, ""), Plans: func() []*billing.Plan { return plansOf(t) }, Account: account})
	defer m.Close()
	open := usagev1.Segment{ID: usagev1.ID{PodUID: "u", Generation: 1, Sequence: 1}, Namespace: "p1", ComputeClass: "general-purpose", QoS: "default", CPUMilli: 2000, MemoryBytes: 1 << 30, Start: march}
	if err := l.SetOpen(t.Context(), "n", []usagev1.Segment{open}); err != nil {
		t.Fatal(err)
	}
	got, err := m.Spending(t.Context(), march.Add(30*time.Minute), []time.Time{march})
	if err != nil {
		t.Fatal(err)
	}
	if p := got[0]["p1"]; p.PerHour != billing.MustMoney("0.15") || p.Spent != billing.MustMoney("0.075") {
		t.Errorf("%s, %s an hour", p.Spent, p.PerHour)
	}
}

// BenchmarkLook is one look at a month of 500 projects that two plans cover, with 2,000 pods that run.
func BenchmarkLook(b *testing.B) {
	l, r := openLedger(b), rand.New(rand.NewPCG(1, 2))
	var open []usagev1.Segment
	for p := range 500 {
		var list []usagev1.Segment
		for day := range 28 {
			start := march.AddDate(0, 0, day)
			list = append(list, usagev1.Segment{ID: usagev1.ID{PodUID: fmt.Sprintf("u%d-%d", p, day), Generation: 1, Sequence: 1}, Namespace: fmt.Sprint("p", p), Pod: "web", Node: "n",
				ComputeClass: "general-purpose", QoS: "default", CPUMilli: 1 + r.Int64N(4000), MemoryBytes: 1 << 30, Start: start, End: start.Add(24 * time.Hour)})
		}
		if err := l.Record(b.Context(), list); err != nil {
			b.Fatal(err)
		}
		for i := range 4 {
			open = append(open, usagev1.Segment{ID: usagev1.ID{PodUID: fmt.Sprintf("o%d-%d", p, i), Generation: 1, Sequence: 1}, Namespace: fmt.Sprint("p", p), Pod: "web", Node: "n",
				ComputeClass: "general-purpose", QoS: "default", CPUMilli: 1000, MemoryBytes: 1 << 30, Start: march.AddDate(0, 0, 28)})
		}
	}
	if err := l.SetOpen(b.Context(), "n", open); err != nil {
		b.Fatal(err)
	}
	plans := plansOf(b)
	m := New(Config{Ledger: l, Books: books(b, ""), Plans: func() []*billing.Plan { return plans[:1] }, Account: account})
	defer m.Close()
	now := march.AddDate(0, 0, 28).Add(time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		if _, err := m.Spending(b.Context(), now, []time.Time{march}); err != nil {
			b.Fatal(err)
		}
	}
}
