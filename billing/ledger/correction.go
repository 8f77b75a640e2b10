package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// Correction says what a recorded segment should have said, or that it should not have been. The newest of a
// segment counts.
type Correction struct {
	ID      usagev1.ID       `json:"id"`
	Void    bool             `json:"void,omitempty"`
	Segment *usagev1.Segment `json:"segment,omitempty"` // closed, with the same id; nil where Void
	Reason  string           `json:"reason"`
	By      string           `json:"by"`

	// What the ledger adds:

	Was    *usagev1.Segment `json:"was"` // as it was recorded
	Record int64            `json:"-"`
	At     time.Time        `json:"-"` // when the correction was recorded
}

// Correct appends a correction. Saying again what the newest one says is no second correction.
func (l *Ledger) Correct(ctx context.Context, c Correction) error {
	switch {
	case c.Void == (c.Segment != nil):
		return fmt.Errorf("correction of %s: want either a void or a segment", c.ID)
	case c.Reason == "":
		return fmt.Errorf("correction of %s: reason is empty: want why the segment was wrong", c.ID)
	case c.By == "":
		return fmt.Errorf("correction of %s: by is empty: want who says so", c.ID)
	}
	if c.Segment != nil {
		if c.Segment.ID != c.ID {
			return fmt.Errorf("correction of %s: the segment is %s: want the same id", c.ID, c.Segment.ID)
		}
		if _, err := newRow(c.Segment); err != nil {
			return fmt.Errorf("correction of %w", err)
		}
		s := *c.Segment
		s.Start, s.End = s.Start.UTC().Truncate(time.Millisecond), s.End.UTC().Truncate(time.Millisecond)
		c.Segment = &s
	}
	var err error
	if c.Was, err = l.find(ctx, c.ID); err != nil {
		return fmt.Errorf("correction of %s: %w", c.ID, err)
	}
	body, err := json.Marshal(&c)
	if err != nil {
		return fmt.Errorf("correction of %s: %w", c.ID, err)
	}
	f := &fact{kind: kindCorrection, subject: c.ID.String(), body: body}
	return l.append(ctx, f, func(known []fact) (bool, error) {
		if n := len(known); n > 0 && bytes.Equal(known[n-1].body, body) {
			return true, nil
		}
		f.id = fmt.Sprintf("%s#%d", f.subject, len(known)+1)
		return false, nil
	})
}

var errStop = errors.New("enough")

// find answers a segment as it was recorded.
func (l *Ledger) find(ctx context.Context, id usagev1.ID) (*usagev1.Segment, error) {
	snap, err := l.store.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer snap.close()
	var found *usagev1.Segment
	err = snap.segments(ctx, &Filter{UID: id.PodUID}, func(s *usagev1.Segment) error {
		if s.ID != id {
			return nil
		}
		is := *s
		found = &is
		return errStop
	})
	if err != nil && !errors.Is(err, errStop) {
		return nil, err
	}
	if found == nil {
		return nil, errors.New("no such segment is recorded")
	}
	return found, nil
}

// Corrections answers those of segments that a filter chooses, as they were recorded or as they are corrected,
// oldest first.
func (l *Ledger) Corrections(ctx context.Context, f Filter) ([]Correction, error) {
	snap, err := l.store.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer snap.close()
	all, err := l.readCorrections(ctx, snap, f.Through)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(all), func(c Correction) bool {
		return !f.matches(c.Was) && (c.Segment == nil || !f.matches(c.Segment))
	}), nil
}

// corrected answers the newest correction of each segment that has one.
func (l *Ledger) corrected(ctx context.Context, snap snapshot, through int64) (map[usagev1.ID]*Correction, error) {
	all, err := l.readCorrections(ctx, snap, through)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	newest := make(map[usagev1.ID]*Correction, len(all))
	for i := range all {
		newest[all[i].ID] = &all[i]
	}
	return newest, nil
}

// readCorrections answers those through a record (0: what the snapshot has). They are read once: a snapshot is asked
// for what is later than what has been read.
func (l *Ledger) readCorrections(ctx context.Context, snap snapshot, through int64) ([]Correction, error) {
	newest, err := snap.newest(ctx)
	if err != nil {
		return nil, err
	}
	if through == 0 || through > newest {
		through = newest
	}
	l.mu.Lock()
	known := l.corrections
	l.mu.Unlock()
	after := int64(0)
	if n := len(known); n > 0 {
		after = known[n-1].Record
	}
	if after < through {
		facts, err := snap.facts(ctx, kindCorrection, "", after)
		if err != nil {
			return nil, err
		}
		known = slices.Clip(known)
		for _, f := range facts {
			c := Correction{Record: f.record, At: f.at}
			if err := json.Unmarshal(f.body, &c); err != nil {
				return nil, fmt.Errorf("correction of %s: %w", f.subject, err)
			}
			known = append(known, c)
		}
		l.mu.Lock()
		if len(known) > len(l.corrections) {
			l.corrections = known
		}
		l.mu.Unlock()
	}
	n, _ := slices.BinarySearchFunc(known, through+1, func(c Correction, record int64) int { return int(min(max(c.Record-record, -1), 1)) })
	return known[:n:n], nil
}
