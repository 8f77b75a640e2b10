// Package ledger keeps metering segments for ever, each once.
//
// Closed segments are facts: they are added, never changed or deleted, and known by their id. A segment
// that arrives twice is the same one; if it says something else the second time, the first stands and the
// second is reported. Open segments are what nodes last said goes on; they are replaced as a whole per
// node, and one whose closed twin has arrived doesn't count.
package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver

	usagev1 "swell.dev/swell/api/usage/v1"
)

const schema = `
CREATE TABLE IF NOT EXISTS segments (
	pod_uid TEXT NOT NULL, generation INTEGER NOT NULL, sequence INTEGER NOT NULL,
	namespace TEXT NOT NULL, pod TEXT NOT NULL, node TEXT NOT NULL, class TEXT NOT NULL, qos TEXT NOT NULL,
	cpu_milli INTEGER NOT NULL, memory_bytes INTEGER NOT NULL,
	start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL CHECK (end_ms >= start_ms),
	labels TEXT NOT NULL,
	burst_ms INTEGER NOT NULL DEFAULT 0, burst_cpu_milli_ms INTEGER NOT NULL DEFAULT 0, burst_memory_mib_ms INTEGER NOT NULL DEFAULT 0,
	PRIMARY KEY (pod_uid, generation, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS segments_by_pod ON segments (namespace, pod, start_ms);
CREATE INDEX IF NOT EXISTS segments_by_time ON segments (start_ms);
`

// Ledger is a SQLite file. It is safe for concurrent use.
type Ledger struct {
	path  string
	db    *sql.DB
	group group

	mu   sync.Mutex                   // guards open
	open map[string][]usagev1.Segment // by node
}

// Open opens the ledger at a path, or makes it.
func Open(path string) (*Ledger, error) {
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() +
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(10000)&_pragma=temp_store(MEMORY)&_txlock=immediate"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("ledger %s: %w", path, err)
	}
	if _, err := db.Exec(schema); err != nil {
		return nil, errors.Join(fmt.Errorf("ledger %s: %w", path, explain(err)), db.Close())
	}
	if err := addColumns(db); err != nil {
		return nil, errors.Join(fmt.Errorf("ledger %s: %w", path, explain(err)), db.Close())
	}
	return &Ledger{path: path, db: db, open: map[string][]usagev1.Segment{}}, nil
}

// addColumns brings a file of an earlier version up to date.
func addColumns(db *sql.DB) error {
	for _, name := range []string{"burst_ms", "burst_cpu_milli_ms", "burst_memory_mib_ms"} {
		var n int
		if err := db.QueryRow("SELECT COUNT(*) FROM pragma_table_info('segments') WHERE name = ?", name).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		if _, err := db.Exec("ALTER TABLE segments ADD COLUMN " + name + " INTEGER NOT NULL DEFAULT 0"); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the file. No call is under way any more.
func (l *Ledger) Close() error {
	l.group.wg.Wait()
	return l.db.Close()
}

// ConflictError reports segments that came again and said something else. Everything else of the call
// has been recorded.
type ConflictError struct{ IDs []usagev1.ID }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%d segments came again with other contents; the first stands; one of them is %s", len(e.IDs), e.IDs[0])
}

const columns = "pod_uid, generation, sequence, namespace, pod, node, class, qos, cpu_milli, memory_bytes, start_ms, end_ms, labels, burst_ms, burst_cpu_milli_ms, burst_memory_mib_ms"

// record makes the segments of calls durable, all or none, and notes in each call what was in conflict.
func (l *Ledger) record(ctx context.Context, calls []*call) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("ledger %s: %w", l.path, explain(err))
	}
	defer func() { _ = tx.Rollback() }() // no effect after Commit
	insert, err := tx.PrepareContext(ctx, "INSERT INTO segments ("+columns+") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING")
	if err != nil {
		return fmt.Errorf("ledger %s: %w", l.path, explain(err))
	}
	defer insert.Close()
	for _, c := range calls {
		for i := range c.segments {
			s := &c.segments[i]
			if s.Open() {
				return fmt.Errorf("segment %s: an open segment can't be recorded", s.ID)
			}
			labels, err := json.Marshal(s.Labels)
			if err != nil {
				return fmt.Errorf("segment %s: %w", s.ID, err)
			}
			res, err := insert.ExecContext(ctx, s.PodUID, s.Generation, s.Sequence, s.Namespace, s.Pod, s.Node, s.ComputeClass, s.QoS,
				s.CPUMilli, s.MemoryBytes, s.Start.UnixMilli(), s.End.UnixMilli(), string(labels),
				s.Burst.Millis, s.Burst.CPUMillis, s.Burst.MemoryMillis)
			if err != nil {
				return fmt.Errorf("ledger %s: segment %s: %w", l.path, s.ID, explain(err))
			}
			n, err := res.RowsAffected()
			if err != nil {
				return fmt.Errorf("ledger %s: %w", l.path, err)
			}
			if n == 1 {
				continue
			}
			known, err := query(ctx, tx, "SELECT "+columns+" FROM segments WHERE pod_uid = ? AND generation = ? AND sequence = ?", s.PodUID, s.Generation, s.Sequence)
			if err != nil {
				return fmt.Errorf("ledger %s: %w", l.path, err)
			}
			if len(known) != 1 || !same(known[0], *s) {
				c.conflicts = append(c.conflicts, s.ID)
			}
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("ledger %s: %w", l.path, explain(err))
	}
	return nil
}

func same(a, b usagev1.Segment) bool {
	return a.ID == b.ID && a.Namespace == b.Namespace && a.Pod == b.Pod && a.Node == b.Node && a.ComputeClass == b.ComputeClass &&
		a.QoS == b.QoS && a.Burst == b.Burst && a.CPUMilli == b.CPUMilli && a.MemoryBytes == b.MemoryBytes &&
		a.Start.UnixMilli() == b.Start.UnixMilli() && a.End.UnixMilli() == b.End.UnixMilli() && maps.Equal(a.Labels, b.Labels)
}

// explain says what a person can do about it.
func explain(err error) error {
	if strings.Contains(err.Error(), "database or disk is full") {
		return fmt.Errorf("the disk is full: free some space; what was acknowledged is safe: %w", err)
	}
	return err
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

// Filter chooses segments; a zero field chooses all.
type Filter struct {
	Namespace, Pod, UID string
	From, To            time.Time // those that touch [From, To)
}

// Segments answers closed and open segments, sorted by pod UID and sequence.
func (l *Ledger) Segments(ctx context.Context, f Filter) ([]usagev1.Segment, error) {
	// The open ones first: one that closes meanwhile is then there twice, and not missing.
	var open []usagev1.Segment
	l.mu.Lock()
	for _, list := range l.open {
		for _, s := range list {
			if f.matches(&s) {
				open = append(open, s)
			}
		}
	}
	l.mu.Unlock()
	where, args := f.where()
	closed, err := query(ctx, l.db, "SELECT "+columns+" FROM segments"+where+" ORDER BY pod_uid, sequence", args...)
	if err != nil {
		return nil, fmt.Errorf("ledger %s: %w", l.path, err)
	}
	seen := make(map[usagev1.ID]bool, len(closed))
	for i := range closed {
		seen[closed[i].ID] = true
	}
	for _, s := range open {
		if !seen[s.ID] {
			closed = append(closed, s)
		}
	}
	slices.SortStableFunc(closed, func(a, b usagev1.Segment) int {
		return cmp.Or(strings.Compare(a.PodUID, b.PodUID), cmp.Compare(a.Sequence, b.Sequence))
	})
	return closed, nil
}

func (f Filter) where() (string, []any) {
	var terms []string
	var args []any
	add := func(term string, arg any) { terms, args = append(terms, term), append(args, arg) }
	if f.Namespace != "" {
		add("namespace = ?", f.Namespace)
	}
	if f.Pod != "" {
		add("pod = ?", f.Pod)
	}
	if f.UID != "" {
		add("pod_uid = ?", f.UID)
	}
	if !f.From.IsZero() {
		add("end_ms > ?", f.From.UnixMilli())
	}
	if !f.To.IsZero() {
		add("start_ms < ?", f.To.UnixMilli())
	}
	if len(terms) == 0 {
		return "", nil
	}
	return " WHERE " + strings.Join(terms, " AND "), args
}

func (f Filter) matches(s *usagev1.Segment) bool {
	return (f.Namespace == "" || s.Namespace == f.Namespace) && (f.Pod == "" || s.Pod == f.Pod) &&
		(f.UID == "" || s.PodUID == f.UID) && (f.To.IsZero() || s.Start.Before(f.To))
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func query(ctx context.Context, q querier, text string, args ...any) ([]usagev1.Segment, error) {
	rows, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []usagev1.Segment
	for rows.Next() {
		var s usagev1.Segment
		var start, end int64
		var labels string
		if err := rows.Scan(&s.PodUID, &s.Generation, &s.Sequence, &s.Namespace, &s.Pod, &s.Node, &s.ComputeClass, &s.QoS,
			&s.CPUMilli, &s.MemoryBytes, &start, &end, &labels, &s.Burst.Millis, &s.Burst.CPUMillis, &s.Burst.MemoryMillis); err != nil {
			return nil, err
		}
		s.Start, s.End = time.UnixMilli(start).UTC(), time.UnixMilli(end).UTC()
		if err := json.Unmarshal([]byte(labels), &s.Labels); err != nil {
			return nil, fmt.Errorf("segment %s: labels: %w", s.ID, err)
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// Gap is a place where a pod's segments don't abut.
type Gap struct {
	PodUID   string
	After    int64 // sequence
	From, To time.Time
}

// Gaps answers where closed segments of a pod leave time out, overlap (To before From), or skip a
// sequence number. A whole ledger has none.
func (l *Ledger) Gaps(ctx context.Context) ([]Gap, error) {
	closed, err := query(ctx, l.db, "SELECT "+columns+" FROM segments ORDER BY pod_uid, sequence")
	if err != nil {
		return nil, fmt.Errorf("ledger %s: %w", l.path, err)
	}
	var out []Gap
	for i := 1; i < len(closed); i++ {
		a, b := &closed[i-1], &closed[i]
		if a.PodUID == b.PodUID && (b.Sequence != a.Sequence+1 || !a.End.Equal(b.Start)) {
			out = append(out, Gap{a.PodUID, a.Sequence, a.End, b.Start})
		}
	}
	return out, nil
}
