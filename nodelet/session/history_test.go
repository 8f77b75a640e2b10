package session

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	nodev1 "swell.dev/swell/api/node/v1"
)

// TestHistories: they go out at their own rhythm; what isn't acknowledged comes again, on the next stream.
func TestHistories(t *testing.T) {
	w := newWorld(t)
	w.cfg.History = time.Millisecond
	w.run()
	c, _ := w.next()
	c.expect("segments", "heartbeat", "history 1 all")
	c.send(&nodev1.ToNode{Message: &nodev1.ToNode_HistoryAck{HistoryAck: &nodev1.UsageHistoryAck{Sequence: 1}}})
	w.pods.expect(t, "history ack 1")
	c.expect("history 2 all", "history 3 all")
	c.end <- errors.New("lost")
	c, _ = w.next()
	c.expect("segments", "heartbeat", "history 2 all again", "history 3 all again")
}

// TestHistoryBeforeTheEnd: what a pod used is told before it is told that the pod ended.
func TestHistoryBeforeTheEnd(t *testing.T) {
	w := newWorld(t)
	w.cfg.History = time.Hour
	w.run()
	c, _ := w.next()
	c.expect("segments", "heartbeat")
	w.pods.set(reportOf("u1", corev1.PodRunning))
	c.expect("reports u1=Running")
	w.pods.set(reportOf("u1", corev1.PodSucceeded))
	c.expect("history 1 [u1]", "reports u1=Succeeded")
}
