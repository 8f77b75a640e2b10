package ledger

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

func (s *sqlite) urgent() <-chan struct{} { return s.full }

func (s *sqlite) tend(ctx context.Context, now time.Time, horizon int64) error {
	if err := s.pack(ctx, now, false); err != nil {
		return err
	}
	if err := s.mergeRuns(ctx, now); err != nil {
		return err
	}
	return s.drop(ctx, horizon)
}

// relieve packs what has arrived. Runs are merged where there are too many: those of a day that is over wait until
// tend's time, so that a day that arrives late isn't written anew with each of its parts.
func (s *sqlite) relieve(ctx context.Context, now time.Time) error {
	if s.arrivals() < s.limits.packAt { // they were packed since it was asked for
		return nil
	}
	if err := s.pack(ctx, now, false); err != nil {
		return err
	}
	return s.mergeRuns(ctx, time.Time{})
}

// drop drops days. The horizon is durable first, so that nothing of them is recorded again while their ids go.
func (s *sqlite) drop(ctx context.Context, horizon int64) error {
	if err := s.setHorizon(ctx, horizon); err != nil || horizon == noHorizon {
		return err
	}
	s.packing.Lock()
	defer s.packing.Unlock()
	snap, err := s.snapshot(ctx)
	if err != nil {
		return err
	}
	v := snap.(*sqliteSnapshot)
	var days []int64
	err = v.query(ctx, func(rows *sql.Rows) error {
		var day int64
		err := rows.Scan(&day)
		days = append(days, day)
		return err
	}, "SELECT day FROM (SELECT day, max_end_ms FROM runs UNION ALL SELECT day, max_end_ms FROM arrivals) GROUP BY day HAVING max(max_end_ms) < ? ORDER BY day", horizon)
	for _, day := range days {
		if err == nil {
			err = s.dropDay(ctx, v, day, horizon)
		}
	}
	return errors.Join(err, snap.close())
}

func (s *sqlite) setHorizon(ctx context.Context, horizon int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if horizon <= s.horizon {
		return nil
	}
	err := s.writeLocked(ctx, func() error {
		if _, err := s.writer.ExecContext(ctx, "UPDATE ledger SET horizon_ms = ?", horizon); err != nil {
			return err
		}
		_, err := s.writer.ExecContext(ctx, "DELETE FROM lifecycles WHERE ended_ms < ?", horizon)
		return err
	})
	if err == nil {
		s.horizon = horizon
	}
	return err
}

func (s *sqlite) dropDay(ctx context.Context, v *sqliteSnapshot, day, horizon int64) error {
	var names []string
	if err := v.query(ctx, func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		names = append(names, name)
		return err
	}, "SELECT name FROM runs WHERE day = ?", day); err != nil {
		return err
	}
	var ids []usagev1.ID
	forget := func() error {
		err := s.forget(ctx, ids)
		ids = ids[:0]
		return err
	}
	if err := v.entries(ctx, day, &Filter{}, func(e *entry) error {
		if ids = append(ids, e.id()); len(ids) == idChunk {
			return forget()
		}
		return nil
	}); err != nil {
		return err
	}
	if err := forget(); err != nil {
		return err
	}
	s.mu.Lock()
	err := s.writeLocked(ctx, func() error {
		for _, name := range names {
			if _, err := s.writer.ExecContext(ctx, "DELETE FROM runs WHERE name = ?", name); err != nil {
				return err
			}
		}
		// What has come since ended later.
		_, err := s.writer.ExecContext(ctx, "DELETE FROM arrivals WHERE day = ? AND max_end_ms < ?", day, horizon)
		return err
	})
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.doom(names)
}

// forget takes ids out of the index and out of memory.
func (s *sqlite) forget(ctx context.Context, ids []usagev1.ID) error {
	slices.SortFunc(ids, compareKeys)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writeLocked(ctx, func() error {
		remove, err := s.writer.PrepareContext(ctx, "DELETE FROM ids WHERE pod = ? AND generation = ? AND sequence = ?")
		if err != nil {
			return err
		}
		defer remove.Close()
		for _, id := range ids {
			if _, err := remove.ExecContext(ctx, podKey(id.PodUID), id.Generation, id.Sequence); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	for _, id := range ids {
		delete(s.recent, id)
	}
	s.packs.Add(1)
	return nil
}
