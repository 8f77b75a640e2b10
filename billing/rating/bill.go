package rating

import (
	"cmp"
	"slices"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
)

// Bill is what a pod cost at list: its lines, oldest first, and their sums.
type Bill struct {
	PodUID, Namespace, Pod string
	Lines                  []BillLine
	Total                  Sum
}

// BillLine is a segment, or the part of one in which one book holds, and those that go on at the same size on the
// following days.
type BillLine struct {
	Segment     *usagev1.Segment
	Last        *usagev1.Segment // Segment, but for a line of several
	From, To    int64            // Unix milliseconds
	Book        *billing.Book
	CPUMilli    int64 // billed
	MemoryBytes int64 // billed
	Open        bool  // it still grows
	Minimum     bool  // it isn't use, but what is missing to the book's minimum duration
	Sum
}

// Sum is what lines come to.
type Sum struct {
	Millis      int64 // metered
	BurstMillis int64 // of them, with any burst
	Used        Quantities
	Burst       Quantities // of them, beyond the size
	Cost        billing.Money
	BurstCost   billing.Money
}

// Quantities are by billing.Resource.
type Quantities [5]billing.Quantity

func (s *Sum) add(o *Sum) {
	s.Millis += o.Millis
	s.BurstMillis += o.BurstMillis
	for r := range s.Used {
		s.Used[r] += o.Used[r]
		s.Burst[r] += o.Burst[r]
	}
	s.Cost, s.BurstCost = s.Cost.Plus(o.Cost), s.BurstCost.Plus(o.BurstCost)
}

func (s *Sum) line(l *billing.Line) {
	r := l.Item.SKU.Resource
	s.Used[r] += l.Quantity
	s.Burst[r] += l.Burst
	s.Cost, s.BurstCost = s.Cost.Plus(l.List()), s.BurstCost.Plus(l.Burst.At(l.Item.Price))
}

// Bills folds segments, which it points to, into the bills of their pods as of now. Segments that stand in the
// input twice count once. Bills are sorted by namespace, pod name, the start of the first line and UID.
func Bills(books *billing.Books, segments []usagev1.Segment, now int64) ([]Bill, error) {
	rater := &Rater{Books: books, Now: now}
	minimum := NewMinimum(books)
	byPod := map[string]*Bill{}
	seen := make(map[usagev1.ID]bool, len(segments))
	for i := range segments {
		seg := &segments[i]
		if seen[seg.ID] {
			continue
		}
		seen[seg.ID] = true
		b := byPod[seg.PodUID]
		if b == nil {
			b = &Bill{PodUID: seg.PodUID, Namespace: seg.Namespace, Pod: seg.Pod}
			byPod[seg.PodUID] = b
		}
		if err := b.rate(rater, seg); err != nil {
			return nil, err
		}
		minimum.Add(seg)
	}
	// Whether more of a pod comes after its end isn't asked: this is the bill of now.
	if err := minimum.Flush(now+minimum.longest+1, func(l *billing.Line) error {
		b := byPod[l.Segment.PodUID]
		if n := len(b.Lines); n == 0 || !b.Lines[n-1].Minimum {
			b.Lines = append(b.Lines, BillLine{Segment: l.Segment, Last: l.Segment, From: l.From, To: l.To, Book: books.At(l.Segment.Start.UnixMilli()), Minimum: true})
			b.Lines[n].billed()
		}
		b.Lines[len(b.Lines)-1].line(l)
		return nil
	}); err != nil {
		return nil, err
	}
	bills := make([]Bill, 0, len(byPod))
	for _, b := range byPod {
		slices.SortFunc(b.Lines, func(a, c BillLine) int {
			if a.Minimum != c.Minimum {
				return cmp.Compare(bit(a.Minimum), bit(c.Minimum))
			}
			return cmp.Or(cmp.Compare(a.Segment.Sequence, c.Segment.Sequence), cmp.Compare(a.From, c.From))
		})
		b.Lines = joined(b.Lines)
		for i := range b.Lines {
			b.Total.add(&b.Lines[i].Sum)
		}
		bills = append(bills, *b)
	}
	slices.SortFunc(bills, func(a, b Bill) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pod, b.Pod),
			cmp.Compare(a.Lines[0].From, b.Lines[0].From), cmp.Compare(a.PodUID, b.PodUID))
	})
	return bills, nil
}

// joined makes one line of those that go on at the same size, which are cut at the days' ends only.
func joined(lines []BillLine) []BillLine {
	out := lines[:1]
	for i := 1; i < len(lines); i++ {
		last, l := &out[len(out)-1], &lines[i]
		if !last.goesOn(l) {
			out = append(out, *l)
			continue
		}
		last.To, last.Open, last.Last = l.To, l.Open, l.Last
		last.add(&l.Sum)
	}
	return out
}

func (l *BillLine) goesOn(next *BillLine) bool {
	a, b := l.Segment, next.Segment
	return l.To == next.From && l.Book == next.Book && !l.Minimum && !next.Minimum && a.Generation == b.Generation && a.CPUMilli == b.CPUMilli &&
		a.MemoryBytes == b.MemoryBytes && a.GPU == b.GPU && a.StorageBytes == b.StorageBytes && a.ComputeClass == b.ComputeClass && a.QoS == b.QoS &&
		a.Region == b.Region && a.Node == b.Node
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// rate appends a segment's lines: one for each book that holds within it, and one at least.
func (b *Bill) rate(rater *Rater, seg *usagev1.Segment) error {
	first := len(b.Lines)
	start, end, err := rater.span(seg)
	if err != nil {
		return segmentError(seg, err)
	}
	for at := start; at < end || len(b.Lines) == first; {
		book := rater.Books.At(at)
		if book == nil {
			return segmentError(seg, rater.Books.Before(at))
		}
		until := end
		if next, ok := rater.Books.Next(at); ok && next < end {
			until = next
		}
		l := BillLine{Segment: seg, Last: seg, From: at, To: until, Book: book, Open: seg.Open() && until == end}
		l.billed()
		l.Millis = until - at
		if l.BurstMillis = seg.Burst.Millis; end > start {
			by := func(t int64) int64 {
				return int64(billing.Quantity(seg.Burst.Millis).Of(uint64(t-start), uint64(end-start)))
			}
			l.BurstMillis = by(until) - by(at)
		}
		b.Lines = append(b.Lines, l)
		at = until
	}
	part := first
	return rater.Rate(seg, func(l *billing.Line) error {
		for b.Lines[part].To <= l.From {
			part++
		}
		b.Lines[part].line(l)
		return nil
	})
}

func (l *BillLine) billed() {
	l.CPUMilli, l.MemoryBytes = l.Book.Billed(l.Segment.ComputeClass, l.Segment.CPUMilli, l.Segment.MemoryBytes)
}
