package ledger

import (
	"context"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// follower is told of what is recorded from a moment on.
type follower struct{ later func([]*usagev1.Segment) }

// Follow calls fn with the closed segments that are there, as Each does, and from then on later with those that this
// ledger records, each once, before Record has returned. A segment is theirs until they return; later must be quick.
// Corrections aren't told, nor what others record in the same database. Stop ends it; without it later is never
// called again once Follow has failed.
func (l *Ledger) Follow(ctx context.Context, f Filter, fn func(*usagev1.Segment) error, later func([]*usagev1.Segment)) (stop func(), err error) {
	who := &follower{later}
	stop = func() {
		l.recording.Lock()
		defer l.recording.Unlock()
		delete(l.followers, who)
	}
	l.recording.Lock() // nothing is recorded between the snapshot and the first that later is told of
	snap, err := l.store.snapshot(ctx)
	if err == nil {
		if l.followers == nil {
			l.followers = map[*follower]bool{}
		}
		l.followers[who] = true
	}
	l.recording.Unlock()
	if err != nil {
		return nil, err
	}
	defer snap.close()
	if err := l.each(ctx, snap, &f, nil, fn); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// tellLocked passes on what a transaction has recorded. The caller holds recording.
func (l *Ledger) tellLocked(rows []*row) {
	if len(l.followers) == 0 {
		return
	}
	var fresh []*usagev1.Segment
	for _, r := range rows {
		if r.verdict == recorded {
			fresh = append(fresh, r.segment)
		}
	}
	for who := range l.followers {
		who.later(fresh)
	}
}

// Open answers the segments that are open now, each once, that a filter chooses. One whose end is recorded isn't.
func (l *Ledger) Open(ctx context.Context, f Filter) ([]usagev1.Segment, error) {
	open := l.openSegments(&f)
	if len(open) == 0 {
		return nil, nil
	}
	snap, err := l.store.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer snap.close()
	return unrecorded(ctx, snap, open)
}
