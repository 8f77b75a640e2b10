package main

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func seen(i int, node, phase string) seenPod {
	return seenPod{name: []byte(podName(i)), uid: []byte("uid"), node: []byte(node), phase: []byte(phase)}
}

func TestTracker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTracker(2)
		var marked []string
		tr.mark = func(p boundPod) { marked = append(marked, p.name) }
		start := time.Now()
		began := []time.Time{start, start.Add(time.Second)}
		for _, ev := range []seenPod{
			seen(0, "", "Pending"),
			seen(1, "n1", "Pending"),
			seen(0, "n2", "Pending"),
			seen(0, "n2", "Pending"), // some other change
			seen(1, "n1", "Running"),
			seen(1, "n1", "Running"),
		} {
			tr.note(ev)
			time.Sleep(time.Second) // in fake time
		}
		if !slices.Equal(marked, []string{podName(1), podName(0)}) {
			t.Errorf("marked %v: each once, when it is bound", marked)
		}
		select {
		case <-tr.all:
			t.Error("all run, with one that doesn't")
		default:
		}
		var r peerRound
		tr.result(&r, start, began)
		if r.wrong != 1 || !slices.Equal(r.bound, []time.Duration{2 * time.Second, 0}) || r.allBound != 2*time.Second ||
			!slices.Equal(r.running, []time.Duration{3 * time.Second}) || r.allRunning != 4*time.Second {
			t.Errorf("%+v", r)
		}
		tr.note(seen(0, "n3", "Running"))
		if err := tr.wait(t.Context()); err != nil {
			t.Error(err)
		}
		tr.result(&r, start, began)
		if r.wrong != 1 || len(r.running) != 2 || r.allRunning != 6*time.Second {
			t.Errorf("a pod was on two nodes: %+v", r)
		}
	})
}

func TestTrackerCountsStrangers(t *testing.T) {
	tr := newTracker(1)
	tr.note(seen(1, "n", "Running"))
	tr.note(seen(0, "n", "Running"))
	var r peerRound
	if tr.result(&r, time.Now(), make([]time.Time, 1)); r.wrong != 1 || len(r.running) != 1 {
		t.Errorf("%+v", r)
	}
}

// One that never runs is lost; the others' progress keeps the wait going.
func TestTrackerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTracker(4)
		start := time.Now()
		go func() {
			for i := range 3 {
				time.Sleep(noProgress - time.Second)
				tr.note(seen(i, "n", "Running"))
			}
		}()
		if err := tr.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 4*noProgress-3*time.Second || took > 4*noProgress {
			t.Errorf("gave up after %v", took)
		}
		var r peerRound
		tr.result(&r, start, make([]time.Time, 4))
		if r.wrong != 1 {
			t.Errorf("%d are lost, want 1", r.wrong)
		}
	})
}

func TestTrackerWaitEndsWithTheRun(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	because := errors.New("the marker failed")
	cancel(because)
	if err := newTracker(1).wait(ctx); !errors.Is(err, because) {
		t.Errorf("%v", err)
	}
}
