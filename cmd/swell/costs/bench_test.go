package costs

import (
	"fmt"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/ledger"
)

// benchEngine is an engine on a ledger with a day of segments and a plan.
func benchEngine(b *testing.B, segments int) (*Engine, Query) {
	b.Helper()
	l, err := ledger.Open(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	var batch []usagev1.Segment
	for i := range segments {
		from := at(2, 0, 0).Add(time.Duration(i) * 23 * time.Hour / time.Duration(segments)).Truncate(time.Millisecond)
		s := segment(fmt.Sprintf("p%d.%d", i%1000, i), 1, 500, 1<<30, from, from.Add(10*time.Minute))
		if batch = append(batch, s); len(batch) == 1000 || i == segments-1 {
			if err := l.Record(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
			batch = batch[:0]
		}
	}
	books, err := billing.LoadBooks(billing.DefaultBook)
	if err != nil {
		b.Fatal(err)
	}
	e, err := New(Config{Ledger: l, Books: books, Now: func() time.Time { return at(20, 0, 0) },
		Plans: func() []*billing.Plan { return []*billing.Plan{dayPlan("p", "100", 550_000, billing.Scope{})} }})
	if err != nil {
		b.Fatal(err)
	}
	return e, Query{From: at(2, 0, 0), To: at(3, 0, 0)}
}

const benchSegments = 100_000

func BenchmarkCharges(b *testing.B) {
	e, q := benchEngine(b, benchSegments)
	for b.Loop() {
		if err := e.Charges(b.Context(), q, func(*billing.Charge) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchSegments, "ns/segment")
}

func BenchmarkVerify(b *testing.B) {
	e, q := benchEngine(b, benchSegments)
	for b.Loop() {
		if v, err := e.Verify(b.Context(), q); err != nil || !v.OK {
			b.Fatal(v, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchSegments, "ns/segment")
}
