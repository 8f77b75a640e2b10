package throttle

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"swell.dev/swell/cgroups"
)

// poller looks at counters of the kernel.
type poller struct {
	every time.Duration

	mu     sync.Mutex // guards groups
	groups map[uint64]*polled
}

type polled struct {
	counter *cgroups.Counter
	last    int64
}

func newPoller(every time.Duration) *poller {
	return &poller{every: every, groups: map[uint64]*polled{}}
}

func (p *poller) watch(g *cgroups.Group, id uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.groups[id] != nil {
		return nil
	}
	counter, err := g.Throttles()
	if err != nil {
		return err
	}
	n, err := counter.Read()
	if err != nil {
		return errors.Join(err, counter.Close())
	}
	p.groups[id] = &polled{counter, n}
	return nil
}

func (p *poller) unwatch(id uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.groups[id]
	delete(p.groups, id)
	if g == nil {
		return nil
	}
	return g.counter.Close()
}

func (p *poller) run(ctx context.Context, tell func(Event)) error {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	var found []uint64
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		var err error
		if found, err = p.look(found[:0]); err != nil {
			return err
		}
		for _, id := range found {
			tell(Event{id, monotonic()})
		}
	}
}

// look answers the groups that were stopped since the last look.
func (p *poller) look(found []uint64) ([]uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, g := range p.groups {
		switch n, err := g.counter.Read(); {
		case errors.Is(err, fs.ErrNotExist):
			// It was removed; whoever watches it will know.
		case err != nil:
			return nil, err
		case n != g.last:
			g.last = n
			found = append(found, id)
		}
	}
	return found, nil
}

func (p *poller) lost() uint64 { return 0 }

func (p *poller) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for id, g := range p.groups {
		errs = append(errs, g.counter.Close())
		delete(p.groups, id)
	}
	return errors.Join(errs...)
}

func monotonic() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // can't fail for this clock
	return time.Duration(ts.Nano())
}
