package costs

import (
	"context"
	"fmt"
	"iter"
	"math/big"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/ledger"
	"swell.dev/swell/billing/plan"
)

// evidence is what bills are checked against, beside the segments.
type evidence interface {
	facts
	Gaps(context.Context) ([]ledger.Gap, error)
	EachLifecycle(context.Context, ledger.Filter, func(*usagev1.Lifecycle) error) error
	Refused(context.Context) ([]ledger.Refusal, error)
}

var _ evidence = (*ledger.Ledger)(nil)

// Bounds of a check's answer, and of what two clocks may differ by.
const (
	maxFindings = 1000 // each kind; they are counted beyond

	// A status says seconds, cut off; metering begins right before a container's start.
	lifeSlack = 2 * time.Second
	// A container that can't be started is tried for so long before metering's beginning is out of proportion.
	startSlack = 30 * time.Second
)

// Verify works a period's bill out again, by other means than bills are made by, and says where it isn't right.
func (e *Engine) Verify(ctx context.Context, q Query) (*v1alpha1.BillVerification, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	proofs, ok := e.cfg.Ledger.(evidence)
	if !ok {
		return nil, fmt.Errorf("verification: a %T keeps no evidence", e.cfg.Ledger)
	}
	q = e.fix(q)
	v := &verifier{
		e: e, q: q, pods: map[string]*meteredPod{},
		out: &v1alpha1.BillVerification{From: q.From.UTC().Format(time.RFC3339), To: q.To.UTC().Format(time.RFC3339), Currency: e.cfg.Books.Currency(), OK: true},
	}
	for _, step := range []func(context.Context, evidence) error{v.days, v.seams, v.plans, v.invoices, v.refused} {
		if err := step(ctx, proofs); err != nil {
			return nil, err
		}
	}
	return v.out, nil
}

type verifier struct {
	e    *Engine
	q    Query
	out  *v1alpha1.BillVerification
	pods map[string]*meteredPod // of a day

	billed, effective billing.Money
	worth             worth
}

func (v *verifier) find(f v1alpha1.BillFinding) {
	v.out.OK = false
	if v.out.FindingsTotal++; len(v.out.Findings) < maxFindings {
		v.out.Findings = append(v.out.Findings, f)
	}
}

// days checks use day by day, UTC, so that no more than a day's pods are in memory at a time.
func (v *verifier) days(ctx context.Context, p evidence) error {
	var list billing.Money
	for from := v.q.From; from.Before(v.q.To); {
		to := from.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
		if to.After(v.q.To) {
			to = v.q.To
		}
		day := v.q
		day.From, day.To = from, to
		v.pods = map[string]*meteredPod{}
		charged, err := v.amounts(ctx, day)
		if err != nil {
			return err
		}
		list = list.Plus(charged)
		if err := v.lives(ctx, p, day); err != nil {
			return err
		}
		from = to
	}
	v.pods = nil
	v.out.List, v.out.Billed, v.out.Effective = list.String(), v.billed.String(), v.effective.String()
	exact := v.worth.sum()
	v.out.Exact = exact.FloatString(18)
	v.out.Rounding = new(big.Rat).Sub(rat(list), exact).FloatString(18)
	return nil
}

// amounts compares the charges of each segment with its size times its time, in whole numbers, and sums up what that
// comes to at list. They may differ by what rounding the segment's quantities comes to.
func (v *verifier) amounts(ctx context.Context, q Query) (charged billing.Money, err error) {
	// Both come in the ledger's order.
	next, stop := iter.Pull2(v.e.groups(ctx, q))
	defer stop()
	g, err, more := next()
	take := func() { // the charges that g holds
		for i := range g.charges {
			c := &g.charges[i]
			v.out.Charges++
			v.billed, v.effective = v.billed.Plus(c.Billed), v.effective.Plus(c.Effective)
			if c.Kind == billing.Usage {
				charged = charged.Plus(c.List)
				if c.List != c.Quantity.At(c.Item.Price) {
					v.find(v.about(c.Segment, "product", fmt.Sprintf("%s: %s × %s isn't %s", c.Item.ID, c.Quantity.Hours(), c.Item.Price, c.List)))
				}
			}
		}
		g, err, more = next()
	}
	if err != nil {
		return charged, err
	}
	each := v.e.cfg.Ledger.Each(ctx, q.filter(), func(s *usagev1.Segment) error {
		if q.Account != "" && v.e.cfg.Account(s.Namespace) != q.Account {
			return nil
		}
		v.out.Segments++
		v.see(s)
		of := &group{segment: s}
		for more && err == nil && g.compare(of) < 0 {
			v.find(v.about(g.segment, "unknown", "charged for a segment that isn't recorded"))
			take()
		}
		var own []billing.Charge
		found := more && err == nil && g.compare(of) == 0
		if found {
			own = g.charges
		}
		wrong, err2 := v.worth.segment(v.e.cfg.Books, s, q, own)
		if err2 != nil {
			return err2
		}
		if wrong != "" {
			v.find(v.about(s, "amount", wrong))
		}
		if found {
			take()
		}
		return err
	})
	if each != nil {
		return charged, each
	}
	for more && err == nil {
		if g.segment != nil && !g.minimum {
			v.find(v.about(g.segment, "unknown", "charged for a segment that isn't recorded"))
		}
		for i := range g.charges { // what is missing to a minimum duration is worth what it is charged
			if c := &g.charges[i]; c.Minimum {
				v.worth.more.Add(&v.worth.more, rat(c.List))
			}
		}
		take()
	}
	return charged, err
}

func rat(m billing.Money) *big.Rat {
	r, _ := new(big.Rat).SetString(m.String())
	return r
}

func (v *verifier) about(s *usagev1.Segment, kind, message string) v1alpha1.BillFinding {
	return v1alpha1.BillFinding{Kind: kind, Project: s.Namespace, Pod: s.Pod, PodUID: s.PodUID, Segment: s.ID.String(), Message: message}
}

// meteredPod is when segments say that a pod ran.
type meteredPod struct {
	from, to time.Time
	open     bool
}

func (v *verifier) see(s *usagev1.Segment) { v.pods[s.PodUID] = v.pods[s.PodUID].with(s) }

func (p *meteredPod) with(s *usagev1.Segment) *meteredPod {
	if p == nil {
		p = &meteredPod{from: s.Start, to: s.End}
	}
	if s.Start.Before(p.from) {
		p.from = s.Start
	}
	if s.End.After(p.to) {
		p.to = s.End
	}
	p.open = p.open || s.Open()
	return p
}

// seams looks for time that no segment of a pod, or more than one, has.
func (v *verifier) seams(ctx context.Context, p evidence) error {
	gaps, err := p.Gaps(ctx)
	if err != nil {
		return err
	}
	for _, g := range gaps {
		if g.To.Before(v.q.From) && g.From.Before(v.q.From) || !g.From.Before(v.q.To) {
			continue
		}
		var of *usagev1.Segment
		if err := p.Each(ctx, ledger.Filter{UID: g.PodUID}, func(s *usagev1.Segment) error {
			if of == nil {
				one := *s
				of = &one
			}
			return nil
		}); err != nil {
			return err
		}
		if of == nil || (v.q.UID != "" && v.q.UID != g.PodUID) || (v.q.Project != "" && v.q.Project != of.Namespace) ||
			(v.q.Pod != "" && v.q.Pod != of.Pod) || (v.q.Account != "" && v.q.Account != v.e.cfg.Account(of.Namespace)) {
			continue
		}
		f := v1alpha1.BillFinding{Kind: "missing", Project: of.Namespace, Pod: of.Pod, PodUID: g.PodUID, From: stamp(g.From), To: stamp(g.To)}
		f.Message = fmt.Sprintf("behind segment %d nothing was metered for %s", g.After, g.To.Sub(g.From))
		switch {
		case g.To.Before(g.From):
			f.Kind, f.Message = "double", fmt.Sprintf("behind segment %d the time from %s to %s was metered twice", g.After, stamp(g.To), stamp(g.From))
		case g.To.Equal(g.From):
			f.Message = fmt.Sprintf("behind segment %d a number is left out", g.After)
		}
		v.find(f)
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// lives compares when the pods that ended in a day ran, by their status, with when they were metered.
func (v *verifier) lives(ctx context.Context, p evidence, q Query) error {
	f := q.filter()
	f.Through = 0
	return p.EachLifecycle(ctx, f, func(l *usagev1.Lifecycle) error {
		if l.Ended.Before(q.From) || !l.Ended.Before(q.To) {
			return nil
		}
		if v.q.Account != "" && v.e.cfg.Account(l.Namespace) != v.q.Account {
			return nil
		}
		v.out.Lifecycles++
		finding := v1alpha1.BillFinding{Kind: "missing", Project: l.Namespace, Pod: l.Pod, PodUID: l.PodUID, From: stamp(l.Started), To: stamp(l.Ended)}
		m := v.pods[l.PodUID]
		if l.Started.Add(-startSlack).Before(q.From) || !l.Ended.Add(lifeSlack).Before(q.To) { // other days have segments of it
			m = nil
			if err := p.Each(ctx, ledger.Filter{UID: l.PodUID}, func(s *usagev1.Segment) error {
				m = m.with(s)
				return nil
			}); err != nil {
				return err
			}
		}
		if m == nil {
			if l.Ended.Sub(l.Started) > lifeSlack {
				finding.Message = "the pod ran and nothing of it was metered"
				v.find(finding)
			}
			return nil
		}
		v.life(l, m, finding)
		return nil
	})
}

func (v *verifier) life(l *usagev1.Lifecycle, m *meteredPod, f v1alpha1.BillFinding) {
	switch {
	case m.open && v.q.now.Sub(l.Ended) > time.Minute:
		f.Kind, f.Message = "double", "the pod has ended, and is metered still"
	case m.from.After(l.Started.Add(lifeSlack)):
		f.Message = fmt.Sprintf("metering began %s after the pod", m.from.Sub(l.Started))
	case !m.open && m.to.Before(l.Ended.Add(-lifeSlack)):
		f.Message = fmt.Sprintf("metering ended %s before the pod", l.Ended.Sub(m.to))
	case !m.open && m.to.After(l.Ended.Add(lifeSlack)):
		f.Kind, f.Message = "double", fmt.Sprintf("metering went on for %s after the pod's end", m.to.Sub(l.Ended))
	case l.Restarts == 0 && m.from.Before(l.Started.Add(-startSlack)):
		f.Kind, f.Message = "double", fmt.Sprintf("metering began %s before the pod", l.Started.Sub(m.from))
	default:
		return
	}
	v.find(f)
}

// plans checks that what each interval's commitment bought and what it left are the commitment.
func (v *verifier) plans(ctx context.Context, _ evidence) error {
	if v.q.Project != "" || v.q.Pod != "" || v.q.UID != "" || v.q.Account != "" {
		return nil // a commitment is drawn by use beyond what is looked at
	}
	type key struct {
		plan *billing.Plan
		from int64
	}
	plans := plansOf(v.q)
	from, to := plan.Whole(plans, v.q.From.UnixMilli(), v.q.To.UnixMilli())
	wide := v.q
	wide.From, wide.To, wide.Cuts = time.UnixMilli(from), time.UnixMilli(to), plan.Boundaries(plans, from, to)
	used := map[key]billing.Money{}
	var spans []billing.Charge
	interval := func(p *billing.Plan, at int64) int64 {
		begin, _ := p.Bounds(time.UnixMilli(at))
		return begin.UnixMilli()
	}
	if err := v.e.Charges(ctx, wide, func(c *billing.Charge) error {
		switch {
		case c.Plan == nil:
		case c.Kind == billing.Purchase:
			spans = append(spans, *c)
		default:
			k := key{c.Plan, interval(c.Plan, c.From)}
			used[k] = used[k].Plus(c.Effective)
		}
		return nil
	}); err != nil {
		return err
	}
	for i := range spans {
		c := &spans[i]
		if c.From < v.q.From.UnixMilli() || c.To > v.q.To.UnixMilli() || c.To > v.q.now.UnixMilli() {
			continue
		}
		v.out.PlanIntervals++
		if got := used[key{c.Plan, c.From}]; got != c.Billed {
			v.find(v1alpha1.BillFinding{Kind: "plan", From: stamp(time.UnixMilli(c.From)), To: stamp(time.UnixMilli(c.To)),
				Message: fmt.Sprintf("savings plan %s: use and what was left come to %s of a commitment of %s", c.Plan.Name, got, c.Billed)})
		}
	}
	return nil
}

// invoices works closed invoices out again.
func (v *verifier) invoices(ctx context.Context, p evidence) error {
	all, err := p.Invoices(ctx)
	if err != nil {
		return err
	}
	for i := range all {
		in := &all[i]
		if in.From.Before(v.q.From) || in.To.After(v.q.To) || (v.q.Account != "" && in.Account != v.q.Account) || v.q.Project != "" || v.q.Pod != "" || v.q.UID != "" {
			continue
		}
		v.out.Invoices++
		var sum billing.Money
		if err := v.e.Statement(ctx, Query{From: in.From, To: in.To, Account: in.Account, plans: v.q.plans, now: v.q.now}, func(c *billing.Charge) error {
			sum = sum.Plus(c.Billed)
			return nil
		}); err != nil {
			return err
		}
		book := v.e.cfg.Books.At(in.To.UnixMilli() - 1)
		if got := sum.Round(book.Decimals, book.Rounding); got != in.Total {
			v.find(v1alpha1.BillFinding{Kind: "invoice", From: stamp(in.From), To: stamp(in.To), Message: fmt.Sprintf("invoice %s was closed at %s, and comes to %s", in.ID, in.Total, got)})
		}
	}
	return nil
}

// refused tells of segments that came again and said something else.
func (v *verifier) refused(ctx context.Context, p evidence) error {
	list, err := p.Refused(ctx)
	if err != nil {
		return err
	}
	for i := range list {
		s := &list[i].Segment
		if !s.Start.Before(v.q.To) || s.End.Before(v.q.From) || (v.q.Project != "" && s.Namespace != v.q.Project) || (v.q.UID != "" && s.PodUID != v.q.UID) {
			continue
		}
		v.find(v.about(s, "conflict", "it came again and said something else; the first stands"))
	}
	return nil
}
