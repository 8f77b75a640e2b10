package nodelet

import "sync"

// hands are the goroutines that carry out what this node's pods have to have done. A few stay when there is
// nothing to do, for the stack of a new one has to grow into each action.
type hands struct {
	all sync.WaitGroup

	mu     sync.Mutex // guards what follows
	idle   []chan func()
	closed bool
}

// idleHands bounds those that wait for something to do.
const idleHands = 16

// do has f done by another goroutine.
func (h *hands) do(f func()) {
	h.mu.Lock()
	last := len(h.idle) - 1
	if last < 0 {
		h.mu.Unlock()
		h.all.Go(func() { h.work(f) })
		return
	}
	next := h.idle[last]
	h.idle = h.idle[:last]
	h.mu.Unlock()
	next <- f
}

func (h *hands) work(f func()) {
	next := make(chan func(), 1)
	for ok := true; ok; f, ok = <-next {
		f()
		if !h.rest(next) {
			return
		}
	}
}

// rest puts a hand among the idle ones, unless there are enough.
func (h *hands) rest(next chan func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.idle) == idleHands {
		return false
	}
	h.idle = append(h.idle, next)
	return true
}

// close waits until all is done. It may be called again; the callers of do have ended.
func (h *hands) close() {
	h.mu.Lock()
	h.closed = true
	for _, next := range h.idle {
		close(next)
	}
	h.idle = nil
	h.mu.Unlock()
	h.all.Wait()
}
