package nodes

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/controlplane"
)

// readyOf answers a pod's Ready condition.
func readyOf(pod *corev1.Pod) corev1.PodCondition {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c
		}
	}
	return corev1.PodCondition{}
}

// TestSilent: a nodelet whose connection stands and that says nothing counts as gone, and its pods as not
// ready, until it is back.
func TestSilent(t *testing.T) {
	w := newWorldWith(t, Config{Silence: 200 * time.Millisecond}, podOn("a", "p"), podOn("a", "starts"), podOn("a", "ended"), podOn("b", "other"))
	w.store.edit("other", func(p *corev1.Pod) { isReady(&p.Status) })
	told := []*nodev1.PodReport{reportOf("p", corev1.PodRunning, isReady), reportOf("starts", corev1.PodPending), reportOf("ended", corev1.PodFailed, isReady)}
	n, _ := w.connect("a", told...)
	if got := n.end(); got != codes.DeadlineExceeded {
		t.Errorf("the session ends with %s", got)
	}
	w.until(t, "the node isn't ready", func() bool { return w.store.ready("a") == corev1.ConditionUnknown && !w.sched.known()["a"].Ready })
	w.until(t, "the pod isn't ready", func() bool { return readyOf(w.store.pod("p")).Status == corev1.ConditionFalse })
	p := w.store.pod("p")
	if ready := readyOf(p); p.Status.Phase != corev1.PodRunning || ready.Reason != "NodeNotReady" || ready.LastTransitionTime.IsZero() {
		t.Errorf("the pod is %s, %+v", p.Status.Phase, ready)
	}
	w.until(t, "an event", func() bool { events, _ := w.store.List("events", ""); return len(events) == 1 })
	events, _ := w.store.List("events", "")
	if e := events[0].(*corev1.Event); e.Reason != "NodeNotReady" || e.Type != corev1.EventTypeWarning || e.InvolvedObject.Name != "p" {
		t.Errorf("the event is %+v", e)
	}
	if readyOf(w.store.pod("ended")).Status != corev1.ConditionTrue || readyOf(w.store.pod("other")).Status != corev1.ConditionTrue {
		t.Error("pods that ended, or that another node runs, are touched")
	}
	w.connect("a", told...)
	w.until(t, "ready again", func() bool { return readyOf(w.store.pod("p")).Status == corev1.ConditionTrue })
}

// TestLostConnection: nothing more is placed on the node at once; its pods stay ready for as long as a
// nodelet may be silent.
func TestLostConnection(t *testing.T) {
	w := newWorld(t, podOn("a", "p"))
	n, _ := w.connect("a", reportOf("p", corev1.PodRunning, isReady))
	w.until(t, "ready", func() bool { return readyOf(w.store.pod("p")).Status == corev1.ConditionTrue })
	heard := time.Now()
	n.leave()
	w.until(t, "the node is unknown", func() bool { return w.store.ready("a") == corev1.ConditionUnknown && !w.sched.known()["a"].Ready })
	w.until(t, "the session is over", func() bool { return !w.hub.Connected("a") })
	w.hub.podsLost(t.Context(), heard.Add(time.Hour-time.Minute))
	if readyOf(w.store.pod("p")).Status != corev1.ConditionTrue {
		t.Fatal("the pod isn't ready at once")
	}
	// One that is back in time changes nothing, however late it is.
	n, _ = w.connect("a", reportOf("p", corev1.PodRunning, isReady))
	w.hub.podsLost(t.Context(), heard.Add(24*time.Hour))
	if readyOf(w.store.pod("p")).Status != corev1.ConditionTrue {
		t.Fatal("the pod of a connected node isn't ready")
	}
	n.leave()
	w.until(t, "the session is over", func() bool { return !w.hub.Connected("a") })
	w.hub.podsLost(t.Context(), time.Now().Add(time.Hour+time.Minute))
	if readyOf(w.store.pod("p")).Status != corev1.ConditionFalse {
		t.Error("the pod stays ready")
	}
}

// TestDeletedNode: the scheduler forgets a node that was deleted while its nodelet was there.
func TestDeletedNode(t *testing.T) {
	w := newWorld(t)
	n, _ := w.connect("a")
	o, _ := w.store.Get(nodeKey("a"))
	w.store.remove(o)
	n.leave()
	w.until(t, "forgotten", func() bool { _, ok := w.sched.known()["a"]; return !ok })
}

// scripted is the hub's end of a session whose nodelet speaks at given times.
type scripted struct {
	grpc.BidiStreamingServer[nodev1.FromNode, nodev1.ToNode]
	ctx   context.Context
	every time.Duration
	left  int
	say   *nodev1.FromNode
}

func (s *scripted) Recv() (*nodev1.FromNode, error) {
	if s.left == 0 {
		<-s.ctx.Done()
		return nil, io.EOF
	}
	s.left--
	select {
	case <-time.After(s.every):
		return s.say, nil
	case <-s.ctx.Done():
		return nil, io.EOF
	}
}

// TestSilence: what counts is the time in which a nodelet could have spoken.
func TestSilence(t *testing.T) {
	heartbeat := &nodev1.FromNode{Message: &nodev1.FromNode_Heartbeat{Heartbeat: &nodev1.Heartbeat{}}}
	segments := &nodev1.FromNode{Message: &nodev1.FromNode_Segments{Segments: &nodev1.Segments{Segments: []*nodev1.Segment{segmentFor("p", 1)}}}}
	for _, c := range []struct {
		name  string
		every time.Duration
		say   *nodev1.FromNode
		took  time.Duration
	}{
		{"heartbeats every ten seconds", 10 * time.Second, heartbeat, 100*10*time.Second + defaultSilence},
		{"a heartbeat too late", defaultSilence + time.Second, heartbeat, defaultSilence},
		{"a ledger that takes minutes", 10 * time.Second, segments, 100*(10*time.Second+5*time.Minute) + defaultSilence},
	} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Until(time.UnixMilli(segmentEpoch + 10_000))) // the bubble's clock starts in 2000
			b := newBell()
			led := newFakeLedger(b)
			led.intercept(func([]usagev1.Segment) error { time.Sleep(5 * time.Minute); return nil })
			hub, err := New(Config{
				Store: newFakeStore(b), Ledger: led, Scheduler: &fakeScheduler{bell: b}, Log: slog.New(slog.DiscardHandler),
				Redeem: func(string) error { return nil },
				Sign:   func([]byte, string) ([]byte, []byte, error) { return nil, nil, nil },
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			s := &session{node: "a", cancel: cancel, wake: make(chan struct{}, 1), dirty: map[string]controlplane.Key{}}
			began := time.Now()
			ended := make(chan error, 1)
			go func() {
				ended <- hub.receive(ctx, s, &scripted{ctx: ctx, every: c.every, left: 100, say: c.say}, &nodev1.Hello{})
			}()
			<-ended
			if took := time.Since(began); took != c.took || status.Code(context.Cause(ctx)) != codes.DeadlineExceeded {
				t.Errorf("%s: it ends after %s with %v, want %s", c.name, took, context.Cause(ctx), c.took)
			}
		})
	}
}
