package scheduler

import "sync"

// outbox delivers decisions on a few goroutines, those of one pod in order and one at a time. It holds no
// more than one placement, one resize, one eviction and a few words on why it waits of each pod.
type outbox struct {
	deliver func(decision)
	wg      sync.WaitGroup

	mu     sync.Mutex // guards what follows
	cond   *sync.Cond // there is something ready, or the end
	mail   map[string][]decision
	ready  []string        // uids to look at, none of them twice
	queued map[string]bool // uids in ready or under delivery
	closed bool
}

func newOutbox(workers int, deliver func(decision)) *outbox {
	o := &outbox{deliver: deliver, mail: map[string][]decision{}, queued: map[string]bool{}}
	o.cond = sync.NewCond(&o.mu)
	for range workers {
		o.wg.Go(o.work)
	}
	return o
}

func (o *outbox) add(d decision) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mail[d.uid] = append(o.mail[d.uid], d)
	if !o.queued[d.uid] {
		o.queued[d.uid] = true
		o.ready = append(o.ready, d.uid)
		o.cond.Signal()
	}
}

// drop forgets what wasn't delivered to a pod.
func (o *outbox) drop(uid string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.mail, uid)
}

// dropResize forgets a resize that wasn't delivered.
func (o *outbox) dropResize(uid string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	kept := o.mail[uid][:0]
	for _, d := range o.mail[uid] {
		if d.kind != resized && d.kind != judged {
			kept = append(kept, d)
		}
	}
	if len(kept) == 0 {
		delete(o.mail, uid)
	} else {
		o.mail[uid] = kept
	}
}

func (o *outbox) work() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		for len(o.ready) == 0 && !o.closed {
			o.cond.Wait()
		}
		if o.closed {
			return
		}
		uid := o.ready[0]
		o.ready = o.ready[1:]
		if letters := o.mail[uid]; len(letters) > 0 {
			o.mail[uid] = letters[1:]
			o.mu.Unlock()
			o.deliver(letters[0])
			o.mu.Lock()
		}
		if len(o.mail[uid]) > 0 {
			o.ready = append(o.ready, uid)
			o.cond.Signal()
		} else {
			delete(o.mail, uid)
			delete(o.queued, uid)
		}
	}
}

// close waits for the deliveries under way.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.cond.Broadcast()
	o.mu.Unlock()
	o.wg.Wait()
}
