package ledger

import (
	"context"
	"time"
)

// tendEvery is how often there is looked for what has to be done.
const tendEvery = 10 * time.Minute

// Tend does what a ledger needs in the background, until the context ends: days that are over are packed, partitions
// are made ahead, and days whose segments all ended longer ago than the retention are dropped; 0 keeps all. What goes
// wrong is reported and tried again later.
func (l *Ledger) Tend(ctx context.Context, retention time.Duration, report func(error)) error {
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	err := l.tend(ctx, time.Now(), retention)
	for {
		if err != nil && ctx.Err() == nil {
			report(err)
		}
		select {
		case <-ticker.C:
			err = l.tend(ctx, time.Now(), retention)
		case <-l.store.urgent():
			err = l.store.relieve(ctx, time.Now())
		case <-ctx.Done():
			return nil
		}
	}
}

func (l *Ledger) tend(ctx context.Context, now time.Time, retention time.Duration) error {
	horizon, err := l.horizon(ctx, now, retention)
	if err != nil {
		return err
	}
	return l.store.tend(ctx, now, horizon)
}

// horizon is a midnight (UTC): what ended before it may be dropped. Where there are invoices it isn't after the end of
// the newest, so that nothing is dropped before it could be invoiced.
func (l *Ledger) horizon(ctx context.Context, now time.Time, retention time.Duration) (int64, error) {
	if retention <= 0 {
		return noHorizon, nil
	}
	horizon := dayOf(now.Add(-retention).UnixMilli()) * dayMillis
	invoices, err := l.Invoices(ctx)
	if err != nil || len(invoices) == 0 {
		return horizon, err
	}
	newest := invoices[0].To
	for _, i := range invoices {
		if i.To.After(newest) {
			newest = i.To
		}
	}
	return min(horizon, dayOf(newest.UnixMilli())*dayMillis), nil
}
