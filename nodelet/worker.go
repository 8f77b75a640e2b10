package nodelet

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
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
	publish func(w *worker, status *corev1.PodStatus, events []Event, finished bool)

	mu     sync.Mutex // guards queue and assign
	queue  []input    // bounded by what is under way: each action answers once, and containers are few
	assign *Assignment

	tasks     sync.WaitGroup
	saving    bool // a flush is under way
	saveAt    time.Time
	saveDelay time.Duration
	lastSaved []byte // checkpoint
	lastKey   string
	status    *corev1.PodStatus // as published
}

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

func (w *worker) post(in input) {
	w.mu.Lock()
	if a, ok := in.(inAssign); ok {
		w.assign = &a.Assignment
	} else {
		w.queue = append(w.queue, in)
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
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
	defer w.tasks.Wait()
	defer w.cancel()
	w.saveAssignment()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		for in, ok := w.take(); ok; in, ok = w.take() {
			w.handle(ctx, in)
			if w.machine.finished {
				w.report()
				return
			}
		}
		if w.machine.adopted {
			w.step(ctx, nil)
			w.report()
			w.save()
		}
		wait := time.Hour
		for _, t := range []time.Time{w.machine.wakeAt, w.saveAt} {
			if !t.IsZero() {
				wait = min(wait, max(0, time.Until(t)))
			}
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			if err := w.host.saver.flush(); err != nil {
				w.host.cfg.Logger.Error("record not written", "pod", w.uid, "error", err)
			}
			return
		case <-w.wake:
		case <-timer.C:
		}
	}
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
		w.step(ctx, in)
		w.saveAssignment()
	default:
		w.step(ctx, in)
	}
}

func (w *worker) step(ctx context.Context, in input) {
	for _, act := range w.machine.step(time.Now(), in) {
		a, allocated := w.machine.a, w.machine.allocated
		w.tasks.Go(func() {
			out := w.host.do(ctx, a, allocated, act, w.post)
			if ctx.Err() != nil {
				return // given up by us: it says nothing about the pod
			}
			w.post(out)
			if resized, ok := out.(inResized); ok && resized.Err == nil {
				w.host.updateRecords(act.(actResize).Attempts, resized.Resources)
			}
		})
	}
}

// hearExit reads the container's last words, then tells the machine.
func (w *worker) hearExit(ctx context.Context, e Exit) {
	in := inExit{ID: e.ID, ExitCode: e.ExitCode, OOMKilled: e.OOMKilled, At: e.At}
	c, attempt := w.machine.byID(e.ID)
	if c == nil {
		return
	}
	spec, log := c.spec, w.logPath(c.spec.Name, attempt)
	w.tasks.Go(func() {
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

// report publishes the status where it changed.
func (w *worker) report() {
	status, events := w.machine.status(), w.machine.takeEvents()
	if w.status != nil && len(events) == 0 && !w.machine.finished && equality.Semantic.DeepEqual(*w.status, status) {
		return
	}
	w.status = &status
	w.publish(w, &status, events, w.machine.finished)
}

// saveAssignment puts down the assignment where what it asks for changed; the control plane's echo of
// our own status isn't worth a write.
func (w *worker) saveAssignment() {
	a := w.machine.a
	if key := assignmentKey(a); key != w.lastKey {
		w.lastKey = key
		w.host.saver.put(fileAssignment, a)
	}
}

// save writes the record behind the actions, one flush at a time.
func (w *worker) save() {
	if raw, err := json.Marshal(w.machine.checkpoint()); err != nil {
		w.saved(err)
	} else if !bytes.Equal(raw, w.lastSaved) {
		w.lastSaved = raw
		w.host.saver.put(fileCheckpoint, json.RawMessage(raw))
	}
	if w.saving || w.machine.settingUp || time.Now().Before(w.saveAt) || !w.host.saver.pending() {
		return // set-up flushes by itself
	}
	w.saving, w.saveAt = true, time.Time{}
	w.tasks.Go(func() { w.post(inSaved{w.host.saver.flush()}) })
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
	if g := deletionGrace(a.Pod); g != nil {
		key += "-" + strconv.FormatInt(*g, 10)
	}
	return key
}
