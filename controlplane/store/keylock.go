package store

import (
	"context"
	"sync"

	"swell.dev/swell/controlplane"
)

// keyLocks lets one change of a key run at a time, in the order of arrival.
type keyLocks struct {
	mu   sync.Mutex                    // guards held
	held map[controlplane.Key]*waiters // nil: held, and nobody waits
}

// waiters are those behind the holder of a key; each is told by closing its channel.
type waiters struct{ queue []chan struct{} }

// lock waits until the key is free for the caller, or the context ends.
func (l *keyLocks) lock(ctx context.Context, key controlplane.Key) error {
	l.mu.Lock()
	w, taken := l.held[key]
	if !taken {
		if l.held == nil {
			l.held = map[controlplane.Key]*waiters{}
		}
		l.held[key] = nil
		l.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	if w == nil {
		w = &waiters{}
		l.held[key] = w
	}
	w.queue = append(w.queue, turn)
	l.mu.Unlock()

	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	for i, c := range w.queue {
		if c == turn {
			w.queue = append(w.queue[:i], w.queue[i+1:]...)
			l.mu.Unlock()
			return context.Cause(ctx)
		}
	}
	l.mu.Unlock()
	l.unlock(key) // the turn had come already
	return context.Cause(ctx)
}

// unlock hands the key to the next in line.
func (l *keyLocks) unlock(key controlplane.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.held[key]
	if w == nil || len(w.queue) == 0 {
		delete(l.held, key)
		return
	}
	next := w.queue[0]
	w.queue = w.queue[1:]
	close(next)
}
