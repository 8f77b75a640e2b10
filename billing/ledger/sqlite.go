package ledger

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // the driver

	usagev1 "swell.dev/swell/api/usage/v1"
)

const sqliteSchema = `
CREATE TABLE IF NOT EXISTS ledger (
	one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL,
	record INTEGER NOT NULL, horizon_ms INTEGER NOT NULL
) STRICT;
INSERT INTO ledger VALUES (1, 1, 0, -9223372036854775808) ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS arrivals (
	first INTEGER PRIMARY KEY, day INTEGER NOT NULL, segments INTEGER NOT NULL, max_end_ms INTEGER NOT NULL,
	digests BLOB NOT NULL, data BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS arrivals_by_day ON arrivals (day);
CREATE TABLE IF NOT EXISTS runs (
	name TEXT PRIMARY KEY, day INTEGER NOT NULL, segments INTEGER NOT NULL, max_end_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS runs_by_day ON runs (day);
CREATE TABLE IF NOT EXISTS ids (
	pod ANY NOT NULL, generation INTEGER NOT NULL, sequence INTEGER NOT NULL,
	start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL, digest INTEGER NOT NULL,
	PRIMARY KEY (pod, generation, sequence)
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
//	lock                held while it is open
//	ledger.db           every table but the segments that are packed
//	runs/DAY-RECORD.db  packed segments of a UTC day
//
// What is recorded is appended to the table arrivals, a row for each transaction and day, and its ids are in memory
// (recent). Packing moves arrivals into runs and their ids into the index over all days, so that neither recording
// nor reading meets a tree as large as the ledger. A day that is over ends up in one run.
type sqlite struct {
	dir     string
	readers *sql.DB
	db      *sql.DB // of the one writer
	unpack  *zstd.Decoder
	lock    *os.File

	packing sync.Mutex    // held by who packs, merges or drops
	packs   atomic.Int64  // how often recent has lost something
	full    chan struct{} // capacity 1: there is something to pack
	limits  limits

	mu      sync.Mutex // guards what follows: who writes
	writer  *sql.Conn
	arrive  *sql.Stmt // a transaction's segments of a day
	claim   *sql.Stmt // an id
	digest  *sql.Stmt // of an id
	take    *sql.Stmt // records
	refuse  *sql.Stmt
	live    *sql.Stmt
	recent  map[usagev1.ID]recent // what is in arrivals
	packed  bool                  // there may be something in ids
	horizon int64                 // Unix milliseconds
	closed  bool

	view struct {
		sync.Mutex               // guards what follows
		epoch      int64         // rises when files are replaced
		reading    map[int64]int // snapshots by the epoch that they began in
		doomed     []doomed      // files that no newer snapshot knows
	}
}

// recent is an entry of arrivals.
type recent struct{ digest, record int64 }

// doomed is a file that snapshots of an epoch and before may still read.
type doomed struct {
	path  string
	epoch int64
}

func openSQLite(ctx context.Context, dir string) (_ *sqlite, err error) {
	s := &sqlite{dir: dir, limits: usualLimits, full: make(chan struct{}, 1), recent: map[usagev1.ID]recent{}}
	s.view.reading = map[int64]int{}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("--ledger %s: it is a file: want a folder", dir)
	}
	if err := os.MkdirAll(filepath.Join(dir, "runs"), 0o700); err != nil {
		return nil, fmt.Errorf("--ledger %s: %w", dir, err)
	}
	if s.lock, err = lockFolder(dir); err != nil {
		return nil, fmt.Errorf("--ledger %s: %w", dir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(s.failed(err), s.close())
		}
	}()
	if s.unpack, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0)); err != nil {
		return s, err
	}
	const pragmas = "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(10000)&_pragma=temp_store(MEMORY)&_pragma=journal_size_limit(67108864)"
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
	if err := s.writer.QueryRowContext(ctx, "SELECT version, horizon_ms, EXISTS (SELECT 1 FROM ids) FROM ledger").Scan(&version, &s.horizon, &s.packed); err != nil {
		return s, err
	}
	if version != schemaVersion {
		return s, fmt.Errorf("it is of version %d: this program knows %d", version, schemaVersion)
	}
	if err := s.prepare(ctx); err != nil {
		return s, err
	}
	if err := s.remember(ctx); err != nil {
		return s, err
	}
	if err := s.removeStrays(ctx); err != nil {
		return s, err
	}
	return s, s.takeOver(ctx, dir+".db")
}

func (s *sqlite) prepare(ctx context.Context) error {
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&s.arrive, "INSERT INTO arrivals VALUES (?,?,?,?,?,?)"},
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
	for _, stmt := range []*sql.Stmt{s.arrive, s.claim, s.digest, s.take, s.refuse, s.live} {
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
	if s.unpack != nil {
		s.unpack.Close()
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

// lockFolder keeps other processes out: what is in memory here has to be all that was recorded.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = errors.New("another process has it open: stop that one, or choose another folder; several control planes share a PostgreSQL")
		}
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// remember reads the ids of arrivals.
func (s *sqlite) remember(ctx context.Context) error {
	rows, err := s.writer.QueryContext(ctx, "SELECT digests, data FROM arrivals")
	if err != nil {
		return err
	}
	defer rows.Close()
	var digests, data sql.RawBytes
	var entries []entry
	for rows.Next() {
		if err := rows.Scan(&digests, &data); err != nil {
			return err
		}
		if entries, err = decodeEntries(entries[:0], data); err != nil {
			return err
		}
		if len(digests) != 8*len(entries) {
			return errEntry
		}
		for i := range entries {
			s.recent[entries[i].id()] = recent{int64(binary.BigEndian.Uint64(digests[8*i:])), entries[i].record}
		}
	}
	return rows.Err()
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

func (s *sqlite) record(ctx context.Context, rows []*row, lives []Lifecycle) error {
	if err := s.makeRoom(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := map[usagev1.ID]*row{}
	err := s.writeLocked(ctx, func() error {
		now := time.Now().UnixMilli()
		var order, refused []*row
		for _, r := range rows {
			if err := s.judgeLocked(ctx, r, fresh); err != nil {
				return fmt.Errorf("segment %s: %w", r.segment.ID, err)
			}
			switch r.verdict {
			case recorded:
				order = append(order, r)
			case conflicting, expired:
				refused = append(refused, r)
			}
		}
		first, err := s.takeLocked(ctx, len(order)+len(refused))
		if err != nil {
			return err
		}
		if err := s.arriveLocked(ctx, order, first, now); err != nil {
			return err
		}
		for i, r := range refused {
			f, err := refusal(r)
			if err != nil {
				return err
			}
			if _, err := s.refuse.ExecContext(ctx, first+int64(len(order)+i), now, f.kind, f.id, f.subject, string(f.body)); err != nil {
				return err
			}
		}
		return s.livesLocked(ctx, lives)
	})
	if err != nil {
		return err
	}
	for id, r := range fresh { // not before it is durable
		s.recent[id] = recent{r.digest, r.record}
	}
	if len(s.recent) >= s.limits.packAt {
		select {
		case s.full <- struct{}{}:
		default:
		}
	}
	return nil
}

// judgeLocked sets a row's verdict. Those that are new in this transaction are in fresh.
func (s *sqlite) judgeLocked(ctx context.Context, r *row, fresh map[usagev1.ID]*row) error {
	id := r.segment.ID
	var digest int64
	if r.end < s.horizon {
		r.verdict = expired
		return nil
	} else if first := fresh[id]; first != nil {
		digest = first.digest
	} else if known, is := s.recent[id]; is {
		digest = known.digest
	} else {
		err := sql.ErrNoRows
		if s.packed {
			err = s.digest.QueryRowContext(ctx, podKey(id.PodUID), id.Generation, id.Sequence).Scan(&digest)
		}
		if errors.Is(err, sql.ErrNoRows) {
			r.verdict = recorded
			fresh[id] = r
			return nil
		}
		if err != nil {
			return err
		}
	}
	if r.verdict = repeated; digest != r.digest {
		r.verdict = conflicting
	}
	return nil
}

// arriveLocked appends rows, a blob for each day. Records follow the canonical order.
func (s *sqlite) arriveLocked(ctx context.Context, rows []*row, record, now int64) error {
	slices.SortFunc(rows, func(a, b *row) int { return compare(a.segment, b.segment) })
	for len(rows) > 0 {
		day, first, maxEnd := dayOf(rows[0].start), record, rows[0].end
		var digests, data []byte
		n := 0
		for ; n < len(rows) && dayOf(rows[n].start) == day; n++ {
			r := rows[n]
			data = appendEntry(data, &entry{uid: r.segment.PodUID, generation: r.segment.Generation, sequence: r.segment.Sequence, record: record, at: now, data: r.data})
			r.record = record
			digests = binary.BigEndian.AppendUint64(digests, uint64(r.digest))
			maxEnd = max(maxEnd, r.end)
			record++
		}
		if _, err := s.arrive.ExecContext(ctx, first, day, n, maxEnd, digests, data); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

func (s *sqlite) livesLocked(ctx context.Context, lives []Lifecycle) error {
	for i := range lives {
		p := &lives[i]
		start := p.Started.UnixMilli()
		if _, err := s.live.ExecContext(ctx, dayOf(start), p.PodUID, p.Namespace, p.Pod, p.Node, p.Accepted.UnixMilli(), start, p.Ended.UnixMilli(), p.Restarts); err != nil {
			return fmt.Errorf("lifecycle of pod %s/%s: %w", p.Namespace, p.Pod, err)
		}
	}
	return nil
}

// takeLocked answers the first of n new records.
func (s *sqlite) takeLocked(ctx context.Context, n int) (int64, error) {
	var record int64
	err := s.take.QueryRowContext(ctx, n).Scan(&record)
	return record - int64(n) + 1, err
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
