package nodelet

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// worker is the goroutine around one pod's machine. It feeds the machine, has the actions done outside
// of itself, and publishes what the machine says of the pod.
type worker struct {
	uid     string
	cancel  context.CancelFunc
	done    chan struct{} // closed when the goroutine and its tasks have ended
	wake    chan struct{}
	machine *machine // belongs to the goroutine
	host    *host
	publish func(r Report)
	// publishSlot takes the place of publish until the slot has its pod.
	publishSlot func(w *worker, r SlotReport)

	mu     sync.Mutex // guards what follows
	queue  []input    // bounded by what is under way: each action answers once, and containers are few
	assign *Assignment
	steady []string // IDs of the containers, where all run and nothing is under way

	hands     *hands
	tasks     sync.WaitGroup // of hands
	timer     *time.Timer    // wakes the worker; nil: it never had to
	timerAt   time.Time      // when; zero: never
	fired     atomic.Bool    // it did since it was set
	saving    bool           // a flush is under way
	unsaved   bool           // the machine took a step since its checkpoint was made
	saveAt    time.Time      // when to save; zero: there is nothing to save
	saveDelay time.Duration
	lastSaved []byte // checkpoint
	lastKey   string
	moved     bool         // the machine took a step since the status was computed
	reportAt  time.Time    // when to report at the latest, of a pod on its way to running
	status    []byte       // as published
	boost     *BoostReport // as published
	slot      *SlotReport  // as published
	bursts    bursts
}

// saveLag is how far a record may lag behind its pod. What happens meanwhile shares a write.
const saveLag = 100 * time.Millisecond

// settleTime is how long a pod that only makes progress on its way to running is not told of: most are there
// by then, and each report costs the control plane and all who watch it as much as the one that counts.
const settleTime = 20 * time.Millisecond

// Inputs that the worker turns into the machine's.
type (
	inFunc func(*machine) // runs between two steps
	// inRuntimeExit is an end without its message.
	inRuntimeExit struct{ Exit }
	// inList is what the runtime lists of this pod, without messages.
	inList struct {
		At         time.Time
		Containers []ContainerState
	}
	inSaved struct{ Err error }
)

// stop has the worker end at its next turn. done says when it has.
func (w *worker) stop() {
	w.cancel()
	w.signal()
}

func (w *worker) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// begin has f done by another goroutine, and the worker wait for it at its end.
func (w *worker) begin(f func()) {
	w.tasks.Add(1)
	w.hands.do(func() {
		defer w.tasks.Done()
		f()
	})
}

func (w *worker) post(in input) {
	w.mu.Lock()
	if a, ok := in.(inAssign); ok {
		w.assign = &a.Assignment
	} else {
		w.queue = append(w.queue, in)
	}
	w.mu.Unlock()
	w.signal()
}

// take answers the next input. Of several assignments only the latest counts.
func (w *worker) take() (input, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.assign != nil && w.machine.adopted {
		in := inAssign{*w.assign}
		w.assign = nil
		return in, true
	}
	if len(w.queue) == 0 {
		return nil, false
	}
	in := w.queue[0]
	w.queue = w.queue[1:]
	return in, true
}

// run ends when ctx does or the pod is finished. The first input is an inList.
func (w *worker) run(ctx context.Context) {
	defer close(w.done)
	defer w.endBursts()
	defer w.tasks.Wait()
	defer w.cancel()
	w.saveAssignment()
	defer w.setTimer(time.Time{})
	for {
		for in, ok := w.take(); ok; in, ok = w.take() {
			w.handle(ctx, in)
			if w.machine.finished {
				w.report()
				return
			}
		}
		now := time.Now()
		if w.machine.adopted {
			if w.moved || !w.machine.wakeAt.IsZero() && !now.Before(w.machine.wakeAt) {
				w.step(ctx, nil)
			}
			w.reportOnce(now)
			w.save(now)
		}
		w.setTimer(w.next())
		<-w.wake
		if ctx.Err() != nil {
			w.saveAtEnd()
			return
		}
	}
}

// saveAtEnd writes what isn't written yet, as far as that can be done now.
func (w *worker) saveAtEnd() {
	var err error
	if w.unsaved {
		err = w.putCheckpoint()
	}
	if err == nil {
		err = w.host.saver.flush()
	}
	if err != nil {
		w.host.cfg.Logger.Error("record not written", "pod", w.uid, "error", err)
	}
}

// next answers when there is something to do though nothing happens. Zero is never.
func (w *worker) next() time.Time {
	var next time.Time
	until := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	until(w.machine.wakeAt)
	until(w.reportAt)
	if !w.held() {
		until(w.saveAt)
	}
	return next
}

// setTimer has the worker woken at t. It isn't a channel's timer, as that goes into the heap of timers and out
// of it each time that somebody waits for it.
func (w *worker) setTimer(t time.Time) {
	if t.Equal(w.timerAt) && !w.fired.Load() {
		return
	}
	w.fired.Store(false)
	switch {
	case w.timer == nil:
		w.timer = time.AfterFunc(time.Until(t), func() {
			w.fired.Store(true)
			w.signal()
		})
	case t.IsZero():
		w.timer.Stop()
	default:
		w.timer.Reset(time.Until(t))
	}
	w.timerAt = t
}

func (w *worker) handle(ctx context.Context, in input) {
	switch in := in.(type) {
	case inFunc:
		in(w.machine)
	case inRuntimeExit:
		w.hearExit(ctx, in.Exit)
	case inList:
		w.hearList(ctx, in)
	case inSaved:
		w.saved(in.Err)
	case inAssign:
		if w.machine.isSlot() && in.Assignment.Slot == NoSlot {
			w.putAssignment(in.Assignment) // before its containers start
		}
		w.step(ctx, in)
		w.saveAssignment()
	default:
		w.step(ctx, in)
	}
}

func (w *worker) step(ctx context.Context, in input) {
	w.moved = true
	actions := w.machine.step(time.Now(), in)
	defer w.tellBursts()
	w.unsaved = w.unsaved || in != nil || len(actions) > 0
	for _, act := range actions {
		a, allocated := w.machine.a, w.machine.allocated
		if raisesBoosts(act) {
			// One that is killed now is followed by one that leaves containers what they have.
			if err := w.putCheckpoint(); err != nil {
				w.saved(err)
			}
		}
		w.begin(func() {
			out := w.host.do(ctx, a, allocated, act, w.post)
			if ctx.Err() != nil {
				return // given up by us: it says nothing about the pod
			}
			w.post(out)
			if resized, ok := out.(inResized); ok && resized.Err == nil {
				w.host.updateRecords(act.(actResize).Attempts, resized.Resources.Boosted(resized.Boosts))
			}
		})
	}
}

// raisesBoosts reports an action that gives containers CPU beyond their sizes.
func raisesBoosts(act action) bool {
	switch act := act.(type) {
	case actSetUp:
		return len(act.Boosts) > 0
	case actResize:
		return len(act.Boosts) > 0
	}
	return false
}

// hearExit reads the container's last words, then tells the machine.
func (w *worker) hearExit(ctx context.Context, e Exit) {
	in := inExit{ID: e.ID, ExitCode: e.ExitCode, OOMKilled: e.OOMKilled, At: e.At}
	c, attempt := w.machine.byID(e.ID)
	if c == nil {
		return
	}
	spec, log := c.spec, w.logPath(c.spec.Name, attempt)
	w.begin(func() {
		in.Message = terminationMessage(ctx, spec, w.host.dir, log, attempt, e.ExitCode != 0)
		w.post(in)
	})
}

func (w *worker) logPath(name string, attempt int32) string {
	pod := w.machine.a.Pod
	return containerLogPath(podLogDir(w.host.cfg.LogDir, pod.Namespace, pod.Name, w.uid), name, attempt)
}

// hearList adds last words to ends that the machine has not heard of.
func (w *worker) hearList(ctx context.Context, l inList) {
	in := inObserved{At: l.At, Containers: make([]observed, len(l.Containers))}
	for i, state := range l.Containers {
		in.Containers[i].ContainerState = state
		c := w.machine.container(state.Name)
		if c == nil || state.State != StateExited || c.phase == phaseExited && c.attempt == state.Attempt {
			continue
		}
		in.Containers[i].Message = terminationMessage(ctx, c.spec, w.host.dir, w.logPath(state.Name, state.Attempt), state.Attempt, state.ExitCode != 0)
	}
	w.step(ctx, in)
}

// reportOnce reports what the machine has come to, unless that may wait for more.
func (w *worker) reportOnce(now time.Time) {
	if !w.moved && w.reportAt.IsZero() {
		return
	}
	if w.machine.settling() && sameBoost(w.boost, w.machine.boostReport()) {
		if w.reportAt.IsZero() {
			w.reportAt = now.Add(settleTime)
		}
		if now.Before(w.reportAt) {
			w.moved = false
			return
		}
	}
	w.report()
}

// report publishes the status where it changed.
func (w *worker) report() {
	w.moved, w.reportAt = false, time.Time{}
	if w.machine.isSlot() {
		w.machine.takeEvents()
		if r := w.machine.slotReport(); w.slot == nil || *w.slot != r {
			w.slot = &r
			w.publishSlot(w, r)
		}
		return
	}
	status, events, boost := w.machine.status(), w.machine.takeEvents(), w.machine.boostReport()
	raw, err := status.Marshal()
	if err == nil && w.status != nil && len(events) == 0 && !w.machine.finished && bytes.Equal(w.status, raw) && sameBoost(w.boost, boost) {
		return
	}
	w.status, w.boost = raw, boost
	steady := w.machine.steady()
	w.mu.Lock()
	w.steady = steady
	w.mu.Unlock()
	pod := w.machine.a.Pod
	w.publish(Report{
		UID: w.uid, Namespace: pod.Namespace, Name: pod.Name, Status: status, Encoded: raw, Events: events, Finished: w.machine.finished, Boost: boost,
	})
}

func sameBoost(a, b *BoostReport) bool { return a == b || a != nil && b != nil && *a == *b }

// runsAs reports whether a list of the pod's containers says nothing that its machine doesn't know.
func (w *worker) runsAs(list []ContainerState) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(list) == 0 || len(list) != len(w.steady) {
		return false
	}
	for i := range list {
		if list[i].State != StateRunning || !slices.Contains(w.steady, list[i].ID) {
			return false
		}
	}
	return true
}

// saveAssignment puts down the assignment where what it asks for changed; the control plane's echo of
// our own status isn't worth a write.
func (w *worker) saveAssignment() {
	w.putAssignment(w.machine.a)
	w.machine.a.Encoded = nil // the record has it
}

func (w *worker) putAssignment(a Assignment) {
	if a.Slot == SlotCapacity {
		return // nothing of it is on this host
	}
	if key := assignmentKey(a); key != w.lastKey {
		w.lastKey = key
		w.host.saver.put(recordAssignment, a)
	}
}

// save writes the record behind the actions, one flush at a time.
func (w *worker) save(now time.Time) {
	if w.unsaved && w.saveAt.IsZero() {
		w.saveAt = now.Add(saveLag)
	}
	if w.held() || w.saveAt.IsZero() || now.Before(w.saveAt) {
		return
	}
	w.saveAt = time.Time{}
	if err := w.putCheckpoint(); err != nil {
		w.saved(err)
		return
	}
	if !w.host.saver.pending() {
		return
	}
	w.saving = true
	w.begin(func() { w.post(inSaved{w.host.saver.flush()}) })
}

// held reports that a flush is under way, whose end wakes the worker. Set-up flushes by itself.
func (w *worker) held() bool { return w.saving || w.machine.settingUp }

// putCheckpoint has what the machine knows written by the next flush.
func (w *worker) putCheckpoint() error {
	w.unsaved = false
	if w.machine.a.Slot == SlotCapacity {
		return nil
	}
	raw, err := w.machine.checkpoint().marshal()
	if err == nil && !bytes.Equal(raw, w.lastSaved) {
		w.lastSaved = raw
		w.host.saver.put(recordCheckpoint, raw)
	}
	return err
}

func (w *worker) saved(err error) {
	w.saving = false
	if err == nil {
		w.saveDelay = 0
		return
	}
	w.saveDelay = min(max(2*w.saveDelay, time.Second), retryLimit)
	w.saveAt = time.Now().Add(w.saveDelay)
	w.host.cfg.Logger.Error("record not written; trying again", "pod", w.uid, "wait", w.saveDelay, "error", err)
}

// assignmentKey changes when what an assignment asks for does.
func assignmentKey(a Assignment) string {
	key := configHash(a)
	if a.Slot != NoSlot {
		key += "-" + a.Slot.String()
	}
	if g := deletionGrace(a.Pod); g != nil {
		key += "-" + strconv.FormatInt(*g, 10)
	}
	return key
}
