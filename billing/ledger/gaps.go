package ledger

import (
	"context"
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
	var last usagev1.ID // the sequence also of one that is void
	var lastEnd int64
	var lives bool // last's pod has a segment that isn't void
	err = snap.spans(ctx, func(id usagev1.ID, start, end int64) error {
		if id.PodUID != last.PodUID {
			last, lives = id, false
		}
		if c := corrected[id]; c != nil && c.Void {
			last.Sequence = id.Sequence
			return nil
		} else if c != nil {
			start, end = c.Segment.Start.UnixMilli(), c.Segment.End.UnixMilli()
		}
		if lives && (id.Sequence != last.Sequence+1 || start != lastEnd) {
			out = append(out, Gap{id.PodUID, last.Sequence, time.UnixMilli(lastEnd).UTC(), time.UnixMilli(start).UTC()})
		}
		last, lastEnd, lives = id, end, true
		return nil
	})
	return out, err
}
