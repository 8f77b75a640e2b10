package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// group lets calls share transactions: those that come while one is under way go into the next together. There
// is no timer, and a call alone waits for nobody.
type group struct {
	wg sync.WaitGroup // who leads on

	mu      sync.Mutex // guards what follows
	busy    bool
	waiting []*call
}

// call is one Record or RecordLifecycles.
type call struct {
	ctx     context.Context // of who waits for it: a call that nobody waits for any more isn't tried again
	rows    []*row
	lives   []Lifecycle
	refused ConflictError
	err     error
	done    chan struct{} // closed when it is recorded, or isn't
}

// What calls share a transaction: at most so many, with so many segments unless one alone has more.
const (
	maxShared     = 2048
	maxSharedRows = 16384
)

// ConflictError reports segments that don't count. Everything else of the call has been recorded, and they are kept
// aside: see Refused.
type ConflictError struct {
	IDs     []usagev1.ID // came again with other contents: the first stands
	Expired []usagev1.ID // ended before the horizon, up to which retention has dropped days
}

func (e *ConflictError) Error() string {
	switch {
	case len(e.IDs) == 0:
		return fmt.Sprintf("%d segments ended before the ledger's horizon and don't count any more; one of them is %s", len(e.Expired), e.Expired[0])
	case len(e.Expired) > 0:
		return fmt.Sprintf("%d segments came again with other contents; the first stands; one of them is %s; %d more ended before the ledger's horizon", len(e.IDs), e.IDs[0], len(e.Expired))
	}
	return fmt.Sprintf("%d segments came again with other contents; the first stands; one of them is %s", len(e.IDs), e.IDs[0])
}

// Record makes closed segments durable, all or none. While a database can't be reached it goes on trying until the
// context ends.
func (l *Ledger) Record(ctx context.Context, segments []usagev1.Segment) error {
	c := &call{ctx: ctx, rows: make([]*row, len(segments))}
	for i := range segments {
		var err error
		if c.rows[i], err = newRow(&segments[i]); err != nil {
			return err
		}
	}
	if err := l.submit(c); err != nil {
		return err
	}
	if len(c.refused.IDs)+len(c.refused.Expired) > 0 {
		return &c.refused
	}
	return nil
}

// submit has a call recorded together with others.
func (l *Ledger) submit(c *call) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	c.done = make(chan struct{})
	l.group.mu.Lock()
	l.group.waiting = append(l.group.waiting, c)
	if !l.group.busy {
		l.group.busy = true
		l.group.wg.Go(l.lead)
	}
	l.group.mu.Unlock()
	select {
	case <-c.done:
		return c.err
	case <-c.ctx.Done(): // it may be recorded all the same; who asks again finds it there
		return context.Cause(c.ctx)
	}
}

// lead records what waits until nothing does.
func (l *Ledger) lead() {
	for {
		l.group.mu.Lock()
		n, rows := 0, 0
		for n < min(len(l.group.waiting), maxShared) && (n == 0 || rows+len(l.group.waiting[n].rows) <= maxSharedRows) {
			rows += len(l.group.waiting[n].rows)
			n++
		}
		batch := l.group.waiting[:n:n]
		l.group.waiting = l.group.waiting[n:]
		if n == 0 {
			l.group.waiting, l.group.busy = nil, false
		}
		l.group.mu.Unlock()
		if n == 0 {
			return
		}
		l.share(batch)
	}
}

// How long a database that can't be reached is left alone: at first, and at most.
const (
	firstPause = 10 * time.Millisecond
	maxPause   = time.Second
)

// share records a batch in one transaction; where that fails each call on its own, so that none fails for another.
func (l *Ledger) share(batch []*call) {
	for pause := firstPause; len(batch) > 0; pause = min(2*pause, maxPause) {
		err := l.transact(batch)
		switch {
		case errors.Is(err, errUnreachable):
			batch = stillWanted(batch, err, pause)
			continue
		case err != nil && len(batch) > 1:
			for i := range batch {
				l.share(batch[i : i+1])
			}
			return
		}
		for _, c := range batch {
			c.err = err
			close(c.done)
		}
		return
	}
}

// stillWanted lets a pause go by and answers the calls that somebody waits for.
func stillWanted(batch []*call, err error, pause time.Duration) []*call {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	wanted := batch[:0:0]
	for _, c := range batch {
		if len(wanted) == 0 {
			select { // one that waits is enough to try again for
			case <-timer.C:
				timer.Reset(0)
			case <-c.ctx.Done():
			}
		}
		if c.ctx.Err() == nil {
			wanted = append(wanted, c)
			continue
		}
		c.err = err
		close(c.done)
	}
	return wanted
}

// transact records calls, all or none, and notes in each what was refused.
func (l *Ledger) transact(calls []*call) error {
	var rows []*row
	var lives []Lifecycle
	for _, c := range calls {
		rows, lives = append(rows, c.rows...), append(lives, c.lives...)
	}
	// Not a call's own context: it would break off what others wait for as well.
	l.recording.Lock()
	err := l.store.record(context.Background(), rows, lives)
	if err == nil {
		l.tellLocked(rows)
	}
	l.recording.Unlock()
	if err != nil {
		return err
	}
	for _, c := range calls {
		for _, r := range c.rows {
			switch r.verdict {
			case conflicting:
				c.refused.IDs = append(c.refused.IDs, r.segment.ID)
			case expired:
				c.refused.Expired = append(c.refused.Expired, r.segment.ID)
			}
		}
	}
	return nil
}
