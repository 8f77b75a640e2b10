package throttle

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"swell.dev/swell/cgroups"
)

// poller looks at counters of the kernel.
type poller struct {
	every time.Duration

	mu     sync.Mutex // guards groups
	groups map[uint64]*polled
}

// polled is a group with the counters of itself and of the groups in it, by path. Of a group the kernel counts only
// what its own quota stopped.
type polled struct {
	group    *cgroups.Group
	counters map[string]*counted
	listed   time.Time // when the groups in it were last looked for
}

type counted struct {
	*cgroups.Counter
	last int64
}

// listEvery is how often groups that are new in a watched one are looked for.
const listEvery = time.Second

func newPoller(every time.Duration) *poller {
	return &poller{every: every, groups: map[uint64]*polled{}}
}

func (p *poller) watch(g *cgroups.Group, id uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.groups[id] != nil {
		return nil
	}
	watched := &polled{group: g, counters: map[string]*counted{}}
	if err := watched.list(time.Now()); err != nil {
		return errors.Join(err, watched.close())
	}
	p.groups[id] = watched
	return nil
}

// list opens the counters that aren't yet.
func (p *polled) list(now time.Time) error {
	p.listed = now
	if err := p.open(p.group); err != nil {
		return err
	}
	names, err := p.group.Children()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := p.open(p.group.Child(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (p *polled) open(g *cgroups.Group) error {
	if p.counters[g.Path()] != nil {
		return nil
	}
	c, err := g.Throttles()
	if err != nil {
		return err
	}
	n, err := c.Read()
	if err != nil {
		return errors.Join(err, c.Close())
	}
	p.counters[g.Path()] = &counted{c, n}
	return nil
}

// stopped reports whether any of the groups was since the last look.
func (p *polled) stopped(now time.Time) (stopped bool, err error) {
	if now.Sub(p.listed) >= listEvery {
		if err := p.list(now); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	for path, c := range p.counters {
		switch n, err := c.Read(); {
		case errors.Is(err, fs.ErrNotExist): // it was removed; whoever watches it will know
			delete(p.counters, path)
			if err := c.Close(); err != nil {
				return false, err
			}
		case err != nil:
			return false, err
		case n != c.last:
			c.last, stopped = n, true
		}
	}
	return stopped, nil
}

func (p *polled) close() error {
	var errs []error
	for _, c := range p.counters {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func (p *poller) unwatch(id uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.groups[id]
	delete(p.groups, id)
	if g == nil {
		return nil
	}
	return g.close()
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
			tell(Event{Cgroup: id, At: Now(), CPU: -1})
		}
	}
}

// look answers the groups that were stopped since the last look.
func (p *poller) look(found []uint64) ([]uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for id, g := range p.groups {
		stopped, err := g.stopped(now)
		if err != nil {
			return nil, err
		}
		if stopped {
			found = append(found, id)
		}
	}
	return found, nil
}

func (p *poller) cost() (uint64, time.Duration, error) { return 0, 0, nil }

func (p *poller) lost() uint64 { return 0 }

func (p *poller) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for id, g := range p.groups {
		errs = append(errs, g.close())
		delete(p.groups, id)
	}
	return errors.Join(errs...)
}
