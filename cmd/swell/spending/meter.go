// Package spending knows at any moment what projects have cost since some time, without summing up what is long past:
// it reads the ledger once and then hears of each segment that is recorded. Budgets are held against it.
//
// What a project has cost is what its use costs when savings plans are laid onto it, as in reports (effective cost),
// up to now: closed segments, and those that are open as if they ended now. What commitments leave unused is nobody's
// use and isn't in it, nor are adjustments.
package spending

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/ledger"
	"swell.dev/swell/billing/plan"
	"swell.dev/swell/billing/rating"
)

type facts interface {
	Follow(context.Context, ledger.Filter, func(*usagev1.Segment) error, func([]*usagev1.Segment)) (stop func(), err error)
	Open(context.Context, ledger.Filter) ([]usagev1.Segment, error)
	Corrections(context.Context, ledger.Filter) ([]ledger.Correction, error)
}

// Config joins a meter to what it works on.
type Config struct {
	Ledger  facts
	Books   *billing.Books
	Plans   func() []*billing.Plan
	Account func(project string) string
}

// Meter is asked by one goroutine at a time.
type Meter struct {
	cfg Config

	mu      sync.Mutex        // guards what follows
	pending []usagev1.Segment // recorded and not yet counted
	lost    bool              // too many were: nobody has asked for long

	count *count // nil: begin anew
}

// recountAfter is how long a count is carried on: what others record in the same database, and what wasn't known to
// be recorded when the connection broke, is found then.
const recountAfter = time.Hour

// count is what has been summed up.
type count struct {
	made        time.Time
	since       []time.Time
	from, to    int64 // Unix milliseconds: what decides about the time since the first of since
	plans       []*billing.Plan
	corrections int
	stop        func() // following the ledger

	atoms []int64 // beginnings of the slices of time that cells are of
	rater rating.Rater
	least *rating.Minimum
	short map[string]int64 // pods that may be billed for a minimum duration: when they started
	sums  sums
}

// New makes a meter. Its Close ends it.
func New(cfg Config) *Meter { return &Meter{cfg: cfg} }

// Close stops following the ledger.
func (m *Meter) Close() { m.drop() }

func (m *Meter) drop() {
	if m.count != nil {
		m.count.stop()
		m.count = nil
	}
}

// Project is what one has cost since a time.
type Project struct {
	Spent   billing.Money
	PerHour billing.Money // at list, of what is open now
	First   time.Time     // from when it has used anything
}

// Spending answers what each project has cost since each of some ascending times.
func (m *Meter) Spending(ctx context.Context, now time.Time, since []time.Time) ([]map[string]Project, error) {
	corrections, err := m.cfg.Ledger.Corrections(ctx, ledger.Filter{})
	if err != nil {
		return nil, err
	}
	plans := inForce(m.cfg.Plans())
	if c := m.count; c == nil || !slices.EqualFunc(c.since, since, time.Time.Equal) || !slices.EqualFunc(c.plans, plans, samePlan) ||
		c.corrections != len(corrections) || now.Sub(c.made) > recountAfter || m.isLost() || now.UnixMilli() >= c.to {
		m.drop()
		if err := m.begin(ctx, now, since, plans, len(corrections)); err != nil {
			return nil, err
		}
	}
	out, err := m.look(ctx, now)
	if err != nil {
		m.drop() // what was counted in part is counted anew
	}
	return out, err
}

// inForce leaves out plans that were returned, which have never been.
func inForce(plans []*billing.Plan) []*billing.Plan {
	return slices.DeleteFunc(slices.Clone(plans), func(p *billing.Plan) bool { return !p.Returned.IsZero() })
}

// samePlan: a plan doesn't change once it is bought.
func samePlan(a, b *billing.Plan) bool { return a.UID == b.UID }

// ahead is how far beyond now a count reaches at least.
const ahead = 32 * 24 * time.Hour

func (m *Meter) begin(ctx context.Context, now time.Time, since []time.Time, plans []*billing.Plan, corrections int) error {
	c := &count{made: now, since: slices.Clone(since), plans: plans, corrections: corrections, least: rating.NewMinimum(m.cfg.Books), short: map[string]int64{}}
	c.from, c.to = plan.Whole(plans, since[0].UnixMilli(), now.Add(ahead).UnixMilli())
	cuts := plan.Boundaries(plans, c.from, c.to)
	for _, t := range since {
		if at := t.UnixMilli(); at > c.from {
			cuts = append(cuts, at)
		}
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	c.atoms = append([]int64{c.from}, cuts...)
	c.rater = rating.Rater{Books: m.cfg.Books, Cuts: append([]int64{c.from}, cuts...)}
	c.sums.init()
	m.mu.Lock()
	m.pending, m.lost = nil, false
	m.mu.Unlock()
	f := ledger.Filter{From: time.UnixMilli(c.from).Add(-c.least.Longest())}
	stop, err := m.cfg.Ledger.Follow(ctx, f, c.closed, m.later)
	if err != nil {
		return err
	}
	c.stop = stop
	m.count = c
	return nil
}

// later hears of what is recorded. Whoever records doesn't wait for a look.
func (m *Meter) later(list []*usagev1.Segment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lost = m.lost || len(m.pending)+len(list) > maxPending; m.lost {
		m.pending = nil
		return
	}
	for _, s := range list {
		m.pending = append(m.pending, *s)
	}
}

// maxPending bounds the memory of what waits to be counted.
const maxPending = 1 << 18

func (m *Meter) isLost() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lost
}

func (m *Meter) take() []usagev1.Segment {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.pending
	m.pending = nil
	return out
}

// closed counts a closed segment for good.
func (c *count) closed(s *usagev1.Segment) error {
	if c.least.Needed() {
		start := s.Start.UnixMilli()
		if was, ok := c.short[s.PodUID]; !ok || start < was {
			c.short[s.PodUID] = start
		}
		c.least.Add(s)
	}
	return c.rate(s, &c.sums)
}

func (c *count) rate(s *usagev1.Segment, into *sums) error {
	return c.rater.Rate(s, func(l *billing.Line) error { return c.line(l, into) })
}

// line adds a line to the cell of its time.
func (c *count) line(l *billing.Line, into *sums) error {
	if l.From < c.from {
		return nil
	}
	i, found := slices.BinarySearch(c.atoms, l.From)
	if !found {
		i--
	}
	into.add(cell{int32(i), l.Segment.Namespace, l.Item}, l.Quantity, l.From)
	return nil
}

// look answers for now.
func (m *Meter) look(ctx context.Context, now time.Time) ([]map[string]Project, error) {
	c := m.count
	// The open ones first: what closes meanwhile is pending, and counts as closed.
	open, err := m.cfg.Ledger.Open(ctx, ledger.Filter{})
	if err != nil {
		return nil, err
	}
	fresh := m.take()
	ids := make(map[usagev1.ID]bool, len(fresh))
	for i := range fresh {
		ids[fresh[i].ID] = true
		if err := c.closed(&fresh[i]); err != nil {
			return nil, err
		}
	}
	open = slices.DeleteFunc(open, func(s usagev1.Segment) bool { return ids[s.ID] })
	if err := c.tooShort(now, open); err != nil {
		return nil, err
	}
	var going sums
	going.init()
	c.rater.Now = now.UnixMilli()
	hourly := map[string]billing.Money{}
	book := m.cfg.Books.At(now.UnixMilli())
	for i := range open {
		s := &open[i]
		if err := c.rate(s, &going); err != nil {
			return nil, err
		}
		if book == nil {
			return nil, m.cfg.Books.Before(now.UnixMilli())
		}
		per, err := book.PerHour(s.ComputeClass, s.QoS, s.Region, billing.Size{CPUMilli: s.CPUMilli, MemoryBytes: s.MemoryBytes, GPU: s.GPU, StorageBytes: s.StorageBytes})
		if err != nil {
			return nil, fmt.Errorf("segment %s: %w", s.ID, err)
		}
		hourly[s.Namespace] = hourly[s.Namespace].Plus(per)
	}
	return m.answer(&going, hourly)
}

// reportLag is how long after its start a pod's segments are taken to be known.
const reportLag = 30 * time.Second

// tooShort counts what pods are billed for on top that have ended before their book's minimum duration.
func (c *count) tooShort(now time.Time, open []usagev1.Segment) error {
	if len(c.short) == 0 {
		return nil
	}
	runs := make(map[string]*usagev1.Segment, len(open))
	for i := range open {
		runs[open[i].PodUID] = &open[i]
	}
	due := now.Add(-c.least.Longest() - reportLag).UnixMilli()
	for uid, start := range c.short {
		if start > due {
			continue
		}
		delete(c.short, uid)
		if s := runs[uid]; s != nil {
			c.least.Add(s) // it has lived for long enough
		}
		if err := c.least.FlushPod(uid, now.UnixMilli(), func(l *billing.Line) error { return c.line(l, &c.sums) }); err != nil {
			return err
		}
	}
	return nil
}
