package costs

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/ledger"
)

// memory is a ledger in memory: each segment once, with the record that it came in.
type memory struct {
	segments    []recorded
	open        []usagev1.Segment
	adjustments []ledger.Adjustment
	invoices    []ledger.Invoice
	lives       []usagev1.Lifecycle
	refusals    []ledger.Refusal
	gaps        []ledger.Gap
	sequence    int64
}

type recorded struct {
	usagev1.Segment
	record int64
}

func (m *memory) record(list ...usagev1.Segment) {
	for _, s := range list {
		if !slices.ContainsFunc(m.segments, func(r recorded) bool { return r.ID == s.ID }) {
			m.sequence++
			m.segments = append(m.segments, recorded{s, m.sequence})
		}
	}
	slices.SortFunc(m.segments, func(a, b recorded) int {
		return cmp.Or(cmp.Compare(dayOf(&a.Segment), dayOf(&b.Segment)), strings.Compare(a.PodUID, b.PodUID), cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.Sequence, b.Sequence))
	})
}

func (m *memory) Each(ctx context.Context, f ledger.Filter, fn func(*usagev1.Segment) error) error {
	all := m.segments
	if f.Through == 0 {
		for _, s := range m.open {
			all = append(slices.Clip(all), recorded{Segment: s})
		}
	}
	for _, r := range all {
		s := r.Segment
		if (f.Namespace != "" && f.Namespace != s.Namespace) || (f.Pod != "" && f.Pod != s.Pod) || (f.UID != "" && f.UID != s.PodUID) ||
			(!f.To.IsZero() && !s.Start.Before(f.To)) || (!f.From.IsZero() && !s.Open() && !s.End.After(f.From)) || (f.Through != 0 && r.record > f.Through) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fn(&s); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) Adjustments(_ context.Context, from, to time.Time) ([]ledger.Adjustment, error) {
	return slices.DeleteFunc(slices.Clone(m.adjustments), func(a ledger.Adjustment) bool { return a.At.Before(from) || !a.At.Before(to) }), nil
}

func (m *memory) Invoices(context.Context) ([]ledger.Invoice, error) {
	return slices.Clone(m.invoices), nil
}
func (m *memory) Sequence(context.Context) (int64, error)           { return m.sequence, nil }
func (m *memory) Gaps(context.Context) ([]ledger.Gap, error)        { return m.gaps, nil }
func (m *memory) Refused(context.Context) ([]ledger.Refusal, error) { return m.refusals, nil }
func (m *memory) EachLifecycle(_ context.Context, f ledger.Filter, fn func(*usagev1.Lifecycle) error) error {
	for i := range m.lives {
		if l := m.lives[i]; f.Namespace == "" || f.Namespace == l.Namespace {
			if err := fn(&l); err != nil {
				return err
			}
		}
	}
	return nil
}

// at is a time of November 2026.
func at(day, hour, minute int) time.Time {
	return time.Date(2026, 11, day, hour, minute, 0, 0, time.UTC)
}

func segment(pod string, sequence int64, cpuMilli, memory int64, from, to time.Time) usagev1.Segment {
	project, _, _ := strings.Cut(pod, ".")
	return usagev1.Segment{ID: usagev1.ID{PodUID: "uid-" + pod, Generation: sequence, Sequence: sequence}, Namespace: project, Pod: pod, Node: "n",
		ComputeClass: "general-purpose", QoS: "default", CPUMilli: cpuMilli, MemoryBytes: memory, Start: from, End: to}
}

func exactBooks(t *testing.T) *billing.Books {
	t.Helper()
	books, err := billing.LoadBooks(billing.DefaultBook)
	if err != nil {
		t.Fatal(err)
	}
	return books
}

func newEngine(t *testing.T, m *memory, now time.Time, plans ...*billing.Plan) *Engine {
	t.Helper()
	e, err := New(Config{
		Ledger: m, Books: exactBooks(t), Plans: func() []*billing.Plan { return plans }, Now: func() time.Time { return now },
		Account: func(project string) string {
			if project == "shop" || project == "search" {
				return "retail"
			}
			return DefaultAccount
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func charges(t *testing.T, e *Engine, q Query) []billing.Charge {
	t.Helper()
	return collect(t, func(yield func(*billing.Charge) error) error { return e.Charges(t.Context(), q, yield) })
}

func statement(t *testing.T, e *Engine, q Query) []billing.Charge {
	t.Helper()
	return collect(t, func(yield func(*billing.Charge) error) error { return e.Statement(t.Context(), q, yield) })
}

func collect(t *testing.T, run func(func(*billing.Charge) error) error) []billing.Charge {
	t.Helper()
	var out []billing.Charge
	if err := run(func(c *billing.Charge) error {
		own := *c
		if c.Segment != nil {
			s := *c.Segment
			own.Segment = &s
		}
		out = append(out, own)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

type sums struct {
	quantity                billing.Quantity
	list, billed, effective billing.Money
}

func sum(list []billing.Charge) (s sums) {
	for _, c := range list {
		s.quantity += c.Quantity
		s.list, s.billed, s.effective = s.list.Plus(c.List), s.billed.Plus(c.Billed), s.effective.Plus(c.Effective)
	}
	return s
}

func dayPlan(name, commitment string, discount billing.Discount, scope billing.Scope) *billing.Plan {
	return &billing.Plan{Name: name, UID: name, Interval: billing.Day, Zone: time.UTC, Start: at(1, 0, 0), End: at(29, 0, 0),
		Commitment: billing.MustMoney(commitment), Discounts: []billing.PlanDiscount{{Discount: discount}}, Scope: scope}
}
