package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// postgresSchema is everything but the partitions of swell.segments, of which each UTC day has one.
const postgresSchema = `
CREATE SCHEMA IF NOT EXISTS swell;
CREATE TABLE IF NOT EXISTS swell.ledger (
	one boolean PRIMARY KEY DEFAULT true CHECK (one), version int NOT NULL,
	record bigint NOT NULL, horizon_ms bigint NOT NULL
);
INSERT INTO swell.ledger VALUES (true, 1, 0, -9223372036854775808) ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS swell.ids (
	pod text COLLATE "C" NOT NULL, generation bigint NOT NULL, sequence bigint NOT NULL,
	start_ms bigint NOT NULL, end_ms bigint NOT NULL, digest bigint NOT NULL,
	PRIMARY KEY (pod, generation, sequence)
);
CREATE TABLE IF NOT EXISTS swell.segments (
	day date NOT NULL, pod_uid text COLLATE "C" NOT NULL, generation bigint NOT NULL, sequence bigint NOT NULL,
	record bigint NOT NULL, recorded_ms bigint NOT NULL,
	namespace text NOT NULL, pod text NOT NULL, node text NOT NULL, class text NOT NULL, qos text NOT NULL,
	cpu_milli bigint NOT NULL, memory_bytes bigint NOT NULL, start_ms bigint NOT NULL, end_ms bigint NOT NULL CHECK (end_ms >= start_ms),
	labels jsonb, burst_ms bigint NOT NULL, burst_cpu_milli_ms bigint NOT NULL, burst_memory_mib_ms bigint NOT NULL,
	gpu_model text NOT NULL, gpu_milli bigint NOT NULL, gpu_memory_mib bigint NOT NULL, storage_bytes bigint NOT NULL, region text NOT NULL,
	PRIMARY KEY (day, pod_uid, generation, sequence)
) PARTITION BY RANGE (day);
CREATE INDEX IF NOT EXISTS segments_by_pod ON swell.segments (namespace, pod);
CREATE TABLE IF NOT EXISTS swell.facts (
	record bigint PRIMARY KEY, recorded_ms bigint NOT NULL,
	kind text NOT NULL, id text NOT NULL, subject text NOT NULL, body text NOT NULL,
	UNIQUE (kind, id)
);
CREATE INDEX IF NOT EXISTS facts_by_subject ON swell.facts (kind, subject);
CREATE TABLE IF NOT EXISTS swell.lifecycles (
	day date NOT NULL, uid text COLLATE "C" NOT NULL, namespace text NOT NULL, pod text NOT NULL, node text NOT NULL,
	accepted_ms bigint NOT NULL, started_ms bigint NOT NULL, ended_ms bigint NOT NULL, restarts bigint NOT NULL,
	PRIMARY KEY (day, uid)
);
CREATE INDEX IF NOT EXISTS lifecycles_by_end ON swell.lifecycles (ended_ms);
`

// segmentColumns is what a segment is read from and written to.
var segmentColumns = []string{
	"day", "pod_uid", "generation", "sequence", "record", "recorded_ms", "namespace", "pod", "node", "class", "qos", "cpu_milli", "memory_bytes",
	"start_ms", "end_ms", "labels", "burst_ms", "burst_cpu_milli_ms", "burst_memory_mib_ms", "gpu_model", "gpu_milli", "gpu_memory_mib", "storage_bytes", "region",
}

// postgres is a store in a database's schema swell. Several may write, as when a control plane takes over from
// another: each transaction takes its records from the one row of swell.ledger, which it holds until it is durable,
// so that records become visible in their order.
type postgres struct {
	name    string // the URL without its password
	pool    *pgxpool.Pool
	readers *pgxpool.Pool // of its own, so that who reads for long keeps nobody from writing

	mu   sync.Mutex // guards what follows
	days map[int64]bool
}

// minPostgres is the first version that detaches a partition beside readers.
const minPostgres = 140000

func openPostgres(ctx context.Context, where string) (_ *postgres, err error) {
	p := &postgres{name: redacted(where), days: map[int64]bool{}}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("--ledger %s: %w", p.name, err), p.close())
		}
	}()
	cfg, err := pgxpool.ParseConfig(where)
	if err != nil {
		return p, errors.New("it isn't a PostgreSQL URL: want one such as postgres://swell@db.example.com/swell?sslmode=verify-full")
	}
	cfg.AfterConnect = checkDurable
	if p.pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return p, err
	}
	if p.readers, err = pgxpool.NewWithConfig(ctx, cfg.Copy()); err != nil {
		return p, err
	}
	var version int
	if err := p.pool.QueryRow(ctx, "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
		return p, fmt.Errorf("want a PostgreSQL that can be reached: %w", err)
	}
	if version < minPostgres {
		return p, fmt.Errorf("PostgreSQL is of version %d: want 14 or newer", version/10000)
	}
	if err := p.makeSchema(ctx); err != nil {
		return p, err
	}
	return p, nil
}

// makeSchema makes what is missing. Who does so at the same time waits.
func (p *postgres) makeSchema(ctx context.Context) error {
	return pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('swell.ledger', 0))"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, postgresSchema); err != nil {
			return err
		}
		var found int
		if err := tx.QueryRow(ctx, "SELECT version FROM swell.ledger").Scan(&found); err != nil {
			return err
		}
		if found != schemaVersion {
			return fmt.Errorf("it is of version %d: this program knows %d", found, schemaVersion)
		}
		return nil
	})
}

// redacted is a URL without what may be secret in it.
func redacted(where string) string {
	u, err := url.Parse(where)
	if err != nil {
		return "postgres://…"
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	q := u.Query()
	if q.Has("password") {
		q.Del("password")
		u.RawQuery = q.Encode()
	}
	return u.String()
}

// checkDurable refuses a server that answers before what it was told is durable.
func checkDurable(ctx context.Context, conn *pgx.Conn) error {
	for _, setting := range []string{"synchronous_commit", "fsync", "full_page_writes"} {
		var value string
		if err := conn.QueryRow(ctx, "SELECT current_setting($1)", setting).Scan(&value); err != nil {
			return err
		}
		if value == "off" {
			return &notDurableError{setting}
		}
	}
	return nil
}

type notDurableError struct{ setting string }

func (e *notDurableError) Error() string {
	return fmt.Sprintf("%s is off, so that a crash of the server loses what it acknowledged: want it on", e.setting)
}

func (p *postgres) close() error {
	if p.pool != nil {
		p.pool.Close()
	}
	if p.readers != nil {
		p.readers.Close()
	}
	return nil
}

// failed says which ledger it was, and whether another try may succeed.
func (p *postgres) failed(err error) error {
	if unreachable(err) {
		return &StoreError{p.name, fmt.Errorf("%w: %w", errUnreachable, err)}
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "53100" {
		err = fmt.Errorf("the database's disk is full: free some space; what was acknowledged is safe: %w", err)
	}
	return &StoreError{p.name, err}
}

func unreachable(err error) bool {
	var notDurable *notDurableError
	if errors.As(err, &notDurable) {
		return false
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch {
		case strings.HasPrefix(pg.Code, "08"), strings.HasPrefix(pg.Code, "57P"): // connections; the server ends or starts
			return true
		}
		switch pg.Code {
		case "25006", "40001", "40P01", "53300", noPartition: // a standby for now; serialization; deadlock; too many clients
			return true
		}
		return false
	}
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || pgconn.SafeToRetry(err) || strings.Contains(err.Error(), "conn closed")
}

// takeRecords answers the first of n new records and the horizon. No other transaction gets any until this one has
// ended.
func takeRecords(ctx context.Context, tx pgx.Tx, n int) (first, horizon int64, err error) {
	err = tx.QueryRow(ctx, "UPDATE swell.ledger SET record = record + $1 RETURNING record, horizon_ms", n).Scan(&first, &horizon)
	return first - int64(n) + 1, horizon, err
}

// idColumns are ids as arrays, which unnest makes rows of.
type idColumns struct {
	pods                  []string
	generations, sequence []int64
}

func (c *idColumns) add(id usagev1.ID) {
	c.pods, c.generations, c.sequence = append(c.pods, id.PodUID), append(c.generations, id.Generation), append(c.sequence, id.Sequence)
}

func (p *postgres) record(ctx context.Context, rows []*row, lives []Lifecycle) error {
	for _, r := range rows {
		if err := p.makeDay(ctx, dayOf(r.start)); err != nil {
			return p.failed(err)
		}
	}
	err := pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		record, horizon, err := takeRecords(ctx, tx, len(rows))
		if err != nil {
			return err
		}
		if err := claim(ctx, tx, rows, horizon); err != nil {
			return err
		}
		mine, err := committed(ctx, tx, rows)
		if err != nil {
			return err
		}
		now := time.Now().UnixMilli()
		if err := copySegments(ctx, tx, rows, record, now); err != nil {
			return err
		}
		for i, r := range rows {
			if r.verdict != conflicting && r.verdict != expired {
				continue
			}
			f, err := refusal(r)
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "INSERT INTO swell.facts VALUES ($1,$2,$3,$4,$5,$6) ON CONFLICT (kind, id) DO NOTHING",
				record+int64(i), now, f.kind, f.id, f.subject, string(f.body)); err != nil {
				return err
			}
		}
		if err := insertLives(ctx, tx, lives); err != nil {
			return err
		}
		for _, r := range mine {
			r.verdict = recorded
		}
		return nil
	})
	if err != nil {
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code == noPartition { // it was dropped beside us, and is made anew
			p.mu.Lock()
			clear(p.days)
			p.mu.Unlock()
		}
		return p.failed(err)
	}
	return nil
}

// noPartition is PostgreSQL's code of a row that no partition takes (and of one that a check refuses).
const noPartition = "23514"

// claim enters the rows' ids in the index over all days and sets their verdicts.
func claim(ctx context.Context, tx pgx.Tx, rows []*row, horizon int64) error {
	var ids idColumns
	var starts, ends, digests []int64
	first := map[usagev1.ID]*row{} // the first of the batch
	for _, r := range rows {
		if r.verdict = repeated; r.end < horizon {
			r.verdict = expired
		} else if first[r.segment.ID] == nil {
			first[r.segment.ID] = r
			ids.add(r.segment.ID)
			starts, ends, digests = append(starts, r.start), append(ends, r.end), append(digests, r.digest)
		}
	}
	if len(first) == 0 {
		return nil
	}
	var id usagev1.ID
	fresh, err := tx.Query(ctx, `INSERT INTO swell.ids SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
		ON CONFLICT DO NOTHING RETURNING pod, generation, sequence`, ids.pods, ids.generations, ids.sequence, starts, ends, digests)
	if err != nil {
		return err
	}
	if _, err := pgx.ForEachRow(fresh, []any{&id.PodUID, &id.Generation, &id.Sequence}, func() error {
		first[id].verdict = recorded
		return nil
	}); err != nil {
		return err
	}
	var old idColumns
	digest := map[usagev1.ID]int64{}
	for id, r := range first {
		if digest[id] = r.digest; r.verdict == repeated {
			old.add(id)
		}
	}
	if len(old.pods) > 0 {
		known, err := tx.Query(ctx, `SELECT i.pod, i.generation, i.sequence, i.digest FROM swell.ids i
			JOIN unnest($1::text[], $2::bigint[], $3::bigint[]) AS a(pod, generation, sequence) USING (pod, generation, sequence)`, old.pods, old.generations, old.sequence)
		if err != nil {
			return err
		}
		var is int64
		if _, err := pgx.ForEachRow(known, []any{&id.PodUID, &id.Generation, &id.Sequence, &is}, func() error {
			digest[id] = is
			return nil
		}); err != nil {
			return err
		}
	}
	for _, r := range rows {
		if r.verdict == repeated && r.digest != digest[r.segment.ID] {
			r.verdict = conflicting
		}
	}
	return nil
}

// committed answers which rows an earlier try has recorded, though the server was gone before it said so: those that
// are there with the record that they were given then.
func committed(ctx context.Context, tx pgx.Tx, rows []*row) ([]*row, error) {
	var mine []*row
	for _, r := range rows {
		if r.verdict != repeated || r.record == 0 {
			continue
		}
		var is bool
		if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM swell.segments WHERE day = $1 AND pod_uid = $2 AND generation = $3 AND sequence = $4 AND record = $5)",
			dateOf(dayOf(r.start)), r.segment.PodUID, r.segment.Generation, r.segment.Sequence, r.record).Scan(&is); err != nil {
			return nil, err
		}
		if is {
			mine = append(mine, r)
		}
	}
	return mine, nil
}

// copySegments writes those that are new.
func copySegments(ctx context.Context, tx pgx.Tx, rows []*row, record, now int64) error {
	next := 0
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"swell", "segments"}, segmentColumns, pgx.CopyFromFunc(func() ([]any, error) {
		for next < len(rows) && rows[next].verdict != recorded {
			next++
		}
		if next == len(rows) {
			return nil, nil
		}
		r := rows[next]
		s := r.segment
		var labels any
		if len(s.Labels) > 0 {
			labels = s.Labels
		}
		r.record = record + int64(next)
		next++
		return []any{
			dateOf(dayOf(r.start)), s.PodUID, s.Generation, s.Sequence, r.record, now, s.Namespace, s.Pod, s.Node, s.ComputeClass, s.QoS, s.CPUMilli, s.MemoryBytes,
			r.start, r.end, labels, s.Burst.Millis, s.Burst.CPUMillis, s.Burst.MemoryMillis, s.GPU.Model, s.GPU.Milli, s.GPU.MemoryMiB, s.StorageBytes, s.Region,
		}, nil
	}))
	return err
}

func insertLives(ctx context.Context, tx pgx.Tx, lives []Lifecycle) error {
	if len(lives) == 0 {
		return nil
	}
	var days []time.Time
	var uids, namespaces, pods, nodes []string
	var accepted, starts, ends, restarts []int64
	for i := range lives {
		l := &lives[i]
		start := l.Started.UnixMilli()
		days = append(days, dateOf(dayOf(start)))
		uids, namespaces, pods, nodes = append(uids, l.PodUID), append(namespaces, l.Namespace), append(pods, l.Pod), append(nodes, l.Node)
		accepted, starts, ends, restarts = append(accepted, l.Accepted.UnixMilli()), append(starts, start), append(ends, l.Ended.UnixMilli()), append(restarts, l.Restarts)
	}
	_, err := tx.Exec(ctx, `INSERT INTO swell.lifecycles
		SELECT * FROM unnest($1::date[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[]) ON CONFLICT DO NOTHING`,
		days, uids, namespaces, pods, nodes, accepted, starts, ends, restarts)
	return err
}

func (p *postgres) append(ctx context.Context, f *fact, guard func([]fact) (bool, error)) error {
	var refused error // the guard's own, which says what it is about
	err := pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		// The record first: it makes others wait, so that what the guard is told stays true.
		record, _, err := takeRecords(ctx, tx, 1)
		if err != nil {
			return err
		}
		known, err := postgresFacts(ctx, tx, "SELECT record, recorded_ms, kind, id, subject, body FROM swell.facts WHERE kind = $1 AND (subject = $2 OR id = $3) ORDER BY record", f.kind, f.subject, f.id)
		if err != nil {
			return err
		}
		there, err := guard(known)
		if there || err != nil {
			refused = err
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO swell.facts VALUES ($1,$2,$3,$4,$5,$6)", record, time.Now().UnixMilli(), f.kind, f.id, f.subject, string(f.body))
		return err
	})
	switch {
	case refused != nil:
		return refused
	case err != nil:
		return p.failed(err)
	}
	return nil
}

func postgresFacts(ctx context.Context, q interface {
	Query(ctx context.Context, text string, args ...any) (pgx.Rows, error)
}, text string, args ...any) ([]fact, error) {
	rows, err := q.Query(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (f fact, err error) {
		var at int64
		var body string
		err = row.Scan(&f.record, &at, &f.kind, &f.id, &f.subject, &body)
		f.at, f.body = time.UnixMilli(at).UTC(), []byte(body)
		return f, err
	})
}
