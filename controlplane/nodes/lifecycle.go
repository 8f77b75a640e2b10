package nodes

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/controlplane"
)

// lifecycle answers when an ended pod ran, and false if nothing of it ever did.
func lifecycle(key controlplane.Key, uid, node string, st *corev1.PodStatus) (usagev1.Lifecycle, bool) {
	l := usagev1.Lifecycle{PodUID: uid, Namespace: key.Namespace, Pod: key.Name, Node: node}
	if st.StartTime != nil {
		l.Accepted = st.StartTime.UTC()
	}
	see := func(from, to metav1.Time) {
		if from.IsZero() || from.Unix() == 0 {
			return // it was made, and never started
		}
		if l.Started.IsZero() || from.Time.Before(l.Started) {
			l.Started = from.UTC()
		}
		if to.Time.After(l.Ended) {
			l.Ended = to.UTC()
		}
	}
	for _, list := range [][]corev1.ContainerStatus{st.InitContainerStatuses, st.ContainerStatuses} {
		for i := range list {
			l.Restarts += int64(list[i].RestartCount)
			for _, state := range []corev1.ContainerState{list[i].LastTerminationState, list[i].State} {
				if r := state.Running; r != nil {
					see(r.StartedAt, metav1.NewTime(time.Time{}))
				}
				if t := state.Terminated; t != nil {
					see(t.StartedAt, t.FinishedAt)
				}
			}
		}
	}
	return l, !l.Started.IsZero() && !l.Ended.IsZero()
}
