package session

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	corev1 "k8s.io/api/core/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/nodelet"
)

// TestSegmentsFirst: that a pod ended is told after its segments were sent, also where the session that
// it ended in couldn't send them any more.
func TestSegmentsFirst(t *testing.T) {
	for phase, want := range map[corev1.PodPhase]string{corev1.PodRunning: "reports u1=Running*", corev1.PodFailed: "reports u1=Failed*"} {
		t.Run(string(phase), func(t *testing.T) {
			w := newWorld(t)
			w.run()
			c, _ := w.next()
			c.expect("segments", "heartbeat")
			r := reportOf("u1", phase)
			r.Finished = true
			// The journal says nothing by itself, as when both come at once.
			w.journal.mu.Lock()
			w.journal.closed = append(w.journal.closed, closedSegment("u1", 1))
			w.journal.mu.Unlock()
			w.pods.set(r)
			c.expect("segments u1/1", want)
			c.end <- errors.New("lost")
			c, hello := w.next()
			if len(hello.Pods) != 0 {
				t.Errorf("hello tells%s", describeReports(hello.Pods))
			}
			c.expect("segments u1/1", "segments", "heartbeat", want)
		})
	}
}

// TestManySegments: more than may be in flight are sent as they are acknowledged, each once, and the pods
// that ended are told last of all.
func TestManySegments(t *testing.T) {
	const count = 2*maxUnacked + batch
	for _, when := range []string{"before the session", "during it"} {
		t.Run(when, func(t *testing.T) {
			w := newWorld(t)
			r := reportOf("u1", corev1.PodSucceeded)
			r.Finished = true
			var all []usagev1.Segment
			for i := range count {
				all = append(all, closedSegment("u1", int64(i+1)))
			}
			if when == "before the session" {
				w.pods.all["u1"] = r
				w.journal.add(all...)
			}
			w.run()
			c, _ := w.next()
			if when == "during it" {
				c.expect("segments", "heartbeat")
				w.journal.add(all...)
				w.pods.set(r)
			}
			seen, unacked, most := map[int64]bool{}, []*nodev1.SegmentID{}, 0
			for {
				m := c.receive()
				if m.GetReports() != nil {
					break
				}
				for _, s := range m.GetSegments().GetSegments() {
					if seen[s.Sequence] {
						t.Fatalf("segment %d comes twice", s.Sequence)
					}
					seen[s.Sequence] = true
					unacked = append(unacked, id(s.PodUid, s.Sequence))
				}
				most = max(most, len(unacked))
				if len(unacked) == maxUnacked || len(seen) == count {
					for len(unacked) > 0 {
						n := min(batch, len(unacked))
						c.ack(unacked[:n]...)
						unacked = unacked[n:]
					}
				}
			}
			if len(seen) != count || most > maxUnacked {
				t.Errorf("%d of %d segments precede the report, %d in flight", len(seen), count, most)
			}
		})
	}
}

// broken is a stream that carries so many messages.
type broken struct {
	grpc.BidiStreamingClient[nodev1.FromNode, nodev1.ToNode]
	left int
	sent []string
}

func (b *broken) Send(m *nodev1.FromNode) error {
	if b.left == 0 {
		return errors.New("broken")
	}
	b.left--
	b.sent = append(b.sent, tell(m))
	return nil
}

// TestNothingIsLost: what was taken and not told is put back, whatever broke.
func TestNothingIsLost(t *testing.T) {
	for left := range 3 {
		pods, journal := newFakePods(), newFakeJournal()
		journal.add(closedSegment("u1", 1))
		r := reportOf("u1", corev1.PodSucceeded)
		r.Events = []nodelet.Event{{Reason: "Killing"}}
		pods.set(r)
		stream := &broken{left: left}
		s := &sender{cfg: &Config{Pods: pods, Journal: journal}, stream: stream, sent: map[usagev1.ID]bool{}}
		err := s.changes()
		if left == 2 {
			if want := "[segments u1/1 reports u1=Succeeded+Killing]"; err != nil || fmt.Sprint(stream.sent) != want || pods.returned != 0 {
				t.Errorf("%v was sent, %v", stream.sent, err)
			}
			continue
		}
		if err == nil || pods.returned != 1 || len(pods.Take(batch)) != 1 {
			t.Errorf("after %d messages: %v, and %d reports were put back", left, err, pods.returned)
		}
	}
}

// TestEndMustWait: an end that is found out together with more segments than may be in flight waits.
func TestEndMustWait(t *testing.T) {
	pods, journal := newFakePods(), newFakeJournal()
	for i := range maxUnacked + 1 {
		journal.add(closedSegment("u1", int64(i+1)))
	}
	pods.set(reportOf("u1", corev1.PodSucceeded))
	stream := &broken{left: 1000}
	s := &sender{cfg: &Config{Pods: pods, Journal: journal}, stream: stream, sent: map[usagev1.ID]bool{}}
	if err := s.changes(); err != nil || pods.returned != 1 || !s.behind {
		t.Errorf("%v; %d reports were put back", err, pods.returned)
	}
	if last := stream.sent[len(stream.sent)-1]; !strings.HasPrefix(last, "segments ") {
		t.Errorf("the last message is %.40q", last)
	}
}

// TestBehind: a sender with too many segments in flight neither tells of pods nor turns in circles.
func TestBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pods, journal := newFakePods(), newFakeJournal()
		for i := range maxUnacked + 1 {
			journal.add(closedSegment("u1", int64(i+1)))
		}
		pods.set(reportOf("u1", corev1.PodSucceeded))
		stream := &broken{left: 1000}
		s := &sender{cfg: &Config{Pods: pods, Journal: journal, Heartbeat: MaxHeartbeat}, stream: stream, sent: map[usagev1.ID]bool{}}
		s.pool.hello() // with which a session begins
		acked, received := make(chan []usagev1.ID), make(chan error)
		done := make(chan error, 1)
		go func() { done <- s.run(t.Context(), acked, received) }()
		synctest.Wait() // which it couldn't if it turned in circles
		for _, m := range stream.sent {
			if m == "reports u1=Succeeded" {
				t.Fatal("the end was told before the segments")
			}
		}
		var ids []usagev1.ID
		for _, seg := range journal.Pending(maxUnacked) {
			ids = append(ids, seg.ID)
		}
		if err := journal.Ack(ids); err != nil {
			t.Fatal(err)
		}
		acked <- ids
		synctest.Wait()
		if len(s.sent) != 1 {
			t.Errorf("%d segments count as in flight", len(s.sent))
		}
		if n := len(stream.sent); stream.sent[n-1] != "reports u1=Succeeded" || stream.sent[n-2] != fmt.Sprintf("segments u1/%d", maxUnacked+1) {
			t.Errorf("the last messages are %v", stream.sent[n-2:])
		}
		received <- errors.New("over")
		if err := <-done; err == nil || err.Error() != "over" {
			t.Errorf("it ends with %v", err)
		}
	})
}
