package session

import (
	"errors"
	"sync"
	"testing"

	nodev1 "swell.dev/swell/api/node/v1"
)

// fakePool holds as much as it may of what it wants.
type fakePool struct {
	changed chan struct{}

	mu            sync.Mutex // guards what follows
	want, granted int64
}

func (p *fakePool) Changed() <-chan struct{} { return p.changed }

func (p *fakePool) Pool() (want, held *nodev1.Pool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &nodev1.Pool{CpuMilli: p.want}, &nodev1.Pool{CpuMilli: min(p.want, p.granted)}
}

func (p *fakePool) Grant(g *nodev1.Pool) {
	p.mu.Lock()
	p.granted = g.CpuMilli
	p.mu.Unlock()
	p.signal()
}

func (p *fakePool) Await() {
	_, held := p.Pool()
	p.Grant(held)
}

func (p *fakePool) wants(milli int64) {
	p.mu.Lock()
	p.want = milli
	p.mu.Unlock()
	p.signal()
}

func (p *fakePool) signal() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// TestPool: what bursts want goes up, what they may hold comes down and is answered, and a new session begins with what
// is held, without what was granted beyond that.
func TestPool(t *testing.T) {
	w := newWorld(t)
	pool := &fakePool{changed: make(chan struct{}, 1)}
	w.cfg.Pool = pool
	w.run()
	c, hello := w.next()
	if hello.Pool != nil {
		t.Errorf("a node without bursts says %v", hello.Pool)
	}
	c.expect("segments", "heartbeat")
	c.sync()
	w.pods.expect(t, "sync []")
	pool.wants(4000)
	c.expect("pool want 4000 held 0 heard 0")
	grant := func(c *talk, milli, number int64) {
		c.send(&nodev1.ToNode{Message: &nodev1.ToNode_Pool{Pool: &nodev1.Pool{CpuMilli: milli, Number: number}}})
	}
	grant(c, 6000, 1)
	c.expect("pool want 4000 held 4000 heard 1")
	grant(c, 500, 2)
	c.expect("pool want 4000 held 500 heard 2")
	pool.wants(300)
	c.expect("pool want 300 held 300 heard 2")
	c.end <- errors.New("lost")
	c, hello = w.next()
	if got := describePool(hello.Pool); got != " want 300 held 300 heard 0" {
		t.Errorf("after a loss hello says%s", got)
	}
	c.expect("segments", "heartbeat")
	pool.wants(4000)
	c.expect("pool want 4000 held 300 heard 0")
}

// TestPoolOfAHostWithNone ends the session: the ledger counts on an answer.
func TestPoolOfAHostWithNone(t *testing.T) {
	w := newWorld(t)
	w.run()
	c, _ := w.next()
	c.send(&nodev1.ToNode{Message: &nodev1.ToNode_Pool{Pool: &nodev1.Pool{CpuMilli: 1, Number: 1}}})
	w.next()
}
