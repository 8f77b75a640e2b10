package ledger

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver
)

// sqliteSchema: segments are collected in one of two tables, in turns. The other one is empty, or is being packed.
const sqliteSchema = `
CREATE TABLE IF NOT EXISTS ledger (
	one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL,
	record INTEGER NOT NULL, horizon_ms INTEGER NOT NULL, active INTEGER NOT NULL
) STRICT;
INSERT INTO ledger VALUES (1, 1, 0, -9223372036854775808, 0) ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS ids (
	pod ANY NOT NULL, generation INTEGER NOT NULL, sequence INTEGER NOT NULL,
	start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL, digest INTEGER NOT NULL,
	PRIMARY KEY (pod, generation, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS segments_0 (
	day INTEGER NOT NULL, pod TEXT NOT NULL, generation INTEGER NOT NULL, sequence INTEGER NOT NULL,
	record INTEGER NOT NULL, recorded_ms INTEGER NOT NULL, data BLOB NOT NULL,
	PRIMARY KEY (day, pod, generation, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS segments_1 (
	day INTEGER NOT NULL, pod TEXT NOT NULL, generation INTEGER NOT NULL, sequence INTEGER NOT NULL,
	record INTEGER NOT NULL, recorded_ms INTEGER NOT NULL, data BLOB NOT NULL,
	PRIMARY KEY (day, pod, generation, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (
	record INTEGER PRIMARY KEY, recorded_ms INTEGER NOT NULL,
	kind TEXT NOT NULL, id TEXT NOT NULL, subject TEXT NOT NULL, body TEXT NOT NULL,
	UNIQUE (kind, id)
) STRICT;
CREATE INDEX IF NOT EXISTS facts_by_subject ON facts (kind, subject);
CREATE TABLE IF NOT EXISTS lifecycles (
	day INTEGER NOT NULL, uid TEXT NOT NULL, namespace TEXT NOT NULL, pod TEXT NOT NULL, node TEXT NOT NULL,
	accepted_ms INTEGER NOT NULL, started_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL, restarts INTEGER NOT NULL,
	PRIMARY KEY (day, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS lifecycles_by_end ON lifecycles (ended_ms);
`

// schemaVersion is what this program reads and writes.
const schemaVersion = 1

// sqlite is a store in a folder:
//
//	ledger.db   every table
type sqlite struct {
	dir     string
	readers *sql.DB
	db      *sql.DB // of the one writer

	mu      sync.Mutex // guards what follows: who writes
	writer  *sql.Conn
	insert  [2]*sql.Stmt // a segment, into the table of that number
	claim   *sql.Stmt    // an id
	digest  *sql.Stmt    // of an id
	take    *sql.Stmt    // records
	refuse  *sql.Stmt
	live    *sql.Stmt
	active  int
	horizon int64 // Unix milliseconds
	closed  bool
}

func openSQLite(ctx context.Context, dir string) (_ *sqlite, err error) {
	s := &sqlite{dir: dir}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("--ledger %s: it is a file: want a folder", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("--ledger %s: %w", dir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(s.failed(err), s.close())
		}
	}()
	const pragmas = "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(10000)&_pragma=temp_store(MEMORY)"
	dsn := "file:" + (&url.URL{Path: filepath.Join(dir, "ledger.db")}).EscapedPath() + pragmas
	if s.db, err = sql.Open("sqlite", dsn+"&_pragma=cache_size(-65536)"); err != nil {
		return s, err
	}
	if s.readers, err = sql.Open("sqlite", dsn+"&_pragma=query_only(true)"); err != nil {
		return s, err
	}
	if s.writer, err = s.db.Conn(ctx); err != nil {
		return s, err
	}
	if _, err := s.writer.ExecContext(ctx, sqliteSchema); err != nil {
		return s, err
	}
	var version int
	if err := s.writer.QueryRowContext(ctx, "SELECT version, active, horizon_ms FROM ledger").Scan(&version, &s.active, &s.horizon); err != nil {
		return s, err
	}
	if version != schemaVersion {
		return s, fmt.Errorf("it is of version %d: this program knows %d", version, schemaVersion)
	}
	if err := s.prepare(ctx); err != nil {
		return s, err
	}
	return s, s.takeOver(ctx, dir+".db")
}

func (s *sqlite) prepare(ctx context.Context) error {
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&s.insert[0], "INSERT INTO segments_0 VALUES (?,?,?,?,?,?,?)"},
		{&s.insert[1], "INSERT INTO segments_1 VALUES (?,?,?,?,?,?,?)"},
		{&s.claim, "INSERT INTO ids VALUES (?,?,?,?,?,?) ON CONFLICT DO NOTHING"},
		{&s.digest, "SELECT digest FROM ids WHERE pod = ? AND generation = ? AND sequence = ?"},
		{&s.take, "UPDATE ledger SET record = record + ? RETURNING record"},
		{&s.refuse, "INSERT INTO facts VALUES (?,?,?,?,?,?) ON CONFLICT (kind, id) DO NOTHING"},
		{&s.live, "INSERT INTO lifecycles VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"},
	} {
		var err error
		if *p.stmt, err = s.writer.PrepareContext(ctx, p.text); err != nil {
			return err
		}
	}
	return nil
}

func (s *sqlite) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	for _, stmt := range []*sql.Stmt{s.insert[0], s.insert[1], s.claim, s.digest, s.take, s.refuse, s.live} {
		if stmt != nil {
			errs = append(errs, stmt.Close())
		}
	}
	if s.writer != nil {
		errs = append(errs, s.writer.Close())
	}
	if s.readers != nil {
		errs = append(errs, s.readers.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	return errors.Join(errs...)
}

// failed says which ledger it was and what a person can do about it.
func (s *sqlite) failed(err error) error {
	if strings.Contains(err.Error(), "database or disk is full") {
		err = fmt.Errorf("the disk is full: free some space; what was acknowledged is safe: %w", err)
	}
	return &StoreError{s.dir, err}
}

// writeLocked runs fn in a transaction of the writer.
func (s *sqlite) writeLocked(ctx context.Context, fn func() error) error {
	if _, err := s.writer.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return s.failed(err)
	}
	err := fn()
	if err == nil {
		if _, err = s.writer.ExecContext(ctx, "COMMIT"); err == nil {
			return nil
		}
	}
	// Some errors have ended the transaction already, and there is nothing to roll back then.
	_, _ = s.writer.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
	return s.failed(err)
}

// podKey is how an index has a pod's UID: 16 bytes where it is a UUID as Kubernetes writes them, its text otherwise.
func podKey(uid string) any {
	if len(uid) == 36 && uid[8] == '-' && uid[13] == '-' && uid[18] == '-' && uid[23] == '-' {
		raw, err := hex.DecodeString(uid[:8] + uid[9:13] + uid[14:18] + uid[19:23] + uid[24:])
		if err == nil && podOf(raw) == uid {
			return raw
		}
	}
	return uid
}

// podOf is podKey back.
func podOf(key any) string {
	raw, is := key.([]byte)
	if !is {
		text, _ := key.(string)
		return text
	}
	h := hex.EncodeToString(raw)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func (s *sqlite) record(ctx context.Context, rows []*row, lives []Lifecycle) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writeLocked(ctx, func() error {
		now := time.Now().UnixMilli()
		record, err := s.takeLocked(ctx, len(rows)) // a refused row's as well
		if err != nil {
			return err
		}
		for i, r := range rows {
			if err := s.rowLocked(ctx, r, record+int64(i), now); err != nil {
				return fmt.Errorf("segment %s: %w", r.segment.ID, err)
			}
		}
		for i := range lives {
			p := &lives[i]
			start := p.Started.UnixMilli()
			if _, err := s.live.ExecContext(ctx, dayOf(start), p.PodUID, p.Namespace, p.Pod, p.Node, p.Accepted.UnixMilli(), start, p.Ended.UnixMilli(), p.Restarts); err != nil {
				return fmt.Errorf("lifecycle of pod %s/%s: %w", p.Namespace, p.Pod, err)
			}
		}
		return nil
	})
}

// takeLocked answers the first of n new records.
func (s *sqlite) takeLocked(ctx context.Context, n int) (int64, error) {
	var record int64
	err := s.take.QueryRowContext(ctx, n).Scan(&record)
	return record - int64(n) + 1, err
}

func (s *sqlite) rowLocked(ctx context.Context, r *row, record, now int64) error {
	id := r.segment.ID
	if r.verdict = recorded; r.end < s.horizon {
		r.verdict = expired
	} else {
		key := podKey(id.PodUID)
		res, err := s.claim.ExecContext(ctx, key, id.Generation, id.Sequence, r.start, r.end, r.digest)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n == 1 {
			_, err := s.insert[s.active].ExecContext(ctx, dayOf(r.start), id.PodUID, id.Generation, id.Sequence, record, now, r.data)
			return err
		}
		var digest int64
		if err := s.digest.QueryRowContext(ctx, key, id.Generation, id.Sequence).Scan(&digest); err != nil {
			return err
		}
		if digest == r.digest {
			r.verdict = repeated
			return nil
		}
		r.verdict = conflicting
	}
	f, err := refusal(r)
	if err != nil {
		return err
	}
	_, err = s.refuse.ExecContext(ctx, record, now, f.kind, f.id, f.subject, string(f.body))
	return err
}

func (s *sqlite) append(ctx context.Context, f *fact, guard func([]fact) (bool, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var refused error // the guard's own, which says what it is about
	err := s.writeLocked(ctx, func() error {
		known, err := sqliteFacts(ctx, s.writer, "SELECT record, recorded_ms, kind, id, subject, body FROM facts WHERE kind = ? AND (subject = ? OR id = ?) ORDER BY record", f.kind, f.subject, f.id)
		if err != nil {
			return err
		}
		there, err := guard(known)
		if there || err != nil {
			refused = err
			return err
		}
		record, err := s.takeLocked(ctx, 1)
		if err != nil {
			return err
		}
		_, err = s.writer.ExecContext(ctx, "INSERT INTO facts VALUES (?,?,?,?,?,?)", record, time.Now().UnixMilli(), f.kind, f.id, f.subject, string(f.body))
		return err
	})
	if refused != nil {
		return refused
	}
	return err
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func sqliteFacts(ctx context.Context, q querier, text string, args ...any) ([]fact, error) {
	rows, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []fact
	for rows.Next() {
		var f fact
		var at int64
		if err := rows.Scan(&f.record, &at, &f.kind, &f.id, &f.subject, &f.body); err != nil {
			return nil, err
		}
		f.at = time.UnixMilli(at).UTC()
		out = append(out, f)
	}
	return out, rows.Err()
}
