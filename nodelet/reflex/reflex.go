package reflex

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	nodev1 "swell.dev/swell/api/node/v1"
	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/cgroups"
	"swell.dev/swell/cgroups/throttle"
	"swell.dev/swell/nodelet"
)

// tree is the pods' part of the cgroup tree.
type tree interface {
	// Group answers a pod's control group.
	Group(podUID string) *cgroups.Group
	// Size answers the CPU that a pod's limits come to, in thousandths; 0: it has none.
	Size(podUID string) int64
	// SetBurst gives a pod so much CPU beyond that, or reports false where it can't just now. It never waits.
	SetBurst(podUID string, extra int64) (done bool, err error)

	memoryTree
}

// Config is what a Reflex works with.
type Config struct {
	Tree tree
	// Meter adds to what a pod is billed for its bursts.
	Meter func(podUID string, add usagev1.Burst) error
	// Tell is called when a pod begins to burst, and with nil when it has come to rest for a while.
	Tell  func(podUID string, s *nodelet.BurstState)
	Rungs []throttle.Rung // how throttling may be detected; none: by whatever the host has
	Log   *slog.Logger
}

const (
	slowEvery   = time.Second     // metering, and what is told
	tellFor     = 5 * time.Second // a pod counts as bursting for so long after its last burst
	grantWithin = 5 * time.Second // what a node wants and may have is granted by then
	idleEvery   = 100 * time.Millisecond
)

// Reflex gives bursts to the pods of a node.
type Reflex struct {
	cfg     Config
	changed chan struct{} // capacity 1: Want or Held differ
	wake    chan struct{} // capacity 1: there is a burst to look after

	life   context.Context //nolint:containedctx // of the goroutines, which are started and ended as pods come and go
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	memory        sync.Mutex // orders changes of memory limits, and guards what follows; taken before mu
	memoryWatcher *throttle.MemoryWatcher
	memoryStop    context.CancelFunc
	memoryWake    chan struct{} // capacity 1: there is memory to look after

	mu      sync.Mutex // guards what follows. It is held for microseconds: the watcher's thread takes it
	core    *core
	pods    map[string]*watched
	ids     map[uint64]*watched
	watcher *throttle.Watcher // nil: no pod may burst
	stop    context.CancelFunc
	stats   Stats
	granted bool        // while pods awaited it; that hasn't been acted on
	late    *time.Timer // to look whether they have waited for long enough

	detection Detection
}

// watched is a pod's open counter and what was told of it.
type watched struct {
	uid     string
	id      uint64
	used    *cgroups.Counter
	allowed v1alpha1.Burst
	rank    int
	last    time.Duration // when it was last seen bursting
	told    bool          // as bursting
	counted burstSum      // metered so far
	armed   bool          // its memory limit is guarded; memory guards it
}

// New makes one that does nothing until a pod may burst.
func New(cfg Config) *Reflex {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	life, cancel := context.WithCancel(context.Background())
	r := &Reflex{
		cfg: cfg, changed: make(chan struct{}, 1), wake: make(chan struct{}, 1), memoryWake: make(chan struct{}, 1), life: life, cancel: cancel,
		core: newCore(), pods: map[string]*watched{}, ids: map[uint64]*watched{},
	}
	r.late = time.AfterFunc(time.Hour, r.grantIsLate)
	r.late.Stop()
	return r
}

// Set lets a pod burst, or changes what it may; it is called again whenever the pod's size has changed. Its cgroup
// exists.
func (r *Reflex) Set(uid string, allowed v1alpha1.Burst, rank int) error {
	if err := r.set(uid, allowed, rank); err != nil {
		return err
	}
	return r.setMemory(uid, allowed.MemoryBytes)
}

func (r *Reflex) set(uid string, allowed v1alpha1.Burst, rank int) error {
	size := r.cfg.Tree.Size(uid) // may wait for a resize, so not under the lock
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.life.Err() != nil {
		return nil
	}
	w := r.pods[uid]
	if w == nil {
		var err error
		if w, err = r.watchLocked(uid); err != nil {
			return err
		}
	}
	w.allowed, w.rank = allowed, rank
	used, err := w.used.Read()
	if err != nil {
		return err
	}
	r.core.set(Pod{UID: uid, Size: size, Bound: allowed.CPUMilli, Budget: allowed.Budget, Rank: rank}, used, throttle.Now())
	r.applyLocked()
	signal(r.changed)
	return nil
}

func (r *Reflex) watchLocked(uid string) (*watched, error) {
	if r.watcher == nil {
		if err := r.openLocked(); err != nil {
			return nil, err
		}
	}
	g := r.cfg.Tree.Group(uid)
	used, err := g.CPUTime()
	if err != nil {
		return nil, err
	}
	id, err := r.watcher.Watch(g)
	if err != nil {
		return nil, errors.Join(err, used.Close())
	}
	w := &watched{uid: uid, id: id, used: used}
	r.pods[uid], r.ids[id] = w, w
	return w, nil
}

func (r *Reflex) openLocked() error {
	watcher, err := throttle.Open(throttle.Options{Rungs: r.cfg.Rungs})
	r.detection = detected(watcher, err)
	if err != nil {
		return err
	}
	for _, err := range watcher.Refused() {
		r.cfg.Log.Info("bursts: throttling is detected in another way", "instead", watcher.Rung(), "cause", err)
	}
	r.watcher = watcher
	r.stats.Rung = watcher.Rung()
	ctx, stop := context.WithCancel(r.life)
	r.stop = stop
	r.tasks.Go(func() {
		if err := watcher.Run(ctx, r.throttled); err != nil {
			r.cfg.Log.Error("bursts: throttling isn't detected any more", "error", err)
			r.undetected(watcher, err)
		}
	})
	r.tasks.Go(func() { r.lookAfter(ctx) })
	return nil
}

// Remove has a pod burst no more. What it has beyond its size is taken back, if it still has a cgroup.
func (r *Reflex) Remove(uid string) {
	if !r.endMemory(uid) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if p := r.core.pods[uid]; p.extra > 0 {
			r.core.give(p, 0)
			r.applyLocked()
		}
		return
	}
	r.mu.Lock()
	w := r.pods[uid]
	if w == nil {
		r.mu.Unlock()
		return
	}
	due := r.dueLocked(w)
	if _, err := r.cfg.Tree.SetBurst(uid, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.cfg.Log.Warn("a burst wasn't taken back", "pod", uid, "error", err)
	}
	r.core.remove(uid)
	delete(r.pods, uid)
	delete(r.ids, w.id)
	_ = w.used.Close() // it was only read
	if err := r.watcher.Unwatch(w.id); err != nil {
		r.cfg.Log.Warn("a pod is watched that is gone", "pod", uid, "error", err)
	}
	told := w.told
	var unused *throttle.Watcher
	last := len(r.pods) == 0
	if last {
		r.stop()
		unused, r.watcher, r.stop = r.watcher, nil, nil
	}
	signal(r.changed)
	r.mu.Unlock()
	if last {
		r.memory.Lock()
		r.mu.Lock()
		last = len(r.pods) == 0
		r.mu.Unlock()
		if last {
			r.closeMemory()
		}
		r.memory.Unlock()
	}
	r.meter(uid, due)
	if unused != nil {
		if err := unused.Close(); err != nil {
			r.cfg.Log.Warn("bursts: not all was unloaded", "error", err)
		}
	}
	if told {
		r.cfg.Tell(uid, nil)
	}
}

// Close takes every burst back and ends what runs.
func (r *Reflex) Close() {
	r.cancel()
	r.late.Stop()
	r.mu.Lock()
	uids := make([]string, 0, len(r.pods))
	for uid := range r.pods {
		uids = append(uids, uid)
	}
	r.mu.Unlock()
	for _, uid := range uids {
		r.Remove(uid)
	}
	r.tasks.Wait()
}

// Await has what the bursts hold be all that is granted until Grant: there may be more then. What comes near to its
// memory limit waits for that, some seconds at most.
func (r *Reflex) Await() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.core.grant(r.core.held)
	r.core.memoryPool = r.core.memoryHeld
	r.awaitLocked(nil)
	r.applyLocked()
}

// awaitLocked has a pod, or all of them, wait.
func (r *Reflex) awaitLocked(p *pod) {
	r.core.await(throttle.Now(), p)
	r.late.Reset(grantWithin)
}

// grantIsLate has limits be ordinary ones where nothing more came.
func (r *Reflex) grantIsLate() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.life.Err() == nil && r.core.awaiting(throttle.Now()) {
		r.late.Reset(time.Second)
	}
	signal(r.memoryWake)
}

// Grant sets the pool: what the bursts may come to together.
func (r *Reflex) Grant(p *nodev1.Pool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.core.grant(p.GetCpuMilli())
	r.core.memoryPool = p.GetMemoryBytes()
	r.granted = r.granted || r.core.awaiting(throttle.Now())
	if r.core.memoryPool >= r.core.memoryWant() {
		r.core.known()
	}
	signal(r.memoryWake)
	r.applyLocked()
	signal(r.changed)
}

// Pool answers what the pods could use at most, and what their bursts hold now.
func (r *Reflex) Pool() (want, held *nodev1.Pool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &nodev1.Pool{CpuMilli: r.core.want(), MemoryBytes: r.core.memoryWant()},
		&nodev1.Pool{CpuMilli: r.core.held, MemoryBytes: r.core.memoryHeld}
}

// Changed receives (capacity 1) when Pool may answer something else.
func (r *Reflex) Changed() <-chan struct{} { return r.changed }

// throttled is the hot path: the kernel has just stopped a pod's tasks.
func (r *Reflex) throttled(e throttle.Event) {
	if r.raise(e) {
		throttle.Rerun(e.CPU)
	}
}

// raise reports whether the pod has more now.
func (r *Reflex) raise(e throttle.Event) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Throttled++
	w := r.ids[e.Cgroup]
	if w == nil {
		return false
	}
	used, err := w.used.Read()
	if err != nil {
		return false // it is gone, which whoever removed it will tell
	}
	r.core.throttled(w.uid, used, throttle.Now())
	if r.applyLocked() {
		now := throttle.Now()
		w.last = now
		r.stats.react(now - e.At)
		signal(r.wake)
		return true
	}
	return false
}

// applyLocked carries out what the core has decided, and reports whether it was anything. Of several changes those
// that take back come first, which the core sees to.
func (r *Reflex) applyLocked() bool {
	all := r.core.take()
	for _, ch := range all {
		done, err := r.cfg.Tree.SetBurst(ch.uid, ch.extra)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.cfg.Log.Warn("a burst wasn't set", "pod", ch.uid, "milliCPU", ch.extra, "error", err)
		}
		if !done {
			r.core.refused(ch.uid, ch.had)
		}
	}
	if len(all) > 0 {
		signal(r.changed)
	}
	return len(all) > 0
}

// lookAfter looks at bursts as long as there are any.
func (r *Reflex) lookAfter(ctx context.Context) {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	idle := idler{file: hostStat}
	slow := time.Now()
	var some []string
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.wake:
			tick.Reset(tickEvery)
		}
		now := time.Now()
		r.mu.Lock()
		some = r.core.bursting(some[:0])
		if len(some) == 0 {
			tick.Reset(slowEvery) // there is only memory to tell of
		}
		r.lookLocked(some)
		if len(some) > 0 && now.Sub(idle.at) >= idleEvery {
			r.contendedLocked(&idle, now)
		}
		r.mu.Unlock()
		if now.Sub(slow) >= slowEvery {
			slow = now
			if quiet := r.tell(); quiet && len(some) == 0 {
				tick.Stop()
				select {
				case <-ctx.Done():
					return
				case <-r.wake:
				}
				idle = idler{file: hostStat}
				tick.Reset(tickEvery)
			}
		}
	}
}

func (r *Reflex) lookLocked(some []string) {
	at := throttle.Now()
	for _, uid := range some {
		w := r.pods[uid]
		used, err := w.used.Read()
		if err != nil {
			continue // it is gone
		}
		w.last = at
		r.core.look(uid, used, at)
	}
	r.applyLocked()
}

func (r *Reflex) contendedLocked(idle *idler, now time.Time) {
	milli, known, err := idle.look(now)
	if err != nil {
		r.cfg.Log.Warn("bursts: what the host has idle isn't known", "error", err)
		return
	}
	if known {
		r.core.contended(milli + r.core.beyond())
		r.applyLocked()
	}
}

// tell meters, and tells of pods that began or came to rest. It reports whether all have been told to rest.
func (r *Reflex) tell() (quiet bool) {
	type news struct {
		uid   string
		due   usagev1.Burst
		told  bool
		state *nodelet.BurstState
	}
	var out []news
	quiet = true
	r.mu.Lock()
	now := throttle.Now()
	for uid, w := range r.pods {
		n := news{uid: uid, due: r.dueLocked(w)}
		bursting := w.last > 0 && now-w.last < tellFor
		quiet = quiet && !bursting
		if bursting != w.told {
			w.told, n.told = bursting, true
			if bursting {
				p := r.core.pods[uid]
				n.state = &nodelet.BurstState{Allowed: w.allowed, Left: max(p.left, 0), Bursts: p.bursts, Memory: p.memory.extra}
			}
		}
		if n.told || n.due != (usagev1.Burst{}) {
			out = append(out, n)
		}
	}
	r.mu.Unlock()
	for _, n := range out { // which may wait for the disk
		r.meter(n.uid, n.due)
		if n.told {
			r.cfg.Tell(n.uid, n.state)
		}
	}
	return quiet
}

// dueLocked answers what isn't metered yet, in whole milliseconds.
func (r *Reflex) dueLocked(w *watched) usagev1.Burst {
	p := r.core.pods[w.uid]
	if p == nil {
		return usagev1.Burst{}
	}
	due := usagev1.Burst{
		Millis:    int64(p.metered.time/time.Millisecond) - int64(w.counted.time/time.Millisecond),
		CPUMillis: p.metered.cpu/int64(time.Millisecond) - w.counted.cpu/int64(time.Millisecond),

		MemoryMillis: p.metered.memory/1024 - w.counted.memory/1024,
	}
	w.counted = p.metered
	r.stats.Time += time.Duration(due.Millis) * time.Millisecond
	return due
}

func (r *Reflex) meter(uid string, due usagev1.Burst) {
	if due == (usagev1.Burst{}) {
		return
	}
	if err := r.cfg.Meter(uid, due); err != nil {
		r.cfg.Log.Error("a burst isn't metered", "pod", uid, "error", err)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
