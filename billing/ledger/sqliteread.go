package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// sqliteSnapshot is a read transaction on a connection of its own.
type sqliteSnapshot struct {
	s    *sqlite
	conn *sql.Conn
}

func (s *sqlite) snapshot(ctx context.Context) (snapshot, error) {
	conn, err := s.readers.Conn(ctx)
	if err != nil {
		return nil, s.failed(err)
	}
	v := &sqliteSnapshot{s: s, conn: conn}
	// The transaction begins with the first thing that is read.
	if _, err = conn.ExecContext(ctx, "BEGIN"); err == nil {
		_, err = v.newest(ctx)
	}
	if err != nil {
		return nil, errors.Join(s.failed(err), v.close())
	}
	return v, nil
}

func (v *sqliteSnapshot) close() error {
	_, err := v.conn.ExecContext(context.Background(), "ROLLBACK")
	if err := v.conn.Close(); err != nil {
		return v.s.failed(err)
	}
	if err != nil {
		return v.s.failed(err)
	}
	return nil
}

func (v *sqliteSnapshot) newest(ctx context.Context) (record int64, err error) {
	if err := v.conn.QueryRowContext(ctx, "SELECT record FROM ledger").Scan(&record); err != nil {
		return 0, v.s.failed(err)
	}
	return record, nil
}

func (v *sqliteSnapshot) known(ctx context.Context, ids []usagev1.ID) (map[usagev1.ID]bool, error) {
	stmt, err := v.conn.PrepareContext(ctx, "SELECT 1 FROM ids WHERE pod = ? AND generation = ? AND sequence = ?")
	if err != nil {
		return nil, v.s.failed(err)
	}
	defer stmt.Close()
	out := map[usagev1.ID]bool{}
	for _, id := range ids {
		var one int
		switch err := stmt.QueryRowContext(ctx, podKey(id.PodUID), id.Generation, id.Sequence).Scan(&one); err {
		case nil:
			out[id] = true
		case sql.ErrNoRows:
		default:
			return nil, v.s.failed(err)
		}
	}
	return out, nil
}

// query calls one for each row.
func (v *sqliteSnapshot) query(ctx context.Context, one func(*sql.Rows) error, text string, args ...any) error {
	rows, err := v.conn.QueryContext(ctx, text, args...)
	if err != nil {
		return v.s.failed(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := one(rows); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return v.s.failed(err)
	}
	return nil
}

func (v *sqliteSnapshot) segments(ctx context.Context, f *Filter, fn func(*usagev1.Segment) error) error {
	days, err := v.days(ctx, f)
	if err != nil {
		return err
	}
	from := "SELECT pod, generation, sequence, record, data FROM segments_%d WHERE day = ?1"
	if f.UID != "" {
		from += " AND pod = ?2"
	}
	text := fmt.Sprintf(from+" UNION ALL "+from+" ORDER BY 1, 2, 3", 0, 1)
	var d decoder
	var seg usagev1.Segment
	var record int64
	var data, pod sql.RawBytes
	for _, day := range days {
		err := v.query(ctx, func(rows *sql.Rows) error {
			if err := rows.Scan(&pod, &seg.Generation, &seg.Sequence, &record, &data); err != nil {
				return v.s.failed(err)
			}
			if !f.recorded(record) {
				return nil
			}
			if string(pod) != seg.PodUID {
				seg.PodUID = string(pod)
			}
			chosen, err := d.segment(data, f, &seg)
			if err != nil {
				return v.s.failed(err)
			}
			if !chosen {
				return nil
			}
			return fn(&seg)
		}, text, day, f.UID)
		if err != nil {
			return err
		}
	}
	return nil
}

// days answers those whose partitions may hold what the filter chooses, in order.
func (v *sqliteSnapshot) days(ctx context.Context, f *Filter) ([]int64, error) {
	var days []int64
	var err error
	if f.UID != "" {
		err = v.query(ctx, func(rows *sql.Rows) error {
			var start int64
			err := rows.Scan(&start)
			days = append(days, dayOf(start))
			return err
		}, "SELECT start_ms FROM ids WHERE pod = ?", podKey(f.UID))
	} else {
		for _, table := range []string{"segments_0", "segments_1"} {
			// One step down the tree for each day, rather than a look at each segment.
			err = v.query(ctx, func(rows *sql.Rows) error {
				var day int64
				err := rows.Scan(&day)
				days = append(days, day)
				return err
			}, "WITH RECURSIVE days(day) AS (SELECT min(day) FROM "+table+" UNION ALL SELECT (SELECT min(day) FROM "+table+" WHERE "+table+".day > days.day) FROM days WHERE days.day IS NOT NULL) SELECT day FROM days WHERE day IS NOT NULL")
			if err != nil {
				break
			}
		}
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(days)
	days = slices.Compact(days)
	if !f.To.IsZero() {
		last := dayOf(f.To.UnixMilli() - 1)
		days = slices.DeleteFunc(days, func(day int64) bool { return day > last })
	}
	return days, nil
}

func (v *sqliteSnapshot) spans(ctx context.Context, fn func(usagev1.ID, int64, int64) error) error {
	var key any
	var id usagev1.ID
	var start, end int64
	return v.query(ctx, func(rows *sql.Rows) error {
		if err := rows.Scan(&key, &id.Generation, &id.Sequence, &start, &end); err != nil {
			return v.s.failed(err)
		}
		id.PodUID = podOf(key)
		return fn(id, start, end)
	}, "SELECT pod, generation, sequence, start_ms, end_ms FROM ids ORDER BY pod, generation, sequence")
}

func (v *sqliteSnapshot) facts(ctx context.Context, kind, subject string, after int64) ([]fact, error) {
	text, args := "SELECT record, recorded_ms, kind, id, subject, body FROM facts WHERE kind = ? AND record > ?", []any{kind, after}
	if subject != "" {
		text, args = text+" AND subject = ?", append(args, subject)
	}
	out, err := sqliteFacts(ctx, v.conn, text+" ORDER BY record", args...)
	if err != nil {
		return nil, v.s.failed(err)
	}
	return out, nil
}

func (v *sqliteSnapshot) lifecycles(ctx context.Context, f *Filter, fn func(*Lifecycle) error) error {
	var p Lifecycle
	var accepted, start, end int64
	from, to := int64(math.MinInt64), int64(math.MaxInt64)
	if !f.From.IsZero() {
		from = f.From.UnixMilli()
	}
	if !f.To.IsZero() {
		to = f.To.UnixMilli()
	}
	return v.query(ctx, func(rows *sql.Rows) error {
		if err := rows.Scan(&p.PodUID, &p.Namespace, &p.Pod, &p.Node, &accepted, &start, &end, &p.Restarts); err != nil {
			return v.s.failed(err)
		}
		p.Accepted = time.UnixMilli(accepted).UTC()
		p.Started, p.Ended = time.UnixMilli(start).UTC(), time.UnixMilli(end).UTC()
		if !f.matchesLife(&p) {
			return nil
		}
		return fn(&p)
	}, "SELECT uid, namespace, pod, node, accepted_ms, started_ms, ended_ms, restarts FROM lifecycles WHERE ended_ms >= ? AND started_ms < ? ORDER BY day, uid", from, to)
}
