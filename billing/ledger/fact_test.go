package ledger

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"swell.dev/swell/billing"
)

// refuses reports an error that doesn't say what it should.
func refuses(t *testing.T, err error, says string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("%v, want %q", err, says)
	}
}

func TestCorrectionsAreChecked(t *testing.T) {
	eachStore(t, func(t *testing.T, place func() string) {
		l := openLedger(t, place())
		s, other, open := segment("a", 1, 0, time.Hour), segment("a", 2, 0, time.Hour), segment("a", 1, 0, 0)
		record(t, l, s)
		good := Correction{ID: s.ID, Segment: &s, Reason: "why", By: "who"}
		for says, change := range map[string]func(*Correction){
			"void": func(c *Correction) { c.Void = true }, "either": func(c *Correction) { c.Segment = nil }, "reason": func(c *Correction) { c.Reason = "" },
			"by": func(c *Correction) { c.By = "" }, "same id": func(c *Correction) { c.Segment = &other }, "open": func(c *Correction) { c.Segment = &open },
			"no such segment": func(c *Correction) { c.ID, c.Segment = other.ID, &other },
		} {
			c := good
			change(&c)
			refuses(t, l.Correct(t.Context(), c), says)
		}
		if got, err := l.Corrections(t.Context(), Filter{}); err != nil || len(got) != 0 {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// TestCorrectionsAreAppended: what was read before a correction can be read for ever.
func TestCorrectionsAreAppended(t *testing.T) {
	eachStore(t, func(t *testing.T, place func() string) {
		l := openLedger(t, place())
		s := segment("a", 1, 0, time.Hour)
		record(t, l, s, segment("b", 1, 0, time.Hour))
		before := newest(t, l)
		moved := s
		moved.Namespace, moved.Start = "other", begin.Add(-48*time.Hour)
		for _, c := range []Correction{{ID: s.ID, Segment: &moved}, {ID: s.ID, Void: true}, {ID: s.ID, Segment: &moved}} {
			c.Reason, c.By = "why", "who"
			if err := l.Correct(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		if got := all(t, l, Filter{}); len(got) != 2 || !reflect.DeepEqual(got[0], moved) {
			t.Errorf("%+v", got)
		}
		if got := all(t, l, Filter{Namespace: "other"}); len(got) != 1 {
			t.Errorf("%+v", got)
		}
		if got := all(t, l, Filter{Namespace: "default"}); len(got) != 1 || got[0].PodUID != "b" {
			t.Errorf("%+v", got)
		}
		if got := all(t, l, Filter{Through: before}); len(got) != 2 || !reflect.DeepEqual(got[0], s) {
			t.Errorf("before: %+v", got)
		}
		for f, want := range map[Filter]int{{Namespace: "default"}: 3, {Namespace: "other"}: 2, {UID: "b"}: 0, {Through: before + 1}: 1} {
			if got, err := l.Corrections(t.Context(), f); err != nil || len(got) != want {
				t.Errorf("%+v: %+v, %v", f, got, err)
			}
		}
	})
}

func TestAdjustments(t *testing.T) {
	eachStore(t, func(t *testing.T, place func() string) {
		l := openLedger(t, place())
		a := Adjustment{ID: "goodwill-1", Project: "web", Account: "acme", At: begin, Amount: billing.MustMoney("-12.5"), Reason: "outage", By: "who"}
		for range 2 {
			if err := l.Adjust(t.Context(), a); err != nil {
				t.Fatal(err)
			}
		}
		other, later := a, a
		other.Amount = billing.MustMoney("-13")
		refuses(t, l.Adjust(t.Context(), other), "other contents")
		later.ID, later.At = "goodwill-2", begin.Add(time.Hour)
		if err := l.Adjust(t.Context(), later); err != nil {
			t.Fatal(err)
		}
		for says, bad := range map[string]Adjustment{"account is empty": {ID: "x", At: begin, Amount: a.Amount, Reason: "r", By: "b"}, "amount": {ID: "x", Account: "a", At: begin, Reason: "r", By: "b"}} {
			refuses(t, l.Adjust(t.Context(), bad), says)
		}
		got, err := l.Adjustments(t.Context(), begin, begin.Add(time.Hour))
		if err != nil || len(got) != 1 || got[0].Record == 0 {
			t.Fatalf("%+v, %v", got, err)
		}
		got[0].Record = 0
		if got[0] != a {
			t.Errorf("%+v", got[0])
		}
		if got, err := l.Adjustments(t.Context(), time.Time{}, time.Time{}); err != nil || len(got) != 2 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestATimeIsInvoicedOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, place func() string) {
		l := openLedger(t, place())
		month := func(id, account string, m time.Month) Invoice {
			from := time.Date(2026, m, 1, 0, 0, 0, 0, time.UTC)
			return Invoice{ID: id, Account: account, From: from, To: from.AddDate(0, 1, 0), Through: 7, Total: billing.MustMoney("1.000000000000000000001"), Currency: "CNY", Closed: begin}
		}
		march := month("acme-2026-03", "acme", time.March)
		for _, i := range []Invoice{march, march, month("acme-2026-04", "acme", time.April), month("other-2026-03", "other", time.March)} {
			if err := l.CloseInvoice(t.Context(), i); err != nil {
				t.Fatal(err)
			}
		}
		overlap, changed := march, march
		overlap.ID, overlap.From = "again", march.From.Add(24*time.Hour)
		changed.Through++
		refuses(t, l.CloseInvoice(t.Context(), overlap), "by acme-2026-03")
		refuses(t, l.CloseInvoice(t.Context(), changed), "other contents")
		refuses(t, l.CloseInvoice(t.Context(), Invoice{ID: "x", Account: "a", Currency: "CNY"}), "want a period")
		got, err := l.Invoices(t.Context())
		if err != nil || len(got) != 3 {
			t.Fatalf("%+v, %v", got, err)
		}
		got[0].Record = 0
		if got[0] != march {
			t.Errorf("%+v", got[0])
		}
	})
}

func TestAVersionOfTheBookStands(t *testing.T) {
	eachStore(t, func(t *testing.T, place func() string) {
		l := openLedger(t, place())
		for _, version := range []string{"2026-01", "2026-02", "2026-01"} {
			if err := l.RememberBook(t.Context(), version, "abc", "currency: CNY\n"); err != nil {
				t.Fatal(err)
			}
		}
		refuses(t, l.RememberBook(t.Context(), "2026-01", "def", "currency: EUR\n"), "a version of its own")
		if got, err := l.Books(t.Context()); err != nil || len(got) != 2 || got[0] != (Book{"2026-01", "abc", "currency: CNY\n"}) {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestLifecycles(t *testing.T) {
	eachStore(t, func(t *testing.T, place func() string) {
		l := openLedger(t, place())
		life := func(uid string, from, to time.Duration) Lifecycle {
			return Lifecycle{PodUID: uid, Namespace: "default", Pod: "pod-" + uid, Node: "n", Accepted: begin.Add(from - time.Second), Started: begin.Add(from), Ended: begin.Add(to), Restarts: 2}
		}
		want := []Lifecycle{life("c", -time.Millisecond, time.Hour), life("a", 0, 48*time.Hour), life("b", time.Hour, 2*time.Hour)}
		again := life("a", 0, 49*time.Hour)
		for _, lives := range [][]Lifecycle{{want[2], want[0]}, {want[1]}, {want[0], again}} {
			if err := l.RecordLifecycles(t.Context(), lives); err != nil {
				t.Fatal(err)
			}
		}
		refuses(t, l.RecordLifecycles(t.Context(), []Lifecycle{life("", 0, 1)}), "want a UID")
		refuses(t, l.RecordLifecycles(t.Context(), []Lifecycle{life("x", 2, 1)}), "ended after it started")
		read := func(f Filter) (got []Lifecycle) {
			if err := l.EachLifecycle(t.Context(), f, func(p *Lifecycle) error { got = append(got, *p); return nil }); err != nil {
				t.Fatal(err)
			}
			return got
		}
		if got := read(Filter{}); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v", got)
		}
		for f, n := range map[Filter]int{{UID: "a"}: 1, {Namespace: "x"}: 0, {Pod: "pod-b"}: 1, {From: begin.Add(time.Hour)}: 2, {To: begin}: 1} {
			if got := read(f); len(got) != n {
				t.Errorf("%+v: %+v", f, got)
			}
		}
	})
}
