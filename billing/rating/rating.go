// Package rating prices segments. It is a pure fold: the same segments, in any order and cut into any
// partition, make the same bill.
package rating

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
)

// Line is one segment, priced. Quantities are in milliseconds; Cost is in 1e-6 of the currency.
type Line struct {
	Segment    usagev1.Segment
	End        time.Time     // of the segment, or the time of the bill while it is open
	Duration   time.Duration // whole milliseconds
	VCPUMillis int64         // vCPU × milliseconds, rounded half to even
	GiBMillis  int64         // GiB × milliseconds, rounded half to even
	CostMicros int64         // bursts included
	Burst      Burst
}

// Burst is what a segment's pod had beyond its size, priced as the size is.
type Burst struct {
	Duration   time.Duration // with any burst
	VCPUMillis int64
	GiBMillis  int64
	CostMicros int64
}

func (b *Burst) add(c Burst) {
	b.Duration += c.Duration
	b.VCPUMillis += c.VCPUMillis
	b.GiBMillis += c.GiBMillis
	b.CostMicros += c.CostMicros
}

// Bill is a pod's lines, oldest first, and their sums.
type Bill struct {
	PodUID, Namespace, Pod string
	Lines                  []Line
	Duration               time.Duration
	VCPUMillis             int64
	GiBMillis              int64
	CostMicros             int64
	Burst                  Burst // of all lines, which the sums above hold as well
}

// Rate prices segments as of now. Segments that stand in the input twice count once. Bills are sorted by
// namespace, pod name and the start of the first line.
func Rate(book *billing.PriceBook, segments []usagev1.Segment, now time.Time) ([]Bill, error) {
	byPod := map[string]*Bill{}
	seen := make(map[usagev1.ID]bool, len(segments))
	for i := range segments {
		seg := &segments[i]
		if seen[seg.ID] {
			continue
		}
		seen[seg.ID] = true
		line, err := rateOne(book, seg, now)
		if err != nil {
			return nil, err
		}
		b := byPod[seg.PodUID]
		if b == nil {
			b = &Bill{PodUID: seg.PodUID, Namespace: seg.Namespace, Pod: seg.Pod}
			byPod[seg.PodUID] = b
		}
		b.Lines = append(b.Lines, line)
		b.Duration += line.Duration
		b.VCPUMillis += line.VCPUMillis
		b.GiBMillis += line.GiBMillis
		b.CostMicros += line.CostMicros
		b.Burst.add(line.Burst)
	}
	bills := make([]Bill, 0, len(byPod))
	for _, b := range byPod {
		slices.SortFunc(b.Lines, func(a, c Line) int { return cmp.Compare(a.Segment.Sequence, c.Segment.Sequence) })
		bills = append(bills, *b)
	}
	slices.SortFunc(bills, func(a, b Bill) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pod, b.Pod),
			a.Lines[0].Segment.Start.Compare(b.Lines[0].Segment.Start), cmp.Compare(a.PodUID, b.PodUID))
	})
	return bills, nil
}

func rateOne(book *billing.PriceBook, seg *usagev1.Segment, now time.Time) (Line, error) {
	end := seg.End
	if seg.Open() {
		if end = now.UTC().Truncate(time.Millisecond); end.Before(seg.Start) {
			end = seg.Start
		}
	}
	if end.Before(seg.Start) || seg.CPUMilli < 0 || seg.MemoryBytes < 0 {
		return Line{}, fmt.Errorf("segment %s: it ends before it starts, or has a negative size", seg.ID)
	}
	rate, err := book.Rate(seg.ComputeClass, seg.QoS)
	if err != nil {
		return Line{}, fmt.Errorf("segment %s: %w", seg.ID, err)
	}
	line := Line{Segment: *seg, End: end}
	if err := line.price(rate, uint64(seg.CPUMilli), uint64(seg.MemoryBytes), uint64(end.UnixMilli()-seg.Start.UnixMilli())); err != nil {
		return Line{}, fmt.Errorf("segment %s: %w", seg.ID, err)
	}
	if err := line.priceBurst(rate, seg.Burst); err != nil {
		return Line{}, fmt.Errorf("segment %s: burst: %w", seg.ID, err)
	}
	return line, nil
}

// What things are divided by.
const (
	milli         = 1000    // milli-CPU in a vCPU
	gib           = 1 << 30 // bytes in a GiB
	mibOfGiB      = 1 << 10
	hourMillis    = 3_600_000 // milliseconds in an hour, for which prices are
	picosPerMicro = 1_000_000 // units of a price in a unit of a cost
)

func (l *Line) price(rate billing.Rate, cpuMilli, memory, millis uint64) (err error) {
	l.Duration = time.Duration(millis) * time.Millisecond
	if l.VCPUMillis, err = billing.Multiply(cpuMilli, millis).Round(milli, 1); err != nil {
		return err
	}
	if l.GiBMillis, err = billing.Multiply(memory, millis).Round(gib, 1); err != nil {
		return err
	}
	// cost = (milli-CPU × price / 1000 + bytes × price / 2³⁰) × ms / 3.6e6 / 1e6, over one denominator:
	// the numerators are extended by 2³⁰ and 1000, both divided by 8.
	cpu, err := billing.Multiply(cpuMilli, uint64(rate.CPU)).Times(gib / 8)
	if err != nil {
		return err
	}
	mem, err := billing.Multiply(memory, uint64(rate.Memory)).Times(milli / 8)
	if err != nil {
		return err
	}
	sum, err := cpu.Plus(mem)
	if err == nil {
		sum, err = sum.Times(millis)
	}
	if err == nil {
		l.CostMicros, err = sum.Round(milli/8*gib, hourMillis*picosPerMicro)
	}
	return err
}

// priceBurst adds what came on top of the size. Quantities and costs of a line hold it.
func (l *Line) priceBurst(rate billing.Rate, b usagev1.Burst) (err error) {
	if b.Millis < 0 || b.CPUMillis < 0 || b.MemoryMillis < 0 {
		return fmt.Errorf("%+v: it can't be negative", b)
	}
	if b == (usagev1.Burst{}) {
		return nil
	}
	l.Burst.Duration = time.Duration(b.Millis) * time.Millisecond
	if l.Burst.VCPUMillis, err = billing.Multiply(uint64(b.CPUMillis), 1).Round(milli, 1); err != nil {
		return err
	}
	if l.Burst.GiBMillis, err = billing.Multiply(uint64(b.MemoryMillis), 1).Round(mibOfGiB, 1); err != nil {
		return err
	}
	// cost = (milli-CPU×ms × price / 1000 + MiB×ms × price / 1024) / 3.6e6 / 1e6, over one denominator.
	cpu, err := billing.Multiply(uint64(b.CPUMillis), uint64(rate.CPU)).Times(mibOfGiB / 8)
	if err != nil {
		return err
	}
	mem, err := billing.Multiply(uint64(b.MemoryMillis), uint64(rate.Memory)).Times(milli / 8)
	if err != nil {
		return err
	}
	sum, err := cpu.Plus(mem)
	if err != nil {
		return err
	}
	if l.Burst.CostMicros, err = sum.Round(milli/8*mibOfGiB, hourMillis*picosPerMicro); err != nil {
		return err
	}
	l.VCPUMillis += l.Burst.VCPUMillis
	l.GiBMillis += l.Burst.GiBMillis
	l.CostMicros += l.Burst.CostMicros
	return nil
}
