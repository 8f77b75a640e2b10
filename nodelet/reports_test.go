package nodelet

import (
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func TestSettling(t *testing.T) {
	waiting := func(phase corev1.PodPhase, reason string) *corev1.PodStatus {
		return &corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{
			{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}},
		}}
	}
	warning := []Event{{Type: corev1.EventTypeWarning, Reason: "Failed"}}
	normal := []Event{{Type: corev1.EventTypeNormal, Reason: "Pulling"}}
	for name, c := range map[string]struct {
		status *corev1.PodStatus
		events []Event
		want   bool
	}{
		"nothing yet":       {&corev1.PodStatus{Phase: corev1.PodPending}, nil, true},
		"creating":          {waiting(corev1.PodPending, reasonCreating), normal, true},
		"initializing":      {waiting(corev1.PodPending, reasonInitializing), nil, true},
		"a failed pull":     {waiting(corev1.PodPending, "ErrImagePull"), nil, false},
		"a warning":         {waiting(corev1.PodPending, reasonCreating), warning, false},
		"running":           {&corev1.PodStatus{Phase: corev1.PodRunning}, nil, false},
		"running and waits": {waiting(corev1.PodRunning, reasonCreating), nil, false},
		"failed":            {&corev1.PodStatus{Phase: corev1.PodFailed}, nil, false},
	} {
		if got := settling(c.status, c.events); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestSettledReports: a pod on its way is told of once it had time to arrive, and at once when it has.
func TestSettledReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &Nodelet{changed: make(chan struct{}, 1), reports: map[string]*report{}}
		defer func() { n.settle.Stop() }()
		mark := func(uid string, later bool) {
			n.mu.Lock()
			defer n.mu.Unlock()
			r := n.reports[uid]
			if r == nil {
				r = &report{Report: Report{UID: uid}}
				n.reports[uid] = r
			}
			if later {
				n.markLaterLocked(r)
			} else {
				n.markLocked(r)
			}
		}
		taken := func() (uids []string) {
			for _, r := range n.Take(10) {
				uids = append(uids, r.UID)
			}
			return uids
		}
		for round := range 2 {
			began := time.Now()
			mark("slow", true)
			mark("quick", true)
			mark("quick", false)
			<-n.Changed()
			if got := taken(); len(got) != 1 || got[0] != "quick" || time.Since(began) != 0 {
				t.Fatalf("round %d: %v was told of after %s, want the quick one at once", round, got, time.Since(began))
			}
			<-n.Changed()
			if got := taken(); len(got) != 1 || got[0] != "slow" || time.Since(began) != settleTime {
				t.Fatalf("round %d: %v was told of after %s, want the slow one after %s", round, got, time.Since(began), settleTime)
			}
		}
	})
}
