package ledger

import (
	"context"
	"sync"

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

// call is one Record.
type call struct {
	segments  []usagev1.Segment
	conflicts []usagev1.ID
	err       error
	done      chan struct{} // closed when it is recorded, or isn't
}

// maxShared bounds how many calls share a transaction.
const maxShared = 512

// Record makes closed segments durable, all or none.
func (l *Ledger) Record(ctx context.Context, segments []usagev1.Segment) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c := &call{segments: segments, done: make(chan struct{})}
	l.group.mu.Lock()
	l.group.waiting = append(l.group.waiting, c)
	leads := !l.group.busy
	l.group.busy = true
	l.group.mu.Unlock()
	if leads {
		l.lead(c)
	}
	select {
	case <-c.done:
	case <-ctx.Done(): // it may be recorded all the same; who asks again finds it there
		return context.Cause(ctx)
	}
	if c.err == nil && len(c.conflicts) > 0 {
		return &ConflictError{c.conflicts}
	}
	return c.err
}

// lead records what waits until own is done, and hands what has come by then to another goroutine.
func (l *Ledger) lead(own *call) {
	for {
		l.group.mu.Lock()
		n := min(len(l.group.waiting), maxShared)
		batch := l.group.waiting[:n:n]
		l.group.waiting = l.group.waiting[n:]
		if n == 0 {
			l.group.waiting, l.group.busy = nil, false
			l.group.mu.Unlock()
			return
		}
		l.group.mu.Unlock()
		l.share(batch)
		select {
		case <-own.done:
			own = &call{done: make(chan struct{})} // it leads on for others, on a goroutine that nobody waits for
			l.group.wg.Go(func() { l.lead(own) })
			return
		default:
		}
	}
}

// share records a batch in one transaction; where that fails each call on its own, so that none fails for another.
func (l *Ledger) share(batch []*call) {
	if err := l.record(context.Background(), batch); err != nil {
		for _, c := range batch {
			c.conflicts = nil
			if len(batch) > 1 {
				c.err = l.record(context.Background(), []*call{c})
			} else {
				c.err = err
			}
		}
	}
	for _, c := range batch {
		close(c.done)
	}
}
