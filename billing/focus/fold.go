package focus

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"swell.dev/swell/billing"
)

// Granularity is how much time a row is for.
type Granularity uint8

// The granularities.
const (
	Daily Granularity = iota
	Hourly
	BySegment // a row for each charge as it comes: the interval between two changes of size, or a part of it
)

var granularities = []string{"day", "hour", "segment"}

func (g Granularity) String() string { return granularities[g] }

// ParseGranularity knows day, hour and segment.
func ParseGranularity(s string) (Granularity, error) {
	if i := slices.Index(granularities, s); i >= 0 {
		return Granularity(i), nil
	}
	return 0, fmt.Errorf("granularity %q: want day, hour or segment", s)
}

// maxOpen bounds the rows that are being summed, and with it memory, at about 100 MB. Beyond it the rows so far are
// written: whoever is charged again for the same has two rows then, whose sum is what one would have said.
const maxOpen = 1 << 17

// fold sums charges of the same thing in the same period.
type fold struct {
	granularity Granularity
	zone        *time.Location
	limit       int
	rows        map[rowKey]*sum
	emit        func(*rowKey, *sum) error
	bounds      map[string][]int64 // of each account's invoices, which no row crosses

	// The period of the last charge: the next one's is mostly the same.
	from, to int64
}

// rowKey is what charges of one row have in common.
type rowKey struct {
	from, to   int64 // the charge period
	kind       billing.Kind
	minimum    bool
	account    string
	project    string
	uid        string // of the pod
	item       *billing.Item
	plan       *billing.Plan
	correction string
	invoice    string
	adjustment string
	generation int64 // by segment only
	sequence   int64
}

// sum is what a row sums, and what its pod was called and labelled at last.
type sum struct {
	quantity, burst         billing.Quantity
	list, billed, effective billing.Money
	until                   int64 // the end of the newest charge in it
	pod, node, class, qos   string
	region, model           string
	tags                    string
}

func (f *fold) add(c *billing.Charge) error {
	k := rowKey{
		kind: c.Kind, minimum: c.Minimum, account: c.Account, project: c.Project, item: c.Item, plan: c.Plan,
		correction: c.Correction, invoice: c.Invoice, adjustment: c.Adjustment, from: c.From, to: c.To,
	}
	switch c.Kind {
	case billing.Adjustment: // has no duration
		if k.to = k.from + 1000; f.granularity != BySegment {
			k.from, k.to = f.periodOf(c)
		}
	case billing.Usage:
		if c.Segment == nil || c.Item == nil {
			return fmt.Errorf("charge of %s from %s: usage without a segment or an item", c.Account, stamp(c.From))
		}
		k.uid = c.Segment.PodUID
		if f.granularity == BySegment {
			k.generation, k.sequence = c.Segment.Generation, c.Segment.Sequence
		} else {
			k.from, k.to = f.periodOf(c)
			if c.To > k.to {
				return fmt.Errorf("charge of segment %s: %s to %s is more than one %s", c.Segment.ID, stamp(c.From), stamp(c.To), f.granularity)
			}
		}
	}
	s := f.rows[k]
	if s == nil {
		if len(f.rows) >= f.limit {
			if err := f.flush(); err != nil {
				return err
			}
		}
		s = &sum{}
		f.rows[k] = s
	}
	return s.add(c)
}

func (s *sum) add(c *billing.Charge) error {
	s.quantity += c.Quantity
	s.burst += c.Burst
	s.list, s.billed, s.effective = s.list.Plus(c.List), s.billed.Plus(c.Billed), s.effective.Plus(c.Effective)
	if g := c.Segment; g != nil && (s.tags == "" || c.To > s.until) {
		tags, err := tagsOf(g)
		if err != nil {
			return fmt.Errorf("segment %s: %w", g.ID, err)
		}
		s.tags, s.until = tags, c.To
		s.pod, s.node, s.class, s.qos, s.region, s.model = g.Pod, g.Node, g.ComputeClass, g.QoS, g.Region, g.GPU.Model
	}
	return nil
}

// periodOf is the part of the charge's day or hour that is on its side of the account's invoices.
func (f *fold) periodOf(c *billing.Charge) (from, to int64) {
	from, to = f.period(c.From)
	for _, b := range f.bounds[c.Account] {
		if b <= c.From {
			from = max(from, b)
		} else {
			to = min(to, b)
		}
	}
	return from, to
}

// period is the day or the hour that holds a moment.
func (f *fold) period(ms int64) (from, to int64) {
	if ms < f.from || ms >= f.to {
		if f.granularity == Hourly {
			// Of the zone's clock: some zones are half an hour off.
			_, offset := time.UnixMilli(ms).In(f.zone).Zone()
			f.from = ms - floorMod(ms+int64(offset)*1000, 3600_000)
			f.to = f.from + 3600_000
		} else {
			// A plan's days are days, whatever the zone's clock does.
			always := billing.Plan{Zone: f.zone, End: time.UnixMilli(1 << 48)}
			from, to := always.Bounds(time.UnixMilli(ms))
			f.from, f.to = from.UnixMilli(), to.UnixMilli()
		}
	}
	return f.from, f.to
}

func floorMod(a, b int64) int64 { return (a%b + b) % b }

// flush emits all rows in an order that doesn't depend on how the charges came.
func (f *fold) flush() error {
	keys := make([]*rowKey, 0, len(f.rows))
	for k := range f.rows {
		keys = append(keys, &k)
	}
	slices.SortFunc(keys, compareKeys)
	for _, k := range keys {
		if err := f.emit(k, f.rows[*k]); err != nil {
			return err
		}
	}
	clear(f.rows)
	return nil
}

func compareKeys(a, b *rowKey) int {
	return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.account, b.account), cmp.Compare(a.kind, b.kind),
		cmp.Compare(a.project, b.project), cmp.Compare(a.uid, b.uid), cmp.Compare(a.generation, b.generation),
		cmp.Compare(a.sequence, b.sequence), compareItems(a.item, b.item), comparePlans(a.plan, b.plan),
		cmp.Compare(a.correction, b.correction), cmp.Compare(a.invoice, b.invoice), cmp.Compare(a.adjustment, b.adjustment), cmp.Compare(a.to, b.to), compareBools(a.minimum, b.minimum))
}

func compareItems(a, b *billing.Item) int {
	switch {
	case a == b:
		return 0
	case a == nil || (b != nil && a.Less(b)):
		return -1
	}
	return 1
}

func comparePlans(a, b *billing.Plan) int {
	switch {
	case a == b:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	return cmp.Compare(a.UID, b.UID)
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339Nano) }
