package ledger

import (
	"cmp"
	"context"
	"slices"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// Gap is a place where a pod's segments don't abut.
type Gap struct {
	PodUID   string
	After    int64 // sequence
	From, To time.Time
}

// Gaps answers where closed segments of a pod, as corrected, leave time out, overlap (To before From), or skip a
// sequence number that isn't void. A whole ledger has none.
func (l *Ledger) Gaps(ctx context.Context) ([]Gap, error) {
	snap, err := l.store.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer snap.close()
	corrected, err := l.corrected(ctx, snap, 0)
	if err != nil {
		return nil, err
	}
	var out []Gap
	var pod []span // of one pod, in the order of the generations
	flush := func() {
		// A pod's sequence is its order; what a nodelet that was killed begins again may have an older generation.
		slices.SortFunc(pod, func(a, b span) int { return cmp.Compare(a.id.Sequence, b.id.Sequence) })
		out = append(out, gaps(pod)...)
		pod = pod[:0]
	}
	err = snap.spans(ctx, func(id usagev1.ID, start, end int64) error {
		if len(pod) > 0 && pod[0].id.PodUID != id.PodUID {
			flush()
		}
		s := span{id: id, start: start, end: end}
		if c := corrected[id]; c != nil && c.Void {
			s.void = true
		} else if c != nil {
			s.start, s.end = c.Segment.Start.UnixMilli(), c.Segment.End.UnixMilli()
		}
		pod = append(pod, s)
		return nil
	})
	if err != nil {
		return nil, err
	}
	flush()
	return out, nil
}

// span is when a segment was, in Unix milliseconds.
type span struct {
	id         usagev1.ID
	start, end int64
	void       bool
}

// gaps are those of one pod, whose spans are in order.
func gaps(pod []span) (out []Gap) {
	last := -1 // the last that isn't void
	for i := range pod {
		if pod[i].void {
			continue
		}
		if last >= 0 && (pod[i].start != pod[last].end || pod[i].id.Sequence != pod[i-1].id.Sequence+1) {
			out = append(out, Gap{pod[i].id.PodUID, pod[i-1].id.Sequence, time.UnixMilli(pod[last].end).UTC(), time.UnixMilli(pod[i].start).UTC()})
		}
		last = i
	}
	return out
}
