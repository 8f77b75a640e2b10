package reflex

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"swell.dev/swell/cgroups"
	"swell.dev/swell/cgroups/throttle"
	"swell.dev/swell/nodelet"
)

// memoryTree is the pods' memory in the cgroup tree.
type memoryTree interface {
	// Memory answers a pod's size in bytes, 0 if it isn't limited, and what it has beyond it.
	Memory(podUID string) (size, extra int64, err error)
	// SetMemoryBurst gives a pod so much beyond its size, guarded at so much below it where room isn't 0. Less than
	// is in use is nodelet.ErrMemoryInUse.
	SetMemoryBurst(podUID string, extra, room int64) error
	// MemoryAlarms opens what tells that a pod comes that near to its limit.
	MemoryAlarms(podUID string, room int64) ([]*cgroups.MemoryAlarm, error)
	// MemoryFree answers how much it can still take.
	MemoryFree(podUID string) (int64, error)
}

// setMemory lets a pod have more memory than its size, or changes what it may.
func (r *Reflex) setMemory(uid string, bound int64) error {
	r.memory.Lock()
	defer r.memory.Unlock()
	r.mu.Lock()
	p := r.core.pods[uid]
	none := p == nil || bound == 0 && p.memory.extra == 0 && p.memory.most() == 0
	r.mu.Unlock()
	if none {
		return nil
	}
	size, extra, err := r.cfg.Tree.Memory(uid)
	if err != nil {
		return err
	}
	if err := r.openMemory(); err != nil {
		return err
	}
	r.mu.Lock()
	first := p.memory.size == 0
	r.core.setMemory(p, size, bound, extra)
	if first && r.core.memoryPool < r.core.memoryWant() {
		r.awaitLocked(p)
	}
	r.mu.Unlock()
	r.arm(uid)
	r.grow(uid) // it may be near already
	signal(r.changed)
	signal(r.memoryWake)
	return nil
}

// openMemory is called with r.memory held.
func (r *Reflex) openMemory() error {
	if r.memoryWatcher != nil {
		return nil
	}
	w, err := throttle.OpenMemory()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(r.life)
	r.memoryWatcher, r.memoryStop = w, stop
	r.tasks.Go(func() {
		err := w.Run(ctx, func(uid string) {
			r.memory.Lock()
			defer r.memory.Unlock()
			r.grow(uid)
		})
		if err := errors.Join(err, w.Close()); err != nil {
			r.cfg.Log.Error("bursts: what comes near to its memory limit isn't seen any more", "error", err)
		}
	})
	r.tasks.Go(func() { r.lookAfterMemory(ctx) })
	return nil
}

// closeMemory unloads what no pod needs any more. r.memory is held.
func (r *Reflex) closeMemory() {
	if r.memoryWatcher != nil {
		r.memoryStop()
		r.memoryWatcher, r.memoryStop = nil, nil
	}
}

// arm brings limits, guard and alarms of a pod to what the core has for it. r.memory is held.
func (r *Reflex) arm(uid string) {
	r.mu.Lock()
	w, p := r.pods[uid], r.core.pods[uid]
	if w == nil {
		r.mu.Unlock()
		return
	}
	extra, room := p.memory.extra, int64(0)
	if r.core.guards(p, throttle.Now()) {
		room = p.memory.room()
	}
	r.mu.Unlock()
	if err := r.cfg.Tree.SetMemoryBurst(uid, extra, room); err != nil {
		r.complain("a memory limit isn't guarded", uid, err)
		return
	}
	w.armed = room > 0
	r.alarm(uid, room)
}

// alarm opens a pod's alarms anew. r.memory is held.
func (r *Reflex) alarm(uid string, room int64) {
	if r.memoryWatcher == nil {
		return
	}
	err := r.memoryWatcher.Unwatch(uid)
	if room > 0 {
		alarms, opened := r.cfg.Tree.MemoryAlarms(uid, room)
		err = errors.Join(err, opened)
		for _, a := range alarms {
			err = errors.Join(err, r.memoryWatcher.Watch(uid, a))
		}
	}
	if err != nil {
		r.complain("a memory limit isn't watched", uid, err)
	}
}

// complain says what went wrong with a pod that is there.
func (r *Reflex) complain(what, uid string, err error) {
	if !errors.Is(err, fs.ErrNotExist) {
		r.cfg.Log.Warn("bursts: "+what, "pod", uid, "error", err)
	}
}

// grow gives a pod that is near to its memory limit more, as long as it is. Where there is no more, its guard is
// lifted, and the kernel does what it does at limits. r.memory is held.
func (r *Reflex) grow(uid string) {
	for {
		free, err := r.cfg.Tree.MemoryFree(uid)
		if err != nil {
			return // it is gone, which whoever removed it will tell
		}
		r.mu.Lock()
		w, p := r.pods[uid], r.core.pods[uid]
		if w == nil {
			r.mu.Unlock()
			return
		}
		if lacks := r.core.memoryLacks(p, free); lacks > 0 {
			behind := r.core.memoryBehind(p)
			r.mu.Unlock()
			r.giveWay(behind, lacks)
			r.mu.Lock()
		}
		r.accountLocked(w)
		had := p.memory.extra
		extra := r.core.near(p, free)
		room := int64(0)
		if r.core.guards(p, throttle.Now()) {
			room = p.memory.room()
		}
		r.mu.Unlock()
		if extra == had {
			if w.armed && room == 0 {
				r.arm(uid)
			}
			return
		}
		if err := r.cfg.Tree.SetMemoryBurst(uid, extra, room); err != nil {
			r.mu.Lock()
			r.core.memoryIs(p, had)
			r.mu.Unlock()
			r.complain("a memory limit isn't raised", uid, err)
			return
		}
		w.armed = room > 0
		r.alarm(uid, room)
		r.mu.Lock()
		w.last = throttle.Now()
		r.stats.Grown++
		r.mu.Unlock()
		signal(r.changed)
		signal(r.wake)
		signal(r.memoryWake)
	}
}

// giveWay takes from pods what they don't use, until one before them in rank lacks nothing. r.memory is held.
func (r *Reflex) giveWay(behind []string, lacks int64) {
	for _, uid := range behind {
		if lacks <= 0 {
			return
		}
		free, err := r.cfg.Tree.MemoryFree(uid)
		if err != nil {
			continue // it is gone
		}
		r.mu.Lock()
		p := r.core.pods[uid]
		had, extra := p.memory.extra, p.giveWay(free, lacks)
		r.mu.Unlock()
		if extra == had {
			continue
		}
		if lowered, _ := r.lowerTo(uid, extra); lowered {
			lacks -= had - extra
			r.arm(uid)
		}
	}
}

// accountLocked brings a pod's sums up to date before something changes.
func (r *Reflex) accountLocked(w *watched) {
	if used, err := w.used.Read(); err == nil {
		r.core.account(r.core.pods[w.uid], used, throttle.Now())
	}
}

// lookAfterMemory lowers limits again. It looks once a second while a pod has more than its size.
func (r *Reflex) lookAfterMemory(ctx context.Context) {
	tick := time.NewTicker(slowEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.memoryWake:
			tick.Reset(slowEvery)
		}
		ended, active := r.lookAtMemory()
		for _, uid := range ended {
			r.Remove(uid)
		}
		if !active {
			tick.Stop()
		}
	}
}

// lookAtMemory answers the pods that have given back what they had when they ended to burst.
func (r *Reflex) lookAtMemory() (ended []string, active bool) {
	r.memory.Lock()
	defer r.memory.Unlock()
	pods := r.memoryPods()
	r.mu.Lock()
	granted := r.granted
	r.granted = false
	r.mu.Unlock()
	for _, uid := range slices.Backward(pods) { // what there is goes to the first in rank
		r.guardAnew(uid, granted)
	}
	for _, uid := range pods {
		r.mu.Lock()
		w, p := r.pods[uid], r.core.pods[uid]
		if w == nil || p.memory.extra == 0 && !p.memory.ending {
			r.mu.Unlock()
			continue
		}
		ending := p.memory.ending
		r.mu.Unlock()
		gone := r.lowerMemory(uid)
		r.mu.Lock()
		has := p.memory.extra
		if has > 0 {
			w.last = throttle.Now()
			signal(r.wake)
		}
		r.mu.Unlock()
		if ending && (gone || has == 0) {
			ended = append(ended, uid)
			continue
		}
		active = active || has > 0 && !gone
	}
	return ended, active
}

// guardAnew guards a pod for which there is more now, and doesn't one for which there isn't. With granted, what
// waits at its guard looks for more. r.memory is held.
func (r *Reflex) guardAnew(uid string, granted bool) {
	r.mu.Lock()
	w, p := r.pods[uid], r.core.pods[uid]
	if w == nil {
		r.mu.Unlock()
		return
	}
	p.memory.starved = false
	changed := w.armed != r.core.guards(p, throttle.Now())
	r.mu.Unlock()
	if changed {
		r.arm(uid)
	}
	if changed || granted {
		r.grow(uid)
	}
}

// memoryPods answers the pods that may have, or have, more memory than their size, those first that give theirs up
// first.
func (r *Reflex) memoryPods() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var uids []string
	for uid, p := range r.core.pods {
		if p.memory.most() > 0 || p.memory.extra > 0 || p.memory.ending {
			uids = append(uids, uid)
		}
	}
	slices.SortFunc(uids, func(a, b string) int {
		return cmp.Or(cmp.Compare(r.core.pods[b].Rank, r.core.pods[a].Rank), cmp.Compare(a, b))
	})
	return uids
}

// lowerMemory gives a pod less, where the core wants that and it isn't in use. r.memory is held.
func (r *Reflex) lowerMemory(uid string) (gone bool) {
	free, err := r.cfg.Tree.MemoryFree(uid)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	r.mu.Lock()
	p := r.core.pods[uid]
	had := p.memory.extra
	// Nobody is killed for it: what is in use and a little more stays.
	extra := max(r.core.lower(p, free, throttle.Now()), had-p.memory.idle(free))
	r.mu.Unlock()
	if extra >= had {
		return false
	}
	if _, gone := r.lowerTo(uid, extra); gone {
		return true
	}
	r.arm(uid)
	r.grow(uid)
	return false
}

// lowerTo tries it; with more in use a pod keeps what it has. r.memory is held.
func (r *Reflex) lowerTo(uid string, extra int64) (lowered, gone bool) {
	r.mu.Lock()
	w, p := r.pods[uid], r.core.pods[uid]
	r.accountLocked(w)
	r.mu.Unlock()
	err := r.cfg.Tree.SetMemoryBurst(uid, extra, 0)
	if errors.Is(err, nodelet.ErrMemoryInUse) {
		return false, false
	}
	if err != nil {
		r.complain("a memory limit isn't lowered", uid, err)
		return false, errors.Is(err, fs.ErrNotExist)
	}
	r.mu.Lock()
	r.accountLocked(w)
	r.core.memoryIs(p, extra)
	r.mu.Unlock()
	signal(r.changed)
	return true, false
}

// endMemory takes back what a pod has. It reports false where it still uses it; then that is looked after.
func (r *Reflex) endMemory(uid string) (ended bool) {
	r.memory.Lock()
	defer r.memory.Unlock()
	r.mu.Lock()
	w, p := r.pods[uid], r.core.pods[uid]
	if w == nil || p.memory.size == 0 {
		r.mu.Unlock()
		return true
	}
	r.accountLocked(w)
	r.mu.Unlock()
	r.alarm(uid, 0)
	err := r.cfg.Tree.SetMemoryBurst(uid, 0, 0)
	inUse := errors.Is(err, nodelet.ErrMemoryInUse)
	if err != nil && !inUse {
		r.complain("a memory limit isn't lowered", uid, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p.memory.ending = inUse
	w.armed = false
	if !inUse {
		r.core.memoryIs(p, 0)
		p.memory = memoryOf{}
		return true
	}
	p.Bound = 0
	signal(r.memoryWake)
	return r.life.Err() != nil
}
