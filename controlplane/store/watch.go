package store

import (
	"fmt"
	"sync"

	"swell.dev/swell/controlplane"
)

// subscription reads its resource's window at its own pace. It holds no events but the few it is handing
// over; one that falls out of the window has expired.
type subscription struct {
	store     *Store
	table     *table
	namespace string
	wake      chan struct{} // holds a token when there may be something new
	stop      chan struct{}
	stopOnce  sync.Once
	out       chan controlplane.Event

	mu  sync.Mutex // guards err
	err error
}

// readAhead is how many events a subscription takes from the window at once.
const readAhead = 64

// Watch answers the events of a resource, in one namespace or (empty) in all, with versions above after.
// ErrExpired: such events are no longer at hand, or the version was never issued.
func (s *Store) Watch(resource, namespace string, after uint64) (*controlplane.Subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.endedErr(); err != nil {
		return nil, fmt.Errorf("watch of %s: %w", resource, err)
	}
	t := s.tableLocked(resource)
	if after < t.window.floor || after > s.version {
		return nil, fmt.Errorf("watch of %s after %d: %w", resource, after, controlplane.ErrExpired)
	}
	sub := &subscription{
		store: s, table: t, namespace: namespace,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), out: make(chan controlplane.Event, readAhead),
	}
	t.subs[sub] = struct{}{}
	s.wg.Add(1)
	go sub.run(after)
	return &controlplane.Subscription{
		Events: sub.out,
		Stop:   func() { sub.stopOnce.Do(func() { close(sub.stop) }) },
		Err: func() error {
			sub.mu.Lock()
			defer sub.mu.Unlock()
			return sub.err
		},
	}, nil
}

func (sub *subscription) run(at uint64) {
	defer sub.store.wg.Done()
	defer close(sub.out)
	err := sub.follow(at)
	sub.mu.Lock()
	sub.err = err
	sub.mu.Unlock()
	sub.store.mu.Lock()
	delete(sub.table.subs, sub)
	sub.store.mu.Unlock()
}

func (sub *subscription) follow(at uint64) error {
	s := sub.store
	buf := make([]glimpse, 0, readAhead)
	for {
		s.mu.RLock()
		seen, looked, ok := sub.table.window.readLocked(at, sub.namespace, buf)
		s.mu.RUnlock()
		if !ok {
			return fmt.Errorf("watch at %d: the reader fell behind: %w", at, controlplane.ErrExpired)
		}
		for i := range seen {
			e, err := s.event(sub.table.resource, &seen[i])
			if err != nil {
				return fmt.Errorf("watch at %d: %w: %w", at, controlplane.ErrExpired, err)
			}
			select {
			case sub.out <- e:
			case <-sub.stop:
				return nil
			case <-s.ended:
				return s.endedErr()
			}
		}
		clear(seen) // so that an idle watch keeps no objects alive
		if looked != at {
			at = looked
			continue
		}
		select {
		case <-sub.wake:
		case <-sub.stop:
			return nil
		case <-s.ended:
			return s.endedErr()
		}
	}
}

// event opens what was seen.
func (s *Store) event(resource string, g *glimpse) (e controlplane.Event, err error) {
	e = controlplane.Event{Type: g.kind, Key: g.entry.key(resource), Version: g.is.version}
	if e.Object, err = s.open(resource, g.is); err != nil {
		return e, err
	}
	e.Previous, err = s.open(resource, g.was)
	return e, err
}
