package store

import (
	"context"
	"fmt"

	"swell.dev/swell/controlplane"
)

// Observe changes an object in memory only: it gets a new version and an event, and etcd isn't written.
// The function gets the present object and answers the next, or the same one for no change; it obeys the
// rules of Mutation.Change. ErrNotFound if there is none.
func (s *Store) Observe(key controlplane.Key, change func(current controlplane.Object) controlplane.Object) (controlplane.Object, error) {
	if err := s.endedErr(); err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	// Whoever holds the key gives it back when its transaction is done or the store ends.
	if err := s.locks.lock(context.Background(), key); err != nil {
		return nil, err
	}
	defer s.locks.unlock(key)
	current, ok := s.Get(key)
	if !ok {
		return nil, fmt.Errorf("%s: %w", key, controlplane.ErrNotFound)
	}
	next, err := s.change(controlplane.Mutation{Key: key, Change: func(o controlplane.Object) (controlplane.Object, error) {
		return change(o), nil
	}}, current)
	switch {
	case err != nil:
		return nil, err
	case next == nil:
		return nil, fmt.Errorf("%s: an observation can't delete", key)
	case next == current:
		return current, nil
	}
	return s.applyInMemory(key, current, next)
}

// applyInMemory gives the change the version after the last. The caller holds the key.
func (s *Store) applyInMemory(key controlplane.Key, current, next controlplane.Object) (controlplane.Object, error) {
	var removed controlplane.Object
	if next == nil {
		removed = shallow(current)
	}
	for !s.tryInMemory(key, next, removed) {
		// This revision's ordinals have run out: begin another.
		if err := s.submit(&write{done: make(chan error, 1)}); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	s.stats.observations.Add(1)
	if next == nil {
		return removed, nil
	}
	return next, nil
}

func (s *Store) tryInMemory(key controlplane.Key, next, removed controlplane.Object) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.version&maxOrdinal+2 > s.limit { // one for the change, one for what it pushes out
		return false
	}
	t := s.tableLocked(key.Resource)
	s.installLocked(key, next, removed, 0, s.version+1)
	if oldest := t.oldest(); oldest != nil && len(t.objects) > s.cfg.VolatileLimit {
		if !t.followed() {
			t.remove(oldest)
			return true
		}
		removed := shallow(s.mustOpen(t.resource, oldest.current.viewLocked()))
		s.installLocked(oldest.key(t.resource), nil, removed, 0, s.version+1)
	}
	t.wake()
	return true
}
