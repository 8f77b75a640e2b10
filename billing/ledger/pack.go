package ledger

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// limits say when something is worth packing. Tests have smaller ones.
type limits struct {
	packAt, maxArrivals int // arrivals that are enough to pack; that are too many, so that who records packs first
	minRun, minLate     int // the least of a day in progress that is worth a run; of a day that has one already
	maxRuns             int // of a day in progress: reading more of them together is slow
}

var usualLimits = limits{packAt: 1 << 16, maxArrivals: 1 << 18, minRun: 1 << 14, minLate: 1 << 10, maxRuns: 64}

const (
	// settle is how long after its end a day is packed: by then most of its segments have arrived.
	settle = time.Hour
	// idChunk are the ids that enter or leave the index in a transaction, between which others record.
	idChunk = 4096
)

func (s *sqlite) runPath(name string) string { return filepath.Join(s.dir, "runs", name) }

// enter registers a snapshot that is about to begin: files that it may know of stay.
func (s *sqlite) enter() int64 {
	s.view.Lock()
	defer s.view.Unlock()
	s.view.reading[s.view.epoch]++
	return s.view.epoch
}

// leave ends a snapshot, and removes files that none knows of any more.
func (s *sqlite) leave(epoch int64) error {
	s.view.Lock()
	defer s.view.Unlock()
	if s.view.reading[epoch]--; s.view.reading[epoch] == 0 {
		delete(s.view.reading, epoch)
	}
	return s.sweepLocked()
}

// doom has files removed that the tables don't name any more, when the snapshots that may know of them have ended.
func (s *sqlite) doom(names []string) error {
	s.view.Lock()
	defer s.view.Unlock()
	for _, name := range names {
		s.view.doomed = append(s.view.doomed, doomed{s.runPath(name), s.view.epoch})
	}
	s.view.epoch++
	return s.sweepLocked()
}

// sweepLocked works on view.
func (s *sqlite) sweepLocked() error {
	var errs []error
	s.view.doomed = slices.DeleteFunc(s.view.doomed, func(d doomed) bool {
		for epoch := range s.view.reading {
			if epoch <= d.epoch {
				return false
			}
		}
		if err := os.Remove(d.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
		return true
	})
	return errors.Join(errs...)
}

// removeStrays removes files that no table names: of a run that wasn't finished, or was replaced, when the process
// ended.
func (s *sqlite) removeStrays(ctx context.Context) error {
	files, err := os.ReadDir(filepath.Join(s.dir, "runs"))
	if err != nil {
		return err
	}
	for _, f := range files {
		var known bool
		if err := s.writer.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM runs WHERE name = ?)", f.Name()).Scan(&known); err != nil {
			return err
		}
		if !known {
			if err := os.RemoveAll(s.runPath(f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeRoom packs if so much has arrived that it has to be packed first.
func (s *sqlite) makeRoom(ctx context.Context) error {
	for s.arrivals() >= s.limits.maxArrivals {
		if err := s.pack(ctx, time.Now(), true); err != nil {
			return err
		}
	}
	return nil
}

func (s *sqlite) arrivals() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.recent)
}

// pack moves arrivals of days that have enough of them, or are over, into runs. Pressed, it moves all of them.
func (s *sqlite) pack(ctx context.Context, now time.Time, pressed bool) error {
	s.packing.Lock()
	defer s.packing.Unlock()
	type waiting struct {
		day            int64
		segments, runs int
	}
	var days []waiting
	snap, err := s.snapshot(ctx)
	if err != nil {
		return err
	}
	defer snap.close()
	v := snap.(*sqliteSnapshot)
	if err := v.query(ctx, func(rows *sql.Rows) error {
		var w waiting
		err := rows.Scan(&w.day, &w.segments, &w.runs)
		days = append(days, w)
		return err
	}, "SELECT day, sum(segments), (SELECT count(*) FROM runs WHERE runs.day = arrivals.day) FROM arrivals GROUP BY day ORDER BY day"); err != nil {
		return err
	}
	for _, w := range days {
		over := now.UnixMilli() >= (w.day+1)*dayMillis+settle.Milliseconds()
		if pressed || w.segments >= s.limits.minRun || over && (w.runs == 0 || w.segments >= s.limits.minLate) {
			if err := s.packDay(ctx, v, w.day); err != nil {
				return err
			}
		}
	}
	return nil
}

// packDay moves a day's arrivals that a snapshot has into runs, each of about maxArrivals at most.
func (s *sqlite) packDay(ctx context.Context, v *sqliteSnapshot, day int64) error {
	var firsts []int64
	var entries []entry
	flush := func() error {
		if len(firsts) == 0 {
			return nil
		}
		err := s.packRun(ctx, day, firsts, entries)
		firsts, entries = nil, nil
		return err
	}
	if err := v.query(ctx, func(rows *sql.Rows) error {
		var first int64
		var digests, data []byte
		before := len(entries)
		err := rows.Scan(&first, &digests, &data)
		if err == nil {
			entries, err = decodeEntries(entries, data)
		}
		if err == nil && len(digests) != 8*(len(entries)-before) {
			err = errEntry
		}
		if err != nil {
			return s.failed(err)
		}
		for i := before; i < len(entries); i++ {
			entries[i].digest = int64(binary.BigEndian.Uint64(digests[8*(i-before):]))
		}
		if firsts = append(firsts, first); len(entries) >= s.limits.maxArrivals {
			return flush()
		}
		return nil
	}, "SELECT first, digests, data FROM arrivals WHERE day = ? ORDER BY first", day); err != nil {
		return err
	}
	return flush()
}

// packRun makes a run of arrivals. Their ids go into the index first: one that is there and among arrivals counts
// once, and a crash in between leaves no id out.
func (s *sqlite) packRun(ctx context.Context, day int64, firsts []int64, entries []entry) error {
	slices.SortFunc(entries, func(a, b entry) int { return compareEntries(&a, &b) })
	name := fmt.Sprintf("%s-%d.db", dateOf(day).Format(time.DateOnly), firsts[0])
	sorted := list(entries)
	maxEnd, err := s.writeRun(name, []source{&sorted})
	if err != nil {
		return s.failed(err)
	}
	if err := s.index(ctx, entries); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writeLocked(ctx, func() error {
		if _, err := s.writer.ExecContext(ctx, "INSERT INTO runs VALUES (?,?,?,?)", name, day, len(entries), maxEnd); err != nil {
			return err
		}
		remove, err := s.writer.PrepareContext(ctx, "DELETE FROM arrivals WHERE first = ?")
		if err != nil {
			return err
		}
		defer remove.Close()
		for _, first := range firsts {
			if _, err := remove.ExecContext(ctx, first); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	for i := range entries {
		delete(s.recent, entries[i].id())
	}
	s.packs.Add(1)
	return nil
}

// writeRun writes a file that holds what the sources do, and answers the latest end in it.
func (s *sqlite) writeRun(name string, sources []source) (maxEnd int64, err error) {
	path := s.runPath(name)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) { // left by a try that failed
		return 0, err
	}
	w, err := newRun(path)
	if err != nil {
		return 0, fmt.Errorf("run %s: %w", name, err)
	}
	if err := merge(sources, w.add); err != nil {
		return 0, errors.Join(fmt.Errorf("run %s: %w", name, err), w.abandon())
	}
	if err := w.finish(); err != nil {
		return 0, fmt.Errorf("run %s: %w", name, err)
	}
	return w.maxEnd, nil
}

// index enters ids of sorted entries in the index over all days, in its order, so that neighbours share pages.
func (s *sqlite) index(ctx context.Context, entries []entry) error {
	for chunk := range slices.Chunk(entries, idChunk) {
		if err := s.indexChunk(ctx, chunk); err != nil {
			return err
		}
	}
	return nil
}

func (s *sqlite) indexChunk(ctx context.Context, entries []entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packed = true
	return s.writeLocked(ctx, func() error {
		for i := range entries {
			e := &entries[i]
			_, _, start, end, err := headOf(e.data)
			if err != nil {
				return err
			}
			if _, err := s.claim.ExecContext(ctx, podKey(e.uid), e.generation, e.sequence, start, end, e.digest); err != nil {
				return err
			}
		}
		return nil
	})
}

// mergeRuns makes one run of those of each day that is over by now, or has too many.
func (s *sqlite) mergeRuns(ctx context.Context, now time.Time) error {
	s.packing.Lock()
	defer s.packing.Unlock()
	days := map[int64][]string{}
	snap, err := s.snapshot(ctx)
	if err != nil {
		return err
	}
	defer snap.close()
	if err := snap.(*sqliteSnapshot).query(ctx, func(rows *sql.Rows) error {
		var name string
		var day int64
		err := rows.Scan(&name, &day)
		days[day] = append(days[day], name)
		return err
	}, "SELECT name, day FROM runs"); err != nil {
		return err
	}
	for day, names := range days {
		over := now.UnixMilli() >= (day+1)*dayMillis+settle.Milliseconds()
		if len(names) > s.limits.maxRuns || over && len(names) > 1 {
			if err := s.mergeDay(ctx, day, names); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *sqlite) mergeDay(ctx context.Context, day int64, names []string) error {
	var sources []source
	defer func() {
		for _, r := range sources {
			_ = r.close() // it was read to its end, or what went wrong is told
		}
	}()
	for _, name := range names {
		r, err := openRun(ctx, s.runPath(name), &Filter{}, s.unpack)
		if err != nil {
			return s.failed(err)
		}
		sources = append(sources, r)
	}
	// A record of its own, so that no run has had the name.
	s.mu.Lock()
	var record int64
	err := s.writeLocked(ctx, func() (err error) {
		record, err = s.takeLocked(ctx, 1)
		return err
	})
	s.mu.Unlock()
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s-%d.db", dateOf(day).Format(time.DateOnly), record)
	maxEnd, err := s.writeRun(name, sources)
	if err != nil {
		return s.failed(err)
	}
	s.mu.Lock()
	err = s.writeLocked(ctx, func() error {
		if _, err := s.writer.ExecContext(ctx, "INSERT INTO runs SELECT ?, ?, sum(segments), ? FROM runs WHERE day = ?", name, day, maxEnd, day); err != nil {
			return err
		}
		for _, old := range names {
			if _, err := s.writer.ExecContext(ctx, "DELETE FROM runs WHERE name = ?", old); err != nil {
				return err
			}
		}
		return nil
	})
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.doom(names)
}
