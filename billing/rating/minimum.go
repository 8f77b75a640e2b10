package rating

import (
	"fmt"
	"maps"
	"slices"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
)

// Minimum finds what pods that lived for less than their book's minimum duration are billed for on top. It is told
// of all segments, in any order, each once; a pod that still runs has nothing on top yet. To know what falls into a
// time, give it what touches that time and the minimum duration after it.
//
// It remembers pods that are shorter than the minimum as far as it has seen, until Flush.
type Minimum struct {
	books   *billing.Books
	longest int64 // of all books' minimums, in ms
	pods    map[string]*shortPod
}

// shortPod is what has been seen of a pod, whose first segment may be missing: then its age isn't known.
type shortPod struct {
	first      *usagev1.Segment
	start, end int64
	open       bool
}

// NewMinimum makes one for a set of books.
func NewMinimum(books *billing.Books) *Minimum {
	m := &Minimum{books: books, pods: map[string]*shortPod{}}
	for _, b := range books.All() {
		m.longest = max(m.longest, b.MinimumDuration.Milliseconds())
	}
	return m
}

// Needed reports whether any book has a minimum duration.
func (m *Minimum) Needed() bool { return m.longest > 0 }

// Longest is the longest minimum duration of all books.
func (m *Minimum) Longest() time.Duration { return time.Duration(m.longest) * time.Millisecond }

// Add sees a segment, which it doesn't keep.
func (m *Minimum) Add(seg *usagev1.Segment) {
	if !m.Needed() {
		return
	}
	start := seg.Start.UnixMilli()
	end := start
	if !seg.Open() {
		end = seg.End.UnixMilli()
	}
	first := seg.Sequence == 1
	pod := m.pods[seg.PodUID]
	if pod == nil {
		if first && end-start >= m.longest {
			return // what comes of it later lacks the first segment
		}
		pod = &shortPod{start: start, end: end}
		m.pods[seg.PodUID] = pod
	}
	pod.start, pod.end = min(pod.start, start), max(pod.end, end)
	pod.open = pod.open || seg.Open()
	if first {
		kept := *seg
		pod.first = &kept
	}
	if pod.first != nil && pod.end-pod.start >= m.longest {
		delete(m.pods, seg.PodUID)
	}
}

// Flush emits the lines of pods all of whose segments were seen, and forgets them: of those that started long
// enough before an instant, if all segments that start before that instant were added. The lines of a pod stand at
// its last millisecond, at the size of its first segment. They come in the order of the pods' UIDs.
func (m *Minimum) Flush(before int64, emit func(*billing.Line) error) error {
	for _, uid := range slices.Sorted(maps.Keys(m.pods)) {
		if err := m.FlushPod(uid, before, emit); err != nil {
			return err
		}
	}
	return nil
}

// FlushPod is Flush of one pod, all of whose segments that start before an instant were added.
func (m *Minimum) FlushPod(uid string, before int64, emit func(*billing.Line) error) error {
	pod := m.pods[uid]
	if pod == nil || pod.start > before-m.longest {
		return nil
	}
	delete(m.pods, uid)
	if pod.first == nil || pod.open {
		return nil
	}
	if err := m.rate(pod, emit); err != nil {
		return fmt.Errorf("segment %s: minimum duration: %w", pod.first.ID, err)
	}
	return nil
}

func (m *Minimum) rate(pod *shortPod, emit func(*billing.Line) error) error {
	seg := pod.first
	book := m.books.At(pod.start)
	if book == nil {
		return m.books.Before(pod.start)
	}
	least, lived := book.MinimumDuration.Milliseconds(), pod.end-pod.start
	if lived >= least {
		return nil
	}
	rates, err := book.Rates(seg.ComputeClass, seg.QoS, seg.Region)
	if err != nil {
		return err
	}
	line := billing.Line{Segment: seg, From: max(pod.start, pod.end-1), Minimum: true}
	line.To = line.From + 1
	size := billing.Size{CPUMilli: seg.CPUMilli, MemoryBytes: seg.MemoryBytes, GPU: seg.GPU, StorageBytes: seg.StorageBytes}
	for _, meter := range book.Meters(nil, rates, &size) {
		whole, err := meter.In(uint64(least), book.Rounding)
		if err != nil {
			return fmt.Errorf("%s: %w", meter.Item.ID, err)
		}
		used, err := meter.In(uint64(lived), book.Rounding)
		if err != nil {
			return fmt.Errorf("%s: %w", meter.Item.ID, err)
		}
		if line.Item, line.Quantity = meter.Item, whole-used; line.Quantity == 0 {
			continue
		}
		if err := emit(&line); err != nil {
			return err
		}
	}
	return nil
}
