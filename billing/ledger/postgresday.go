package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// dateOf is a day as a date.
func dateOf(day int64) time.Time { return time.UnixMilli(day * dayMillis).UTC() }

func partitionOf(day int64) string { return dateOf(day).Format("segments_2006_01_02") }

// makeDay makes a day's partition if it isn't there. It is attached, rather than made in its place, since that waits
// for nobody who reads.
func (p *postgres) makeDay(ctx context.Context, day int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.days[day] {
		return nil
	}
	if y := dateOf(day).Year(); y < 1 || y > 9999 {
		return fmt.Errorf("a segment starts in the year %d: want one of four digits", y)
	}
	name := pgx.Identifier{"swell", partitionOf(day)}.Sanitize()
	err := pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('swell.ledger', 0))"); err != nil {
			return err
		}
		var there bool
		if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass($1))", name).Scan(&there); err != nil || there {
			return err
		}
		from, to := dateOf(day).Format(time.DateOnly), dateOf(day+1).Format(time.DateOnly)
		for _, statement := range []string{
			fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (LIKE swell.segments INCLUDING ALL)", name),
			fmt.Sprintf("ALTER TABLE swell.segments ATTACH PARTITION %s FOR VALUES FROM ('%s') TO ('%s')", name, from, to),
		} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return fmt.Errorf("partition %s: %w", name, err)
			}
		}
		return nil
	})
	if err == nil {
		p.days[day] = true
	}
	return err
}

// ahead is for how many days there are partitions before they begin.
const ahead = 7

func (p *postgres) urgent() <-chan struct{} { return nil }

func (p *postgres) relieve(context.Context, time.Time) error { return nil }

func (p *postgres) tend(ctx context.Context, now time.Time, horizon int64) error {
	today := dayOf(now.UnixMilli())
	for day := today; day <= today+ahead; day++ {
		if err := p.makeDay(ctx, day); err != nil {
			return p.failed(err)
		}
	}
	if horizon == noHorizon {
		return nil
	}
	if _, err := p.pool.Exec(ctx, "UPDATE swell.ledger SET horizon_ms = $1 WHERE horizon_ms < $1", horizon); err != nil {
		return p.failed(err)
	}
	if _, err := p.pool.Exec(ctx, "DELETE FROM swell.lifecycles WHERE ended_ms < $1", horizon); err != nil {
		return p.failed(err)
	}
	days, err := p.daysBefore(ctx, dayOf(horizon))
	if err != nil {
		return p.failed(err)
	}
	for _, day := range days {
		if err := p.dropDay(ctx, day, horizon); err != nil {
			return p.failed(err)
		}
	}
	return nil
}

// daysBefore answers the days before one that have a table, also one that isn't attached any more.
func (p *postgres) daysBefore(ctx context.Context, day int64) ([]int64, error) {
	rows, err := p.pool.Query(ctx, `SELECT to_date(right(relname, 10), 'YYYY_MM_DD') FROM pg_class
		WHERE relnamespace = 'swell'::regnamespace AND relkind = 'r' AND relname ~ '^segments_[0-9]{4}_[0-9]{2}_[0-9]{2}$' ORDER BY 1`)
	if err != nil {
		return nil, err
	}
	dates, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	var out []int64
	for _, d := range dates {
		if is := dayOf(d.UnixMilli()); is < day {
			out = append(out, is)
		}
	}
	return out, err
}

// dropDay drops a day if everything in it ended before the horizon. Detaching beside readers waits for those that may
// read it; what was recorded in the meantime is seen after it, when nothing can be any more.
func (p *postgres) dropDay(ctx context.Context, day, horizon int64) error {
	name := pgx.Identifier{"swell", partitionOf(day)}.Sanitize()
	later := func() (found bool, err error) {
		err = p.pool.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+name+" WHERE end_ms >= $1)", horizon).Scan(&found)
		return found, err
	}
	if found, err := later(); found || err != nil {
		return err
	}
	p.mu.Lock()
	delete(p.days, day)
	p.mu.Unlock()
	var pending bool
	switch err := p.pool.QueryRow(ctx, "SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = $1::regclass", name).Scan(&pending); {
	case errors.Is(err, pgx.ErrNoRows): // a try before this one has detached it
	case err != nil:
		return err
	default:
		how := "CONCURRENTLY"
		if pending {
			how = "FINALIZE"
		}
		if _, err := p.pool.Exec(ctx, fmt.Sprintf("ALTER TABLE swell.segments DETACH PARTITION %s %s", name, how)); err != nil {
			return fmt.Errorf("partition %s: %w", name, err)
		}
	}
	if found, err := later(); err != nil {
		return err
	} else if found {
		return p.makeDay(ctx, day)
	}
	// The ids first, with what they are of: whoever is interrupted goes on with what is left.
	if _, err := p.pool.Exec(ctx, "DELETE FROM swell.ids i USING "+name+" s WHERE i.pod = s.pod_uid AND i.generation = s.generation AND i.sequence = s.sequence"); err != nil {
		return fmt.Errorf("partition %s: %w", name, err)
	}
	if _, err := p.pool.Exec(ctx, "DROP TABLE "+name); err != nil {
		return fmt.Errorf("partition %s: %w", name, err)
	}
	return nil
}
