package nodes

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/api/v1alpha1"
)

func boostedPodOn(node, name string) *corev1.Pod {
	p := podOn(node, name)
	p.Annotations = map[string]string{v1alpha1.AnnotationStartupBoost: "cpu=2"}
	return p
}

// boostReportOf is of a pod that wants and holds something.
func boostReportOf(pod *corev1.Pod, ask, want, held int64) *nodev1.PodReport {
	r := reportOf(pod.Name, corev1.PodRunning)
	r.Boost = &nodev1.BoostReport{Ask: ask, WantCpuMilli: want, HeldCpuMilli: held}
	return r
}

// expectBoost takes the next answer to a wish. The pod itself may be sent in between, as its status has changed.
func (n *fakeNodelet) expectBoost(ask, milli int64) {
	n.t.Helper()
	var b *nodev1.Boost
	for b == nil {
		b = n.next().GetBoost()
	}
	if b.GetUid() != "uid-a" || b.GetAsk() != ask || b.GetCpuMilli() != milli {
		n.t.Fatalf("got %v, want %d granted to wish %d", b, milli, ask)
	}
}

func TestBoostIsAskedForAndAnswered(t *testing.T) {
	pod := boostedPodOn("n1", "a")
	w := newWorld(t, pod)
	w.sched.boost("uid-a", boosted{granted: 1500})
	n, sync := w.connect("n1")
	if b := sync.Pods[0].Boost; b.GetAsk() != 0 || b.GetCpuMilli() != 1500 {
		t.Fatalf("the assignment has %v", b)
	}
	n.report(boostReportOf(pod, 0, 1500, 1500))
	n.expectBoost(0, 1500)

	// It is ready: nothing is to be answered, and the ledger knows.
	n.report(boostReportOf(pod, 0, 0, 0))
	w.until(t, "nothing wanted", func() bool { return w.sched.boostOf("uid-a") == boosted{} })

	// It starts again, in vain; then there is room.
	w.sched.refuse(true)
	n.report(boostReportOf(pod, 7, 1500, 0))
	n.expectBoost(7, 0)
	w.sched.boost("uid-a", boosted{ask: 7, want: 1500, granted: 1500})
	w.hub.Boosted("uid-a", "n1")
	n.expectBoost(7, 1500)
	w.hub.Boosted("uid-a", "elsewhere") // nobody is there to be told

	// A nodelet that says nothing of it has none.
	n.report(reportOf(pod.Name, corev1.PodRunning))
	w.until(t, "nothing said", func() bool { return w.sched.boostOf("uid-a") == boosted{} })
}

func TestBoostIsHeldBeforeTheNodeOpens(t *testing.T) {
	pod, other := boostedPodOn("n1", "a"), boostedPodOn("n2", "b")
	w := newWorld(t, pod, other)
	var before []string // what was known when the node was announced
	w.sched.announced = func() {
		for uid, b := range w.sched.boosts {
			if b.held == 1500 {
				before = append(before, uid)
			}
		}
	}
	n, _ := w.connect("n1", boostReportOf(pod, 5, 1500, 1500), boostReportOf(other, 5, 1500, 1500))
	n.expectBoost(5, 1500)
	w.sched.mu.Lock()
	defer w.sched.mu.Unlock()
	if len(before) != 1 || before[0] != "uid-a" {
		t.Errorf("held when the node was opened: %v", before)
	}
	if w.sched.boosts["uid-b"].held != 0 {
		t.Error("a node spoke for another's pod")
	}
}
