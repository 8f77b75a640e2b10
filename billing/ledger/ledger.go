package ledger

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// Ledger is safe for concurrent use.
type Ledger struct {
	store store
	group group

	recording sync.Mutex         // held while something is recorded; guards followers
	followers map[*follower]bool // who is told

	mu          sync.Mutex                   // guards what follows
	open        map[string][]usagev1.Segment // by node
	corrections []Correction                 // by record: those that have been read, and no fewer than any snapshot read
}

// Open opens a ledger, or makes it: a folder is SQLite's, a postgres:// URL PostgreSQL's.
func Open(ctx context.Context, where string) (*Ledger, error) {
	scheme, _, isURL := strings.Cut(where, "://")
	var s store
	var err error
	switch {
	case where == "" || isURL && scheme != "postgres" && scheme != "postgresql":
		return nil, fmt.Errorf("--ledger %q: want a folder, or a database such as postgres://swell@db.example.com/swell", redacted(where))
	case isURL:
		s, err = openPostgres(ctx, where)
	default:
		s, err = openSQLite(ctx, where)
	}
	if err != nil {
		return nil, err
	}
	return newLedger(s), nil
}

func newLedger(s store) *Ledger { return &Ledger{store: s, open: map[string][]usagev1.Segment{}} }

// Close closes the store. No call is under way any more.
func (l *Ledger) Close() error {
	l.group.wg.Wait()
	return l.store.close()
}

// SetOpen replaces what is known of a node's open segments.
func (l *Ledger) SetOpen(_ context.Context, node string, segments []usagev1.Segment) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(segments) == 0 {
		delete(l.open, node)
	} else {
		l.open[node] = segments
	}
	return nil
}

// openSegments answers those that a filter chooses.
func (l *Ledger) openSegments(f *Filter) []usagev1.Segment {
	if f.Through != 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []usagev1.Segment
	for _, list := range l.open {
		for i := range list {
			if f.matches(&list[i]) {
				out = append(out, list[i])
			}
		}
	}
	return out
}

// Sequence answers the newest record: what Filter.Through says to have what is there now, and nothing later.
func (l *Ledger) Sequence(ctx context.Context) (int64, error) {
	snap, err := l.store.snapshot(ctx)
	if err != nil {
		return 0, err
	}
	defer snap.close()
	return snap.newest(ctx)
}

// Each calls fn with closed and open segments in canonical order: the UTC day of the start, pod UID, generation,
// sequence. Corrected ones are as corrected. A segment is fn's until fn returns, its labels are nobody's to change,
// and memory doesn't grow with the number of closed ones. An error of fn ends it and is returned.
func (l *Ledger) Each(ctx context.Context, f Filter, fn func(*usagev1.Segment) error) error {
	// The open ones first: one that closes meanwhile is in the snapshot, and not missing.
	beside := l.openSegments(&f)
	snap, err := l.store.snapshot(ctx)
	if err != nil {
		return err
	}
	defer snap.close()
	if beside, err = unrecorded(ctx, snap, beside); err != nil {
		return err
	}
	return l.each(ctx, snap, &f, beside, fn)
}

// each is Each of what a snapshot holds, and of segments beside it.
func (l *Ledger) each(ctx context.Context, snap snapshot, f *Filter, beside []usagev1.Segment, fn func(*usagev1.Segment) error) error {
	corrected, err := l.corrected(ctx, snap, f.Through)
	if err != nil {
		return err
	}
	for _, c := range corrected {
		if c.Segment != nil && f.matches(c.Segment) {
			beside = append(beside, *c.Segment)
		}
	}
	slices.SortFunc(beside, func(a, b usagev1.Segment) int { return compare(&a, &b) })
	next := 0
	err = snap.segments(ctx, f, func(s *usagev1.Segment) error {
		if len(corrected) > 0 {
			if _, is := corrected[s.ID]; is {
				return nil
			}
		}
		for ; next < len(beside) && compare(&beside[next], s) < 0; next++ {
			if err := fn(&beside[next]); err != nil {
				return err
			}
		}
		return fn(s)
	})
	for ; err == nil && next < len(beside); next++ {
		err = fn(&beside[next])
	}
	return err
}

// unrecorded leaves out open segments whose closed twin is in the snapshot, and those that two nodes tell of.
func unrecorded(ctx context.Context, snap snapshot, open []usagev1.Segment) ([]usagev1.Segment, error) {
	if len(open) == 0 {
		return nil, nil
	}
	ids := make([]usagev1.ID, len(open))
	for i := range open {
		ids[i] = open[i].ID
	}
	known, err := snap.known(ctx, ids)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(open, func(s usagev1.Segment) bool {
		was := known[s.ID]
		known[s.ID] = true
		return was
	}), nil
}
