package scheduler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"swell.dev/swell/controlplane"
)

// Config says who is told what the scheduler decides on its own. The calls come from other goroutines than
// the scheduler's, so they may call it; for one pod they come one after another.
type Config struct {
	// Bound tells that a pending pod has its node; the room is reserved.
	Bound func(req controlplane.PlaceRequest, node string)
	// Boosted tells that there is room for a boost that was asked for in vain. Nil: nobody is told.
	Boosted func(uid, node string, ask, cpuMilli int64)
	// Resized tells that a resize which waited has its room, or that its verdict is another one now.
	Resized func(controlplane.ResizeDecision)
	// Granted tells how much a node's reflex pool has. It is called before the call returns that took room from
	// it, or gave it some, must be quick and must not call the scheduler. Nil: no node has a pool.
	Granted func(controlplane.PoolGrant)
	// SlotGivenUp tells that a slot has lost its room, to a pod or with its node. Nil: nobody adds slots.
	SlotGivenUp func(uid, node string)
	// Evict tells that a pod has to go. Its room is free when it is released. Nil: nobody is told.
	Evict func(controlplane.Eviction)
	// Nominated tells that room is being made for a pending pod on that node; with no node, that none is any
	// more. Nil: nobody is told.
	Nominated func(req controlplane.PlaceRequest, node string)
	// Waits tells why a pod pends, once and when it changes, to no more than toldAtOnce pods every TellEvery.
	// Nil: nobody is told.
	Waits func(req controlplane.PlaceRequest, why string)
	// TellEvery is a second by default.
	TellEvery time.Duration
	// Workers is how many calls run at once; default 64.
	Workers int
}

// Bounds of what is told of why pods pend, for each time: how many are told, and how many nodes are looked at.
const (
	toldAtOnce   = 200
	lookedAtOnce = 100_000
)

// Scheduler lets one call at a time into the core. A call takes microseconds, so those that come together wait
// for one another on a mutex: handing them to a goroutine would cost each as much as what it asks for.
type Scheduler struct {
	outbox *outbox
	cfg    Config
	stop   chan struct{} // closed by Close
	wg     sync.WaitGroup

	mu     sync.Mutex // guards what follows
	core   *core
	closed bool
	timers map[string]*time.Timer // of pods that their node's taints give some time
}

// New starts a scheduler. The caller closes it.
func New(cfg Config) (*Scheduler, error) {
	if cfg.Bound == nil || cfg.Resized == nil {
		return nil, errors.New("scheduler: Bound and Resized are required")
	}
	if cfg.Workers <= 0 {
		cfg.Workers = 64
	}
	if cfg.TellEvery <= 0 {
		cfg.TellEvery = time.Second
	}
	s := &Scheduler{cfg: cfg, core: newCore(), timers: map[string]*time.Timer{}, stop: make(chan struct{})}
	s.outbox = newOutbox(cfg.Workers, s.deliver)
	if cfg.Waits != nil {
		s.wg.Go(s.tell)
	}
	return s, nil
}

func (s *Scheduler) deliver(d decision) {
	switch d.kind {
	case bound:
		s.cfg.Bound(*d.request, d.node)
	case boosted:
		if s.cfg.Boosted != nil {
			s.cfg.Boosted(d.uid, d.node, d.ask, d.boost)
		}
	case resized, judged:
		answer := controlplane.ResizeAnswer{Verdict: controlplane.ResizeAdmitted}
		if d.kind == judged {
			answer = controlplane.ResizeAnswer{Verdict: d.verdict, Message: d.message}
		}
		s.cfg.Resized(controlplane.ResizeDecision{Key: d.key, UID: d.uid, Demand: d.resize, ResizeAnswer: answer})
	case evicted:
		if s.cfg.Evict != nil {
			e := controlplane.Eviction{Key: d.key, UID: d.uid, Node: d.node, Reason: d.reason, Message: d.message}
			if d.request != nil {
				e.For = d.request.Key
			}
			s.cfg.Evict(e)
		}
	case givenUp:
		if s.cfg.SlotGivenUp != nil {
			s.cfg.SlotGivenUp(d.uid, d.node)
		}
	case nominated:
		if s.cfg.Nominated != nil {
			s.cfg.Nominated(*d.request, d.node)
		}
	case explained:
		s.cfg.Waits(*d.request, d.message)
	}
}

// tell tells from time to time why pods wait.
func (s *Scheduler) tell() {
	ticker := time.NewTicker(s.cfg.TellEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.call(func(c *core) { c.tell(toldAtOnce, lookedAtOnce) })
		case <-s.stop:
			return
		}
	}
}

func (s *Scheduler) sendLocked() {
	for _, d := range s.core.take() {
		switch d.kind {
		case expelled:
			s.expelLaterLocked(d)
		case granted: // on its way before anything that takes the room
			if s.cfg.Granted != nil {
				s.cfg.Granted(d.grant)
			}
		default:
			s.outbox.add(d)
		}
	}
}

// expelLaterLocked keeps the time that a pod has left on its node.
func (s *Scheduler) expelLaterLocked(d decision) {
	if t := s.timers[d.uid]; t != nil {
		t.Stop()
	}
	s.timers[d.uid] = time.AfterFunc(d.after, func() {
		s.call(func(c *core) {
			delete(s.timers, d.uid)
			c.doomed(d.uid, d.doom)
		})
	})
}

// Close ends the scheduler and waits for the calls under way. Decisions that nobody was told yet are
// dropped: the next scheduler, restored from what is stored, makes them again. It is idempotent.
func (s *Scheduler) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.stop)
		for _, t := range s.timers {
			t.Stop()
		}
	}
	s.mu.Unlock()
	s.wg.Wait()
	s.outbox.close()
	return nil
}

var errClosed = fmt.Errorf("the scheduler is closed: %w", controlplane.ErrUnavailable)

// do runs f on the core, unless the context has ended.
func (s *Scheduler) do(ctx context.Context, f func(*core)) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	whole := false
	defer func() {
		if whole {
			s.mu.Unlock()
			return
		}
		// A ledger that may be half changed must not go on, whoever would contain the panic.
		p := recover()
		go panic(p)
		select {}
	}()
	err := errClosed
	if !s.closed {
		f(s.core)
		s.sendLocked()
		err = nil
	}
	whole = true
	return err
}

// Place reserves room for a pod and answers its node; for one that has a node already, that node. A pod of a
// workload with slots gets one of them: from then on its room is known by the slot's UID, which has to become
// the pod's.
// ErrNoCapacity, an *Unschedulable: no node has room; the pod isn't remembered, see Pend.
func (s *Scheduler) Place(ctx context.Context, req controlplane.PlaceRequest) (p controlplane.Placement, err error) {
	if req.UID == "" || req.Demand.CPUMilli < 0 || req.Demand.MemoryBytes < 0 {
		return p, fmt.Errorf("%s: placement needs a uid and a demand that isn't negative", req.Key)
	}
	if queued := s.do(ctx, func(c *core) { p, err = c.place(req) }); queued != nil {
		return controlplane.Placement{}, fmt.Errorf("%s: %w", req.Key, queued)
	}
	return p, err
}

// AddSlot reserves room for a pod that is expected, and answers the node. The request is the one that such a
// pod would make, under a UID of the slot's own. ErrNoCapacity: no node has room that is free.
func (s *Scheduler) AddSlot(ctx context.Context, req controlplane.PlaceRequest) (node string, err error) {
	if req.UID == "" || req.Template == 0 {
		return "", fmt.Errorf("%s: a slot needs a uid and a template", req.Key)
	}
	if queued := s.do(ctx, func(c *core) { node, err = c.addSlot(req) }); queued != nil {
		return "", queued
	}
	return node, err
}

// DeepenSlot tells how far a slot has come.
func (s *Scheduler) DeepenSlot(uid string, depth controlplane.SlotDepth) {
	s.call(func(c *core) { c.deepen(uid, depth) })
}

// RemoveSlot gives a slot's room back. It answers false if it isn't a slot any more: a pod has taken it, or
// it was given up.
func (s *Scheduler) RemoveSlot(uid string) (removed bool) {
	s.call(func(c *core) { removed = c.removeSlot(uid) })
	return removed
}

// Room answers what is free on nodes that are open, slots' room not counted as free, and what slots hold.
func (s *Scheduler) Room() (free, slots controlplane.Demand) {
	s.call(func(c *core) { free, slots = c.room() })
	return free, slots
}

// Pend remembers a pod that no node had room for. Bound tells when there is.
func (s *Scheduler) Pend(req controlplane.PlaceRequest) {
	s.call(func(c *core) { c.pend(req) })
}

// Release gives back what a pod holds, and forgets what it waits for and what nobody was told of it yet.
func (s *Scheduler) Release(uid string) {
	s.call(func(c *core) {
		c.release(uid)
		s.outbox.drop(uid)
		if t := s.timers[uid]; t != nil {
			t.Stop()
			delete(s.timers, uid)
		}
	})
}

// Resize asks for another size of a pod. It replaces an earlier wish. One that isn't admitted is remembered, and
// Resized tells when there is room. ErrNotFound: the pod has no room here and isn't pending.
func (s *Scheduler) Resize(ctx context.Context, uid string, q controlplane.ResizeRequest) (answer controlplane.ResizeAnswer, err error) {
	queued := s.do(ctx, func(c *core) {
		s.outbox.dropResize(uid)
		answer, err = c.resize(uid, q)
	})
	if queued != nil {
		return controlplane.ResizeAnswer{}, queued
	}
	return answer, err
}

// Stored tells that the pod's last Resize, which wasn't admitted, was stored: best-effort pods give way to it,
// unless it is patient.
func (s *Scheduler) Stored(uid string) {
	s.call(func(c *core) { c.stored(uid) })
}

// SetPatience changes whether the pod's deferred resize only waits.
func (s *Scheduler) SetPatience(uid string, patient bool) {
	s.call(func(c *core) { c.setPatience(uid, patient) })
}

// Pool tells what a node says of its reflex pool. Connected: in a new session, before the node is announced. A
// nil report: the node has no pool.
func (s *Scheduler) Pool(node string, report *controlplane.PoolReport, connected bool) {
	s.call(func(c *core) { c.pooled(node, report, connected) })
}

// Stats answers what was decided about resizes, and what is lent.
func (s *Scheduler) Stats() (out Stats) {
	s.call(func(c *core) { out = c.sums() })
	return out
}

// Revert takes the pod's last Resize back where that couldn't be stored: its nodelet hasn't learned of it, so
// its room is free at once, and the wish before it stands again.
func (s *Scheduler) Revert(uid string) {
	s.call(func(c *core) {
		s.outbox.dropResize(uid)
		c.revert(uid)
	})
}

// Actuated tells the size that the pod's nodelet has reported. Room that a smaller size leaves is free from
// then on.
func (s *Scheduler) Actuated(uid string, d controlplane.Demand) {
	s.call(func(c *core) { c.actuated(uid, d) })
}

// Leaving tells that a pod is being deleted: its room will be free.
func (s *Scheduler) Leaving(uid string) {
	s.call(func(c *core) { c.leave(uid) })
}

// Update tells that a pod's labels or tolerations have changed.
func (s *Scheduler) Update(req controlplane.PlaceRequest) {
	s.call(func(c *core) { c.update(req) })
}

// SetNode announces a host or a change of it.
func (s *Scheduler) SetNode(n controlplane.Node) {
	s.call(func(c *core) { c.setNode(n) })
}

// RemoveNode forgets a host. What its pods hold stays until they are released.
func (s *Scheduler) RemoveNode(name string) {
	s.call(func(c *core) { c.removeNode(name) })
}

// Restore enters a pod that has its node, NodeName, whatever room that has: for the start, before pods are
// placed.
func (s *Scheduler) Restore(req controlplane.PlaceRequest) {
	s.call(func(c *core) { c.restore(req) })
}

// RestoreAll is Restore for many.
func (s *Scheduler) RestoreAll(reqs []controlplane.PlaceRequest) {
	s.call(func(c *core) {
		for i := range reqs {
			c.restore(reqs[i])
		}
	})
}

// call is do for what can't be refused but by the end of the scheduler, which its callers need not know.
func (s *Scheduler) call(f func(*core)) {
	_ = s.do(context.Background(), f)
}
