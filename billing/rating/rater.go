package rating

import (
	"fmt"
	"math"
	"slices"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
)

// Rater makes lines of segments. It serves one goroutine; the lines that it emits hold until emit returns.
//
// What a segment has used of an item by an instant is its size times the time since its start, rounded by its book's
// mode; a line is the difference between two instants. So the lines of a segment sum to the same however it is cut,
// and lines of many to the same in any order. Time is Unix time: a day has 86,400 seconds, and leap seconds are
// never counted.
type Rater struct {
	Books *billing.Books
	Cuts  []int64 // Unix milliseconds, ascending: no line crosses one
	Now   int64   // where segments that are open end

	line   billing.Line
	meters [5]metered
	buffer [5]billing.Meter

	// What the last segment was rated by.
	book  *billing.Book
	key   key
	rates *billing.Rates
}

type key struct{ class, qos, region string }

// metered is a meter within a segment.
type metered struct {
	billing.Meter
	burst billing.Quantity // what came on top in the whole segment
	used  billing.Quantity // by the part's start
	had   billing.Quantity // of the burst, by then
}

// Rate emits the lines of a segment, by time and then by resource. Those of nothing are left out.
func (r *Rater) Rate(seg *usagev1.Segment, emit func(*billing.Line) error) error {
	start, end, err := r.span(seg)
	if err != nil {
		return segmentError(seg, err)
	}
	for at := start; at < end; {
		book := r.Books.At(at)
		if book == nil {
			return segmentError(seg, r.Books.Before(at))
		}
		until := end
		if next, ok := r.Books.Next(at); ok && next < end {
			until = next
		}
		if err := r.rate(seg, book, start, end, at, until, emit); err != nil {
			return segmentError(seg, err)
		}
		at = until
	}
	return nil
}

func segmentError(seg *usagev1.Segment, err error) error {
	return fmt.Errorf("segment %s: %w", seg.ID, err)
}

// span checks what a segment says of itself.
func (r *Rater) span(seg *usagev1.Segment) (start, end int64, err error) {
	if seg.CPUMilli < 0 || seg.MemoryBytes < 0 || seg.StorageBytes < 0 || seg.GPU.Milli < 0 || seg.GPU.MemoryMiB < 0 {
		return 0, 0, fmt.Errorf("%d milli-CPU, %d bytes, %d bytes of storage, GPU %+v: a size isn't negative", seg.CPUMilli, seg.MemoryBytes, seg.StorageBytes, seg.GPU)
	}
	if seg.GPU.MemoryMiB > math.MaxInt64>>20 {
		return 0, 0, fmt.Errorf("%d MiB of GPU memory: %w", seg.GPU.MemoryMiB, billing.ErrTooLarge)
	}
	if b := seg.Burst; b.Millis < 0 || b.CPUMillis < 0 || b.MemoryMillis < 0 {
		return 0, 0, fmt.Errorf("burst %+v: it isn't negative", b)
	}
	start = seg.Start.UnixMilli()
	if seg.Open() {
		return start, max(start, r.Now), nil
	}
	if end = seg.End.UnixMilli(); end < start {
		return 0, 0, fmt.Errorf("it ends at %s, before it starts at %s", seg.End, seg.Start)
	}
	return start, end, nil
}

// rate emits the lines of the part [from, to) of a segment, in which one book holds.
func (r *Rater) rate(seg *usagev1.Segment, book *billing.Book, start, end, from, to int64, emit func(*billing.Line) error) error {
	meters, err := r.start(seg, book, start, end, from)
	if err != nil {
		return err
	}
	r.line.Segment = seg
	cut, _ := slices.BinarySearch(r.Cuts, from+1)
	for from < to {
		until := to
		if cut < len(r.Cuts) && r.Cuts[cut] < to {
			until = r.Cuts[cut]
			cut++
		}
		for i := range meters {
			m := &meters[i]
			used, err := m.In(uint64(until-start), book.Rounding)
			if err != nil {
				return fmt.Errorf("%s: %w", m.Item.ID, err)
			}
			had := m.burst
			if until < end {
				had = m.burst.Of(uint64(until-start), uint64(end-start))
			}
			burst := had - m.had
			quantity := used - m.used + burst
			m.used, m.had = used, had
			if quantity < 0 {
				return fmt.Errorf("%s: %w", m.Item.ID, billing.ErrTooLarge)
			}
			if quantity == 0 {
				continue
			}
			l := &r.line
			l.From, l.To, l.Item, l.Quantity, l.Burst = from, until, m.Item, quantity, burst
			if err := emit(l); err != nil {
				return err
			}
		}
		from = until
	}
	return nil
}

// start answers the meters of a segment under a book, as they stand at from.
func (r *Rater) start(seg *usagev1.Segment, book *billing.Book, start, end, from int64) ([]metered, error) {
	if book != r.book || seg.ComputeClass != r.key.class || seg.QoS != r.key.qos || seg.Region != r.key.region {
		rates, err := book.Rates(seg.ComputeClass, seg.QoS, seg.Region)
		if err != nil {
			return nil, err
		}
		r.book, r.key, r.rates = book, key{seg.ComputeClass, seg.QoS, seg.Region}, rates
	}
	size := billing.Size{CPUMilli: seg.CPUMilli, MemoryBytes: seg.MemoryBytes, GPU: seg.GPU, StorageBytes: seg.StorageBytes}
	found := book.Meters(r.buffer[:0], r.rates, &size)
	meters := r.meters[:len(found)]
	for i, f := range found {
		m := metered{Meter: f}
		var err error
		if seg.Burst != (usagev1.Burst{}) {
			m.burst, err = burst(seg, f, book.Rounding)
		}
		if err == nil && from > start {
			m.used, err = m.In(uint64(from-start), book.Rounding)
			m.had = m.burst.Of(uint64(from-start), uint64(end-start))
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Item.ID, err)
		}
		meters[i] = m
	}
	return meters, nil
}

// burst answers what a segment had of an item beyond what it is billed for anyway: where the grid makes the billed
// size larger than the pod's, the difference is paid for already.
func burst(seg *usagev1.Segment, m billing.Meter, mode billing.Rounding) (billing.Quantity, error) {
	switch m.Item.SKU.Resource {
	case billing.CPU:
		return billing.VCPU(beyond(uint64(seg.Burst.CPUMillis), m.Amount-uint64(seg.CPUMilli), uint64(seg.Burst.Millis)), 1, mode)
	case billing.Memory:
		// MiB × ms; a size is whole bytes, and what is paid for is rounded down to whole MiB.
		return billing.GiB(1<<20, beyond(uint64(seg.Burst.MemoryMillis), (m.Amount-uint64(seg.MemoryBytes))>>20, uint64(seg.Burst.Millis)), mode)
	}
	return 0, nil
}

// beyond answers what had is more than paid for some milliseconds.
func beyond(had, paid, ms uint64) uint64 {
	if paid == 0 {
		return had
	}
	if ms > math.MaxUint64/paid {
		return 0
	}
	return had - min(had, paid*ms)
}
