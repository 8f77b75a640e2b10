package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// sqliteSnapshot is a read transaction on a connection of its own.
type sqliteSnapshot struct {
	s     *sqlite
	conn  *sql.Conn
	epoch int64 // whose files stay while it reads
	packs int64 // how often there had been packed before
}

func (s *sqlite) snapshot(ctx context.Context) (snapshot, error) {
	conn, err := s.readers.Conn(ctx)
	if err != nil {
		return nil, s.failed(err)
	}
	v := &sqliteSnapshot{s: s, conn: conn, epoch: s.enter(), packs: s.packs.Load()}
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
	if err = errors.Join(err, v.conn.Close(), v.s.leave(v.epoch)); err != nil {
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
	out, err := v.knownArrivals(ctx, ids)
	if err != nil {
		return nil, err
	}
	stmt, err := v.conn.PrepareContext(ctx, "SELECT 1 FROM ids WHERE pod = ? AND generation = ? AND sequence = ?")
	if err != nil {
		return nil, v.s.failed(err)
	}
	defer stmt.Close()
	for _, id := range ids {
		if out[id] {
			continue
		}
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

// knownArrivals answers which of the ids are recorded and not packed.
func (v *sqliteSnapshot) knownArrivals(ctx context.Context, ids []usagev1.ID) (map[usagev1.ID]bool, error) {
	newest, err := v.newest(ctx)
	if err != nil {
		return nil, err
	}
	v.s.mu.Lock()
	if v.s.packs.Load() != v.packs { // what has been packed since isn't in memory any more
		v.s.mu.Unlock()
		return v.arrivedOf(ctx, ids)
	}
	defer v.s.mu.Unlock()
	out := map[usagev1.ID]bool{}
	for _, id := range ids {
		if r, is := v.s.recent[id]; is && r.record <= newest {
			out[id] = true
		}
	}
	return out, nil
}

// arrivedOf is knownArrivals from the table.
func (v *sqliteSnapshot) arrivedOf(ctx context.Context, ids []usagev1.ID) (map[usagev1.ID]bool, error) {
	wanted := make(map[usagev1.ID]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	out := map[usagev1.ID]bool{}
	var entries []entry
	var data sql.RawBytes
	err := v.query(ctx, func(rows *sql.Rows) error {
		err := rows.Scan(&data)
		if err == nil {
			entries, err = decodeEntries(entries[:0], data)
		}
		if err != nil {
			return v.s.failed(err)
		}
		for i := range entries {
			if id := entries[i].id(); wanted[id] {
				out[id] = true
			}
		}
		return nil
	}, "SELECT data FROM arrivals")
	return out, err
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
	var d decoder
	var seg usagev1.Segment
	for _, day := range days {
		err := v.entries(ctx, day, f, func(e *entry) error {
			if !f.recorded(e.record) {
				return nil
			}
			seg.ID = e.id()
			chosen, err := d.segment(e.data, f, &seg)
			if err != nil {
				return v.s.failed(err)
			}
			if !chosen {
				return nil
			}
			return fn(&seg)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// since and podBytes are a filter's arguments of the statements below.
func since(f *Filter) int64 {
	if f.From.IsZero() {
		return math.MinInt64
	}
	return f.From.UnixMilli()
}

// podBytes is how an entry has a pod's UID; nil chooses all.
func podBytes(uid string) []byte {
	if uid == "" {
		return nil
	}
	if raw, is := podKey(uid).([]byte); is {
		return raw
	}
	return []byte(uid)
}

// entries calls fn with a day's in canonical order: at least those that the filter chooses.
func (v *sqliteSnapshot) entries(ctx context.Context, day int64, f *Filter, fn func(*entry) error) (err error) {
	var sources []source
	defer func() {
		for _, s := range sources {
			err = errors.Join(err, s.close())
		}
	}()
	var names []string
	if err := v.query(ctx, func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		names = append(names, name)
		return err
	}, "SELECT name FROM runs WHERE day = ? AND max_end_ms > ?", day, since(f)); err != nil {
		return err
	}
	for _, name := range names {
		r, err := openRun(ctx, v.s.runPath(name), f, v.s.unpack)
		if err != nil {
			return v.s.failed(err)
		}
		sources = append(sources, r)
	}
	arrived, err := v.arrived(ctx, day, f)
	if err != nil {
		return err
	}
	if len(arrived) > 0 {
		sources = append(sources, newList(arrived))
	}
	return merge(sources, fn)
}

// arrived answers a day's entries that aren't packed.
func (v *sqliteSnapshot) arrived(ctx context.Context, day int64, f *Filter) ([]entry, error) {
	var out []entry
	err := v.query(ctx, func(rows *sql.Rows) error {
		var data []byte // entries keep it
		err := rows.Scan(&data)
		if err == nil {
			out, err = decodeEntries(out, data)
		}
		if err != nil {
			return v.s.failed(err)
		}
		return nil
	}, "SELECT data FROM arrivals WHERE day = ?1 AND max_end_ms > ?2 AND (?3 IS NULL OR instr(data, ?3))", day, since(f), podBytes(f.UID))
	if f.UID != "" {
		out = slices.DeleteFunc(out, func(e entry) bool { return e.uid != f.UID })
	}
	return out, err
}

// days answers those whose partitions may hold what the filter chooses, in order.
func (v *sqliteSnapshot) days(ctx context.Context, f *Filter) ([]int64, error) {
	var days []int64
	day := func(rows *sql.Rows) error {
		var day int64
		err := rows.Scan(&day)
		days = append(days, day)
		return err
	}
	const arrivals = "SELECT DISTINCT day FROM arrivals WHERE max_end_ms > ?1"
	var err error
	if f.UID == "" {
		err = v.query(ctx, day, arrivals+" UNION SELECT day FROM runs WHERE max_end_ms > ?1", since(f))
	} else {
		if err = v.query(ctx, day, arrivals+" AND instr(data, ?2)", since(f), podBytes(f.UID)); err == nil {
			err = v.query(ctx, func(rows *sql.Rows) error {
				var start int64
				err := rows.Scan(&start)
				days = append(days, dayOf(start))
				return err
			}, "SELECT start_ms FROM ids WHERE pod = ? AND end_ms > ?", podKey(f.UID), since(f))
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

// spans goes over the index of what is packed, and over what isn't, which are both sorted.
func (v *sqliteSnapshot) spans(ctx context.Context, fn func(usagev1.ID, int64, int64) error) error {
	var entries []entry
	if err := v.query(ctx, func(rows *sql.Rows) error {
		var data []byte
		err := rows.Scan(&data)
		if err == nil {
			entries, err = decodeEntries(entries, data)
		}
		if err != nil {
			return v.s.failed(err)
		}
		return nil
	}, "SELECT data FROM arrivals"); err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b entry) int { return compareKeys(a.id(), b.id()) })
	// through calls fn with arrivals before an id, or with all. One that is being packed is in both, and told once.
	through := func(id *usagev1.ID) error {
		for len(entries) > 0 {
			e := entries[0]
			c := -1
			if id != nil {
				c = compareKeys(e.id(), *id)
			}
			if c > 0 {
				return nil
			}
			if entries = entries[1:]; c == 0 {
				continue
			}
			_, _, start, end, err := headOf(e.data)
			if err != nil {
				return v.s.failed(err)
			}
			if err := fn(e.id(), start, end); err != nil {
				return err
			}
		}
		return nil
	}
	var key any
	var id usagev1.ID
	var start, end int64
	if err := v.query(ctx, func(rows *sql.Rows) error {
		if err := rows.Scan(&key, &id.Generation, &id.Sequence, &start, &end); err != nil {
			return v.s.failed(err)
		}
		id.PodUID = podOf(key)
		if err := through(&id); err != nil {
			return err
		}
		return fn(id, start, end)
	}, "SELECT pod, generation, sequence, start_ms, end_ms FROM ids ORDER BY pod, generation, sequence"); err != nil {
		return err
	}
	return through(nil)
}

// compareKeys is the order of the index of ids: texts come before UUIDs.
func compareKeys(a, b usagev1.ID) int {
	var raw [16]byte
	isA, isB := rawUUID(a.PodUID, &raw), rawUUID(b.PodUID, &raw)
	switch {
	case isA && !isB:
		return 1
	case isB && !isA:
		return -1
	}
	return cmp.Or(strings.Compare(a.PodUID, b.PodUID), cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.Sequence, b.Sequence))
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
