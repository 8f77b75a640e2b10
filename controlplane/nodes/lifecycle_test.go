package nodes

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	usagev1 "swell.dev/swell/api/usage/v1"
)

func TestLifecycle(t *testing.T) {
	at := func(s int64) metav1.Time { return metav1.NewTime(time.Unix(1_800_000_000+s, 0)) }
	ended := func(from, to int64) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{StartedAt: at(from), FinishedAt: at(to)}}
	}
	accepted := at(0)
	for name, c := range map[string]struct {
		st                       corev1.PodStatus
		ran                      bool
		started, ended, restarts int64
	}{
		"one container": {corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: ended(2, 9)}}}, true, 2, 9, 0},
		"an init container first, a sidecar last": {corev1.PodStatus{
			InitContainerStatuses: []corev1.ContainerStatus{{State: ended(1, 3)}, {State: ended(2, 12)}},
			ContainerStatuses:     []corev1.ContainerStatus{{State: ended(4, 9)}}}, true, 1, 12, 0},
		"restarted": {corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{RestartCount: 3, State: ended(20, 30), LastTerminationState: ended(10, 15)}}}, true, 10, 30, 3},
		"never started": {corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull"}}}}}, false, 0, 0, 0},
		"made, never started": {corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{StartedAt: metav1.NewTime(time.Unix(0, 0)), FinishedAt: at(3)}}}}}, false, 0, 0, 0},
	} {
		c.st.StartTime = &accepted
		got, ran := lifecycle(podKey("team", "p"), "u", "n1", &c.st)
		if ran != c.ran {
			t.Errorf("%s: ran %v, want %v", name, ran, c.ran)
			continue
		}
		want := usagev1.Lifecycle{PodUID: "u", Namespace: "team", Pod: "p", Node: "n1", Accepted: accepted.UTC(),
			Started: at(c.started).UTC(), Ended: at(c.ended).UTC(), Restarts: c.restarts}
		if ran && got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

// TestEndIsTold: an end is recorded only once it has been told.
func TestEndIsTold(t *testing.T) {
	told := make(chan usagev1.Lifecycle, 4)
	var w *world
	w = newWorldWith(t, Config{Silence: time.Hour, Ended: func(_ context.Context, l usagev1.Lifecycle) error {
		if p := w.store.pod(l.Pod); p == nil || p.Status.Phase == corev1.PodSucceeded {
			t.Errorf("pod %s: its end is recorded before it was told", l.Pod)
		}
		told <- l
		return nil
	}}, podOn("a", "p"))
	n, _ := w.connect("a")
	n.report(reportOf("p", corev1.PodSucceeded, func(st *corev1.PodStatus) {
		st.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			StartedAt: metav1.NewTime(time.Unix(100, 0)), FinishedAt: metav1.NewTime(time.Unix(160, 0))}}}}
	}))
	if l := <-told; l.PodUID != "uid-p" || l.Node != "a" || l.Ended.Sub(l.Started) != time.Minute {
		t.Errorf("told %+v", l)
	}
	w.until(t, "succeeded", func() bool { return w.store.pod("p").Status.Phase == corev1.PodSucceeded })
}
