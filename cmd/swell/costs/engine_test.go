package costs

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/ledger"
)

// TestPlanIsLaidOntoUse: two pods of two projects share a day's commitment in proportion to their use.
func TestPlanIsLaidOntoUse(t *testing.T) {
	m := &memory{}
	// At list 1 vCPU and no memory to speak of: 24 × 0.06 = 1.44 a day, and 3 vCPU 4.32.
	m.record(segment("shop.a", 1, 1000, 0, at(2, 0, 0), at(3, 0, 0)), segment("search.b", 1, 3000, 0, at(2, 0, 0), at(3, 0, 0)))
	// 1.296 buys 2.88 at 55 % off: half of both.
	e := newEngine(t, m, at(20, 0, 0), dayPlan("p", "1.296", 550_000, billing.Scope{}))
	q := Query{From: at(2, 0, 0), To: at(3, 0, 0)}
	got := charges(t, e, q)
	for i, want := range []struct {
		pod                     string
		plan                    bool
		hours                   string
		list, billed, effective string
	}{
		{"shop.a", true, "12.000000000", "0.72", "0", "0.324"}, {"shop.a", false, "12.000000000", "0.72", "0.72", "0.72"},
		{"search.b", true, "36.000000000", "2.16", "0", "0.972"}, {"search.b", false, "36.000000000", "2.16", "2.16", "2.16"},
	} {
		// The ledger orders by UID.
		i = []int{2, 3, 0, 1}[i]
		c := got[i]
		if c.Segment.Pod != want.pod || (c.Plan != nil) != want.plan || c.Quantity.Hours() != want.hours || c.List.String() != want.list ||
			c.Billed.String() != want.billed || c.Effective.String() != want.effective || c.Account != "retail" {
			t.Errorf("charge %d: %s %v %s list %s billed %s effective %s, want %+v", i, c.Segment.Pod, c.Plan != nil, c.Quantity.Hours(), c.List, c.Billed, c.Effective, want)
		}
	}
	if len(got) != 5 || got[4].Kind != billing.Purchase || got[4].Billed.String() != "1.296" || !got[4].Effective.IsZero() {
		t.Errorf("the purchase is %+v of %d charges", got[len(got)-1], len(got))
	}
	s := sum(got)
	if s.billed.String() != "4.176" || s.effective != s.billed {
		t.Errorf("billed %s, effective %s", s.billed, s.effective)
	}

	// A pod alone, and an account alone, are charged what they are in the whole.
	one := charges(t, e, Query{From: q.From, To: q.To, UID: "uid-shop.a"})
	if len(one) != 2 || one[0].Effective != got[2].Effective || one[1].Billed != got[3].Billed {
		t.Errorf("a pod alone: %+v", one)
	}
	if other := charges(t, e, Query{From: q.From, To: q.To, Account: DefaultAccount}); len(other) != 1 || other[0].Kind != billing.Purchase {
		t.Errorf("the payer of everybody's plan is charged %+v", other)
	}
}

func TestUnusedIsChargedWhenTheDayIsOver(t *testing.T) {
	m := &memory{}
	m.record(segment("shop.a", 1, 1000, 0, at(2, 0, 0), at(2, 12, 0)))
	p := dayPlan("p", "1", 500_000, billing.Scope{Account: "retail"})
	q := Query{From: at(2, 0, 0), To: at(3, 0, 0)}
	during := charges(t, newEngine(t, m, at(2, 13, 0), p), q)
	if len(during) != 2 || during[1].Kind != billing.Purchase {
		t.Errorf("while the day goes on: %+v", during)
	}
	after := charges(t, newEngine(t, m, at(3, 0, 0), p), q)
	if len(after) != 3 || after[2].Kind != billing.Unused || after[2].Effective.String() != "0.64" || after[2].Account != "retail" || !after[2].Billed.IsZero() {
		t.Errorf("when it is over: %+v", after)
	}
	if s := sum(after); s.billed != s.effective || s.billed.String() != "1" {
		t.Errorf("billed %s, effective %s", s.billed, s.effective)
	}
}

// world is a random history and what is asked of it.
func world(r *rand.Rand) ([]usagev1.Segment, []*billing.Plan) {
	var out []usagev1.Segment
	for p := range 3 + r.IntN(20) {
		pod := []string{"shop", "search", "lab", "web"}[r.IntN(4)] + fmt.Sprintf(".%d", p)
		t := at(1, 0, 0).Add(time.Duration(r.Int64N(int64(20*24*time.Hour))) / 1e6 * 1e6)
		for sequence := range 1 + r.IntN(6) {
			end := t.Add(time.Duration(r.Int64N(int64(30*time.Hour)))/1e6*1e6 + time.Millisecond)
			s := segment(pod, int64(sequence+1), r.Int64N(8000), r.Int64N(32<<30), t, end)
			s.ComputeClass = []string{"general-purpose", "performance", "gpu"}[p%3]
			if p%5 == 0 {
				s.QoS = billing.QoSBestEffort
			}
			if r.IntN(3) == 0 {
				s.Burst = usagev1.Burst{Millis: 1000, CPUMillis: r.Int64N(1e7), MemoryMillis: r.Int64N(1e7)}
			}
			out = append(out, s)
			t = end
		}
	}
	zones := []string{"UTC", "Asia/Shanghai", "Europe/Berlin", "Asia/Kathmandu"}
	var plans []*billing.Plan
	for i := range r.IntN(4) {
		zone, _ := time.LoadLocation(zones[r.IntN(len(zones))])
		start := billing.Midnight(2026, 11, 1+r.IntN(5), zone)
		p := &billing.Plan{Name: fmt.Sprint("plan", i), UID: fmt.Sprint(i), Interval: billing.Interval(r.IntN(2)), Zone: zone, Start: start,
			End: billing.Midnight(2026, 11, 10+r.IntN(15), zone), Commitment: billing.Quantity(r.Int64N(2e12)).At(1e9),
			Discounts: []billing.PlanDiscount{{Class: "performance", Discount: billing.Discount(r.IntN(900_000))}, {Resource: "vcpu", Discount: billing.Discount(r.IntN(900_000))}},
			Scope:     billing.Scope{Account: []string{"", "retail"}[r.IntN(2)], Project: []string{"", "", "lab"}[r.IntN(3)]}}
		if p.Scope.Project == "lab" {
			p.Scope.Account = ""
		}
		plans = append(plans, p)
	}
	return out, plans
}

// changingBooks are two versions with everything that makes rating harder.
const changingBooks = `
version: %s
effective: %s
currency: CNY
rounding: %s
minimumDuration: 36h
bestEffort: 20%%
sizeGrid:
  - {vcpu: 0.5, gib: [1, 2]}
  - {vcpu: {from: 1, to: 4, step: 1}, gib: {from: 1, to: 16, step: 3}}
prices:
  general-purpose: {default: {vcpu: %s, gib: 0.031}}
  performance: {default: {vcpu: 0.078, gib: 0.039}}
`

// booksOf are the books that a seed is billed by.
func booksOf(t *testing.T, seed uint64) *billing.Books {
	t.Helper()
	var books *billing.Books
	var err error
	switch seed % 3 {
	case 0:
		return exactBooks(t)
	case 1:
		books, err = billing.LoadBooks("acs")
	case 2:
		var versions []*billing.Book
		for i, from := range []time.Time{at(1, 0, 0), at(9, 13, 7)} {
			text := fmt.Sprintf(changingBooks, fmt.Sprint("v", i), from.Format(time.RFC3339), []string{"up", "half-even"}[i], []string{"0.0601", "0.05"}[i])
			b, err := billing.ParseBook(fmt.Sprint(i), []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			versions = append(versions, b)
		}
		books, err = billing.NewBooks(versions...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return books
}

// TestAnyHistory holds what must be true of every bill: whatever the order in which segments came, and wherever time is
// cut, the sums are the same to the last place; projects, accounts, pods and days sum to the whole; list is quantity
// times price; and of each plan, what its days bought and left is what was paid for them.
func TestAnyHistory(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 9))
		segments, plans := world(r)
		m := &memory{}
		m.record(segments...)
		e := newEngine(t, m, at(30, 0, 0), plans...)
		e.cfg.Books = booksOf(t, seed)
		all := Query{From: at(1, 0, 0).Add(-48 * time.Hour), To: at(30, 0, 0)}
		whole := charges(t, e, all)
		want := sum(whole)

		shuffled := &memory{}
		for _, i := range r.Perm(len(segments)) {
			shuffled.record(segments[i], segments[r.IntN(len(segments))])
		}
		again := newEngine(t, shuffled, at(30, 0, 0), plans...)
		again.cfg.Books = e.cfg.Books
		if got := charges(t, again, all); len(got) != len(whole) || sum(got) != want {
			t.Fatalf("seed %d: another order of arrival: %+v, want %+v", seed, sum(got), want)
		}

		cut := all
		for range r.IntN(30) {
			cut.Cuts = append(cut.Cuts, at(1, 0, 0).UnixMilli()+r.Int64N(25*86_400_000))
		}
		slices.Sort(cut.Cuts)
		if got := sum(charges(t, e, cut)); got != want {
			t.Fatalf("seed %d: cut at %v: %+v, want %+v", seed, cut.Cuts, got, want)
		}

		for name, parts := range map[string][]Query{
			"accounts": {{Account: DefaultAccount}, {Account: "retail"}},
			"times":    {{To: at(7, 3, 20)}, {From: at(7, 3, 20), To: at(12, 0, 0)}, {From: at(12, 0, 0)}},
		} {
			var got sums
			for _, q := range parts {
				if q.From.IsZero() {
					q.From = all.From
				}
				if q.To.IsZero() {
					q.To = all.To
				}
				s := sum(charges(t, e, q))
				got = sums{got.quantity + s.quantity, got.list.Plus(s.list), got.billed.Plus(s.billed), got.effective.Plus(s.effective)}
			}
			if got != want {
				t.Fatalf("seed %d: %s sum to %+v, want %+v", seed, name, got, want)
			}
		}
		type pod struct{ effective, billed billing.Money }
		pods := map[string]pod{}
		paid, bought := map[*billing.Plan]billing.Money{}, map[*billing.Plan]billing.Money{}
		for _, c := range whole {
			if c.Kind == billing.Usage {
				p := pods[c.Segment.PodUID]
				pods[c.Segment.PodUID] = pod{p.effective.Plus(c.Effective), p.billed.Plus(c.Billed)}
				if c.List != c.Quantity.At(c.Item.Price) || (c.Plan == nil) != (c.Billed == c.List) && !c.List.IsZero() {
					t.Fatalf("seed %d: %+v", seed, c)
				}
			}
			if c.Plan != nil {
				paid[c.Plan], bought[c.Plan] = paid[c.Plan].Plus(c.Billed), bought[c.Plan].Plus(c.Effective)
			}
		}
		for p := range paid {
			if paid[p] != bought[p] {
				t.Fatalf("seed %d: plan %s: paid %s, use and what was left %s", seed, p.Name, paid[p], bought[p])
			}
		}
		for uid, p := range pods {
			if got := sum(charges(t, e, Query{From: all.From, To: all.To, UID: uid})); got.effective != p.effective || got.billed != p.billed {
				t.Fatalf("seed %d: pod %s alone is billed %s and %s, in the whole %+v", seed, uid, got.billed, got.effective, p)
			}
		}

		v, err := e.Verify(t.Context(), all)
		if err != nil || !v.OK || v.Segments == 0 {
			t.Fatalf("seed %d: verification: %v %+v", seed, err, v)
		}
	}
}

// TestInvoices: what was invoiced stays, and what comes late is in the next one, so that no fact is billed twice or not
// at all.
func TestInvoices(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 10))
		segments, plans := world(r)
		r.Shuffle(len(segments), func(i, j int) { segments[i], segments[j] = segments[j], segments[i] })
		m := &memory{}
		e := newEngine(t, m, at(30, 0, 0), plans...)
		start, end := at(1, 0, 0).Add(-48*time.Hour), at(30, 0, 0)
		bounds := []time.Time{start, at(8, 0, 0), at(15, 0, 0), at(22, 0, 0)}
		var total billing.Money
		var kept [][]billing.Charge
		for i := range bounds[1:] {
			n := len(segments) * (i + 1) / 4
			m.record(segments[:n]...)
			for _, account := range []string{DefaultAccount, "retail"} {
				in, err := e.Draft(t.Context(), account, bounds[i], bounds[i+1], false)
				if err != nil {
					t.Fatal(err)
				}
				in.ID = fmt.Sprint(account, i)
				m.invoices = append(m.invoices, in)
				of := statement(t, e, Query{From: in.From, To: in.To, Account: account})
				if got := sum(of).billed.Round(2, billing.HalfEven); got != in.Total {
					t.Fatalf("seed %d: invoice %s is %s, its charges %s", seed, in.ID, in.Total, got)
				}
				for _, c := range of {
					if c.Invoice != in.ID {
						t.Fatalf("seed %d: a charge of invoice %s is in %q", seed, in.ID, c.Invoice)
					}
				}
				kept = append(kept, of)
				total = total.Plus(sum(of).billed)
			}
		}
		m.record(segments...)
		for i, in := range m.invoices {
			if again := statement(t, e, Query{From: in.From, To: in.To, Account: in.Account}); sum(again) != sum(kept[i]) || len(again) != len(kept[i]) {
				t.Fatalf("seed %d: invoice %s has changed from %+v to %+v", seed, in.ID, sum(kept[i]), sum(again))
			}
		}
		last := statement(t, e, Query{From: at(22, 0, 0), To: end})
		corrections := 0
		for _, c := range last {
			if c.Invoice != "" {
				t.Fatalf("seed %d: a charge that isn't invoiced is in %s", seed, c.Invoice)
			}
			if c.Correction != "" {
				corrections++
				if c.From >= at(22, 0, 0).UnixMilli() {
					t.Fatalf("seed %d: a correction of %s within its own period", seed, time.UnixMilli(c.From))
				}
			}
		}
		want := sum(charges(t, e, Query{From: start, To: end})).billed
		if got := total.Plus(sum(last).billed); got != want {
			t.Fatalf("seed %d: invoices and the rest are %s, everything is %s (%d corrections)", seed, got, want, corrections)
		}
		v, err := e.Verify(t.Context(), Query{From: start, To: end})
		if err != nil || !v.OK || v.Invoices != int64(len(m.invoices)) {
			t.Fatalf("seed %d: verification: %v %+v", seed, err, v)
		}
	}
}

func TestUnsettled(t *testing.T) {
	m := &memory{}
	running := segment("shop.a", 1, 1000, 0, at(2, 0, 0), time.Time{})
	m.open = []usagev1.Segment{running}
	shanghai, _ := time.LoadLocation("Asia/Shanghai")
	p := dayPlan("east", "1", 500_000, billing.Scope{})
	p.Zone, p.Start = shanghai, billing.Midnight(2026, 11, 2, shanghai)
	for _, c := range []struct {
		now     time.Time
		account string
		want    string
	}{
		{at(2, 23, 0), "retail", "it ends at 2026-11-03"},
		{at(3, 1, 0), "retail", "the day of savings plan east ends at 2026-11-03T16:00:00Z"},
		{at(3, 17, 0), "retail", "1 segments that began before its end are still open, one of pod shop/shop.a on node n"},
		{at(3, 17, 0), DefaultAccount, ""},
	} {
		_, err := newEngine(t, m, c.now, p).Draft(t.Context(), c.account, at(2, 0, 0), at(3, 0, 0), false)
		if (err == nil) != (c.want == "") || err != nil && !contains(err.Error(), c.want) {
			t.Errorf("at %s, %s: %v, want %q", c.now, c.account, err, c.want)
		}
	}
	if _, err := newEngine(t, m, at(3, 1, 0), p).Draft(t.Context(), "retail", at(2, 0, 0), at(3, 0, 0), true); err != nil {
		t.Errorf("forced: %v", err)
	}
}

func TestAdjustments(t *testing.T) {
	m := &memory{adjustments: []ledger.Adjustment{
		{ID: "1", Account: "retail", Project: "shop", At: at(2, 0, 0), Amount: billing.MustMoney("-5"), Reason: "an outage", Record: 3},
		{ID: "2", Account: DefaultAccount, At: at(3, 0, 0), Amount: billing.MustMoney("7"), Reason: "support", Record: 4},
	}}
	e := newEngine(t, m, at(20, 0, 0))
	for _, c := range []struct {
		q    Query
		want string
	}{
		{Query{}, "2"}, {Query{Project: "shop"}, "-5"}, {Query{Account: DefaultAccount}, "7"}, {Query{Through: 3}, "-5"}, {Query{UID: "u"}, "0"},
	} {
		c.q.From, c.q.To = at(1, 0, 0), at(10, 0, 0)
		if got := sum(charges(t, e, c.q)).billed.String(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.q, got, c.want)
		}
	}
}
