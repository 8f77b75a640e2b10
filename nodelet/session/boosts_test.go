package session

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/nodelet"
)

// TestBoosts: what a pod wants beyond its size goes up with its report, and the answer comes down with its
// assignment or by itself.
func TestBoosts(t *testing.T) {
	in := reportOf("u1", corev1.PodRunning)
	in.Boost = &nodelet.BoostReport{Ask: 7, Want: 1500, Held: 500}
	out, err := reports([]nodelet.Report{in, reportOf("u2", corev1.PodRunning)})
	if err != nil {
		t.Fatal(err)
	}
	if b := out[0].Boost; b.GetAsk() != 7 || b.GetWantCpuMilli() != 1500 || b.GetHeldCpuMilli() != 500 {
		t.Errorf("the report has %v", b)
	}
	if out[1].Boost != nil {
		t.Errorf("a pod without one reports %v", out[1].Boost)
	}
	a := assign(t, "p")
	a.Boost = &nodev1.Boost{Ask: 3, CpuMilli: 250}
	got, err := assignment(a)
	if err != nil || got.Boost == nil || *got.Boost != (nodelet.BoostGrant{Ask: 3, CPU: 250}) {
		t.Errorf("the assignment has %v, %v", got.Boost, err)
	}

	w := newWorld(t)
	w.run()
	c, _ := w.next()
	c.expect("segments", "heartbeat")
	c.send(&nodev1.ToNode{Message: &nodev1.ToNode_Boost{Boost: &nodev1.Boost{Uid: "u1", Ask: 7, CpuMilli: 1500}}})
	w.pods.expect(t, "boost u1: 1500 to wish 7")
}
