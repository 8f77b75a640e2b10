package session

import (
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	nodev1 "swell.dev/swell/api/node/v1"
)

// pool is what the node's bursts share.
type pool interface {
	// Pool answers what is wanted and what is held.
	Pool() (want, held *nodev1.Pool)
	// Await ends the grant: what is held stays, and what more there is isn't known until Grant.
	Await()
	// Grant sets what may be held. What is above it falls to it.
	Grant(*nodev1.Pool)
	// Changed receives (capacity 1) when Pool may answer something else.
	Changed() <-chan struct{}
}

// poolEvery is how often changes of what is wanted and held are told at most. That a grant was heard is told at
// once.
const poolEvery = 200 * time.Millisecond

// poolTeller tells of the pool on one stream.
type poolTeller struct {
	pool pool // nil: the host has none

	mu    sync.Mutex // guards heard, and keeps it with what is held under it
	heard int64

	// These belong to the sender.
	told  *nodev1.PoolReport
	at    time.Time
	later *time.Timer
}

// hello answers what a session begins with. What isn't held at that time is not granted any more: a control plane
// that has just begun doesn't know of it.
func (t *poolTeller) hello() *nodev1.PoolReport {
	if t.pool == nil {
		return nil
	}
	t.later = time.NewTimer(time.Hour)
	t.later.Stop()
	t.pool.Await()
	t.told = t.report()
	if proto.Equal(t.told, &nodev1.PoolReport{Want: &nodev1.Pool{}, Held: &nodev1.Pool{}}) {
		return nil // nodes whose pods never burst don't speak of it
	}
	return t.told
}

func (t *poolTeller) report() *nodev1.PoolReport {
	t.mu.Lock()
	defer t.mu.Unlock()
	want, held := t.pool.Pool()
	return &nodev1.PoolReport{Want: want, Held: held, Heard: t.heard}
}

// granted takes a grant over. It is called by the receiver.
func (t *poolTeller) granted(g *nodev1.Pool) error {
	if t.pool == nil {
		return fmt.Errorf("a pool was granted to a host that has none")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pool.Grant(g)
	t.heard = g.Number
	return nil
}

// changed receives when there may be something to tell.
func (t *poolTeller) changed() <-chan struct{} {
	if t.pool == nil {
		return nil
	}
	return t.pool.Changed()
}

func (t *poolTeller) stop() {
	if t.later != nil {
		t.later.Stop()
	}
}

// wait receives when what was told too lately before is due.
func (t *poolTeller) wait() <-chan time.Time {
	if t.later == nil {
		return nil
	}
	return t.later.C
}

// due answers what is to be told now: nil if it is nothing, or not yet.
func (t *poolTeller) due(now time.Time) *nodev1.PoolReport {
	next := t.report()
	if proto.Equal(next, t.told) {
		return nil
	}
	if wait := poolEvery - now.Sub(t.at); wait > 0 && next.Heard == t.told.Heard {
		t.later.Reset(wait)
		return nil
	}
	t.told, t.at = next, now
	return next
}
