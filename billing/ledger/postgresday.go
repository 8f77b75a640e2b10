package ledger

import (
	"context"
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
