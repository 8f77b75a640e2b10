package store

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"time"

	"swell.dev/swell/controlplane"
)

// write is a mutation ready for etcd. The zero write changes no object: it only begins a new revision.
type write struct {
	key     controlplane.Key
	path    string
	value   []byte              // nil: delete
	next    controlplane.Object // nil: delete
	removed controlplane.Object // what a deletion's event shows
	done    chan error          // answered once
}

func (w *write) size() int { return len(w.path) + len(w.value) }

// Commit makes a change durable and answers the object as it then is; for a deletion the last state. The
// context bounds the wait before the change is made, not the write itself: an error means that nothing
// was stored, except that it can't be known for one that wraps ErrNotLeader.
func (s *Store) Commit(ctx context.Context, m controlplane.Mutation) (controlplane.Object, error) {
	if err := checkKey(m.Key); err != nil {
		return nil, err
	}
	volatile := s.cfg.Volatile[m.Key.Resource]
	if !volatile { // what stays in memory doesn't wait for etcd
		if err := s.enter(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", m.Key, err)
		}
		defer func() { <-s.places }()
	} else if err := s.endedErr(); err != nil {
		return nil, fmt.Errorf("%s: %w", m.Key, err)
	}
	if err := s.locks.lock(ctx, m.Key); err != nil {
		return nil, fmt.Errorf("%s: %w", m.Key, err)
	}
	defer s.locks.unlock(m.Key)

	current, _ := s.Get(m.Key)
	next, err := s.change(m, current)
	if err != nil || next == current {
		return next, err
	}
	if volatile {
		return s.applyInMemory(m.Key, current, next)
	}
	w, err := s.prepare(m.Key, current, next)
	if err != nil {
		return nil, err
	}
	if err := s.takeRoom(ctx, w); err != nil {
		return nil, fmt.Errorf("%s: %w", m.Key, err)
	}
	defer s.room.Release(int64(w.size()))
	if err := s.submit(w); err != nil {
		return nil, fmt.Errorf("%s: %w", m.Key, err)
	}
	if next == nil {
		return w.removed, nil
	}
	return next, nil
}

// enter takes a place among the mutations that wait. When all are taken it waits a while for one.
func (s *Store) enter(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case <-s.closing:
		return fmt.Errorf("the store is closed: %w", controlplane.ErrUnavailable)
	default:
	}
	if err := s.endedErr(); err != nil {
		return err
	}
	select {
	case s.places <- struct{}{}:
		return nil
	default:
	}
	timeout := time.NewTimer(s.cfg.QueueWait)
	defer timeout.Stop()
	select {
	case s.places <- struct{}{}:
		return nil
	case <-timeout.C:
		s.stats.refused.Add(1)
		return fmt.Errorf("%d mutations wait: %w", s.cfg.MaxQueue, controlplane.ErrOverloaded)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ended:
		return s.endErr
	}
}

// takeRoom takes the room of a write in the queue, which is bounded in bytes as well. It waits for it as enter
// does.
func (s *Store) takeRoom(ctx context.Context, w *write) error {
	if s.room.TryAcquire(int64(w.size())) {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, s.cfg.QueueWait)
	defer cancel()
	if s.room.Acquire(waiting, int64(w.size())) == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%d bytes wait: %w", s.cfg.MaxQueueBytes, controlplane.ErrOverloaded)
}

// change runs the mutation's function and checks what it answers. A panic in it is that mutation's error.
func (s *Store) change(m controlplane.Mutation, current controlplane.Object) (next controlplane.Object, err error) {
	defer s.contain(m.Key, &err)
	next, err = m.Change(current)
	if err != nil {
		return nil, err
	}
	if next == nil || next == current {
		return next, nil
	}
	return next, checkIdentity(m.Key, next)
}

func (s *Store) contain(key controlplane.Key, err *error) {
	if p := recover(); p != nil {
		s.cfg.Log.Error("a change panicked", "object", key.String(), "panic", p, "stack", string(debug.Stack()))
		*err = fmt.Errorf("%s: the change panicked: %v", key, p)
	}
}

func (s *Store) prepare(key controlplane.Key, current, next controlplane.Object) (*write, error) {
	w := &write{key: key, path: s.keys.object(key), next: next, done: make(chan error, 1)}
	if next == nil {
		w.removed = shallow(current)
		return w, nil
	}
	if err := s.cfg.Writable(); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", key, controlplane.ErrNoStorage, err)
	}
	var err error
	if w.value, err = s.encodeDurable(key, next); err != nil {
		return nil, err
	}
	if w.size() > s.cfg.MaxBatchBytes {
		return nil, fmt.Errorf("%s: %d bytes, more than the %d that can be stored", key, w.size(), s.cfg.MaxBatchBytes)
	}
	return w, nil
}

func (s *Store) encodeDurable(key controlplane.Key, o controlplane.Object) (value []byte, err error) {
	defer s.contain(key, &err)
	if value, err = encode(s.cfg.Durable(o)); err != nil {
		return nil, fmt.Errorf("%s: encoding: %w", key, err)
	}
	return value, nil
}

var errUnknownOutcome = errors.New("whether it was stored is unknown")

// submit queues a write and waits for its transaction.
func (s *Store) submit(w *write) error {
	select {
	case s.queue <- w:
	case <-s.committed:
		return s.afterCommitter()
	}
	select {
	case err := <-w.done:
		return err
	case <-s.committed:
	}
	select {
	case err := <-w.done:
		return err
	default:
		return s.afterCommitter() // it came after the committer's last look at the queue
	}
}

// afterCommitter is why the committer has ended.
func (s *Store) afterCommitter() error {
	if err := s.endedErr(); err != nil {
		return err
	}
	return fmt.Errorf("the store is closed: %w", controlplane.ErrUnavailable)
}

// shallow answers a copy that may be given another resourceVersion, and shares everything else.
func shallow(o controlplane.Object) controlplane.Object {
	v := reflect.New(reflect.TypeOf(o).Elem())
	v.Elem().Set(reflect.ValueOf(o).Elem())
	return v.Interface().(controlplane.Object)
}
