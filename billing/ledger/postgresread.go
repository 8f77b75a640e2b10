package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// postgresSnapshot is a repeatable read on a connection of its own.
type postgresSnapshot struct {
	p    *postgres
	conn *pgxpool.Conn
	tx   pgx.Tx
}

func (p *postgres) snapshot(ctx context.Context) (snapshot, error) {
	conn, err := p.readers.Acquire(ctx)
	if err != nil {
		return nil, p.failed(err)
	}
	v := &postgresSnapshot{p: p, conn: conn}
	if v.tx, err = conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}); err == nil {
		_, err = v.newest(ctx) // the first thing that is read says what it is a snapshot of
	}
	if err != nil {
		return nil, errors.Join(p.failed(err), v.close())
	}
	return v, nil
}

func (v *postgresSnapshot) close() error {
	defer v.conn.Release()
	if v.tx == nil || v.conn.Conn().IsClosed() { // as after a query that was broken off
		return nil
	}
	if err := v.tx.Rollback(context.Background()); err != nil && !errors.Is(err, pgx.ErrTxClosed) {
		return v.p.failed(err)
	}
	return nil
}

func (v *postgresSnapshot) newest(ctx context.Context) (record int64, err error) {
	if err := v.tx.QueryRow(ctx, "SELECT record FROM swell.ledger").Scan(&record); err != nil {
		return 0, v.p.failed(err)
	}
	return record, nil
}

// query calls one for each row, scanned into the targets. An error of it breaks the query off, rather than having
// the rest sent.
func (v *postgresSnapshot) query(ctx context.Context, targets []any, one func() error, text string, args ...any) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rows, err := v.tx.Query(ctx, text, args...)
	if err != nil {
		return v.p.failed(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			cancel()
			return v.p.failed(err)
		}
		if err := one(); err != nil {
			cancel()
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return v.p.failed(err)
	}
	return nil
}

func (v *postgresSnapshot) known(ctx context.Context, ids []usagev1.ID) (map[usagev1.ID]bool, error) {
	var c idColumns
	for _, id := range ids {
		c.add(id)
	}
	out := map[usagev1.ID]bool{}
	var id usagev1.ID
	err := v.query(ctx, []any{&id.PodUID, &id.Generation, &id.Sequence}, func() error {
		out[id] = true
		return nil
	}, `SELECT pod, generation, sequence FROM swell.ids JOIN unnest($1::text[], $2::bigint[], $3::bigint[]) AS a(pod, generation, sequence) USING (pod, generation, sequence)`,
		c.pods, c.generations, c.sequence)
	return out, err
}

// condition is a WHERE clause.
type condition struct {
	terms []string
	args  []any
}

// add adds a term with one %s, which an argument stands for.
func (c *condition) add(term string, arg any) {
	c.args = append(c.args, arg)
	c.terms = append(c.terms, fmt.Sprintf(term, fmt.Sprintf("$%d", len(c.args))))
}

func (c *condition) String() string {
	if len(c.terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.terms, " AND ")
}

func (v *postgresSnapshot) segments(ctx context.Context, f *Filter, fn func(*usagev1.Segment) error) error {
	var where condition
	if f.UID != "" {
		where.add("pod_uid = %s", f.UID)
	}
	if f.Namespace != "" {
		where.add("namespace = %s", f.Namespace)
	}
	if f.Pod != "" {
		where.add("pod = %s", f.Pod)
	}
	if !f.From.IsZero() {
		where.add("end_ms > %s", f.From.UnixMilli())
	}
	if !f.To.IsZero() {
		where.add("start_ms < %s", f.To.UnixMilli())
		where.add("day <= %s", dateOf(dayOf(f.To.UnixMilli()-1)))
	}
	if f.Through != 0 {
		where.add("record <= %s", f.Through)
	}
	return v.scan(ctx, fn, where)
}

// readColumns are what scan reads, in its order.
const readColumns = `pod_uid, namespace, pod, node, class, qos, gpu_model, region, coalesce(labels::text, ''),
	generation, sequence, start_ms, end_ms, cpu_milli, memory_bytes, burst_ms, burst_cpu_milli_ms, burst_memory_mib_ms, gpu_milli, gpu_memory_mib, storage_bytes`

// scan reads rows as the server sends them, since there are millions: texts that many have are made once.
func (v *postgresSnapshot) scan(ctx context.Context, fn func(*usagev1.Segment) error, where condition) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rows, err := v.tx.Query(ctx, "SELECT "+readColumns+" FROM swell.segments"+where.String()+" ORDER BY day, pod_uid, generation, sequence", where.args...)
	if err != nil {
		return v.p.failed(err)
	}
	defer rows.Close()
	var d decoder
	var s usagev1.Segment
	var start, end int64
	numbers := [...]*int64{
		&s.Generation, &s.Sequence, &start, &end, &s.CPUMilli, &s.MemoryBytes, &s.Burst.Millis, &s.Burst.CPUMillis, &s.Burst.MemoryMillis,
		&s.GPU.Milli, &s.GPU.MemoryMiB, &s.StorageBytes,
	}
	shared := [...]*string{&s.Namespace, &s.Node, &s.ComputeClass, &s.QoS, &s.GPU.Model, &s.Region}
	for rows.Next() {
		raw := rows.RawValues()
		s.PodUID, s.Pod = string(raw[0]), string(raw[2])
		for i, column := range [...]int{1, 3, 4, 5, 6, 7} {
			*shared[i] = d.text(raw[column], *shared[i])
		}
		s.Labels, err = d.labelsOfJSON(raw[8])
		for i, number := range numbers {
			if err == nil {
				*number, err = integer(raw[9+i], rows.FieldDescriptions()[9+i].Format)
			}
		}
		if err != nil {
			cancel()
			return v.p.failed(fmt.Errorf("segment %s: %w", s.ID, err))
		}
		s.Start, s.End = time.UnixMilli(start).UTC(), time.UnixMilli(end).UTC()
		if err := fn(&s); err != nil {
			cancel() // or the rest would be sent
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return v.p.failed(err)
	}
	return nil
}

// integer reads a bigint, in the format that the connection uses.
func integer(raw []byte, format int16) (int64, error) {
	if format == pgx.BinaryFormatCode && len(raw) == 8 {
		return int64(binary.BigEndian.Uint64(raw)), nil
	}
	return strconv.ParseInt(string(raw), 10, 64)
}

func (v *postgresSnapshot) spans(ctx context.Context, fn func(usagev1.ID, int64, int64) error) error {
	var id usagev1.ID
	var start, end int64
	return v.query(ctx, []any{&id.PodUID, &id.Generation, &id.Sequence, &start, &end}, func() error { return fn(id, start, end) },
		"SELECT pod, generation, sequence, start_ms, end_ms FROM swell.ids ORDER BY pod, generation, sequence")
}

func (v *postgresSnapshot) facts(ctx context.Context, kind, subject string, after int64) ([]fact, error) {
	out, err := postgresFacts(ctx, v.tx, "SELECT record, recorded_ms, kind, id, subject, body FROM swell.facts WHERE kind = $1 AND record > $2 AND ($3 = '' OR subject = $3) ORDER BY record",
		kind, after, subject)
	if err != nil {
		return nil, v.p.failed(err)
	}
	return out, nil
}

func (v *postgresSnapshot) lifecycles(ctx context.Context, f *Filter, fn func(*Lifecycle) error) error {
	var l Lifecycle
	var accepted, start, end int64
	var where condition
	if !f.From.IsZero() {
		where.add("ended_ms >= %s", f.From.UnixMilli())
	}
	if !f.To.IsZero() {
		where.add("started_ms < %s", f.To.UnixMilli())
	}
	return v.query(ctx, []any{&l.PodUID, &l.Namespace, &l.Pod, &l.Node, &accepted, &start, &end, &l.Restarts}, func() error {
		l.Accepted, l.Started, l.Ended = time.UnixMilli(accepted).UTC(), time.UnixMilli(start).UTC(), time.UnixMilli(end).UTC()
		if !f.matchesLife(&l) {
			return nil
		}
		return fn(&l)
	}, "SELECT uid, namespace, pod, node, accepted_ms, started_ms, ended_ms, restarts FROM swell.lifecycles"+where.String()+" ORDER BY day, uid", where.args...)
}
