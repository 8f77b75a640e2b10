package apiserver

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/controlplane"
)

func secondsOf(n int64) time.Duration { return time.Duration(n) * time.Second }

// terminal reports whether a pod's containers have ended for good.
func terminal(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// deletePod marks a pod, so that its node ends it, or removes it where there is nothing to end or to wait for.
func (s *Server) deletePod(ctx context.Context, key controlplane.Key, d deletion) (obj controlplane.Object, gone bool, err error) {
	res := s.resources.find("", "v1", "pods")
	obj, err = s.modify(ctx, key, d.dryRun, func(current controlplane.Object) (controlplane.Object, error) {
		gone = false
		if err := d.check(res, current); err != nil {
			return nil, err
		}
		next, err := deletedPod(current.(*corev1.Pod), d.grace)
		if next == nil {
			gone = true
			return nil, err
		}
		return next, err
	})
	if err == nil && gone && !d.dryRun {
		s.forget(string(obj.GetUID()))
	}
	return obj, gone, err
}

// deletedPod answers the pod as a deletion leaves it: nil if nothing is left, itself if nothing changes.
func deletedPod(pod *corev1.Pod, asked *int64) (*corev1.Pod, error) {
	grace := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if p := pod.Spec.TerminationGracePeriodSeconds; p != nil {
		grace = *p
	}
	if asked != nil {
		grace = *asked
	}
	if pod.Spec.NodeName == "" || terminal(pod) {
		grace = 0
	}
	if pod.DeletionTimestamp != nil {
		was := int64(0)
		if pod.DeletionGracePeriodSeconds != nil {
			was = *pod.DeletionGracePeriodSeconds
		}
		shortened := grace < was && (asked != nil || grace == 0)
		if !shortened && (grace > 0 || len(pod.Finalizers) > 0) {
			return pod, nil
		}
		if grace > 0 {
			next := pod.DeepCopy()
			began := pod.DeletionTimestamp.Add(-secondsOf(was))
			at := metav1.NewTime(began.Add(secondsOf(grace)))
			next.DeletionTimestamp, next.DeletionGracePeriodSeconds = &at, &grace
			return next, nil
		}
	}
	if grace == 0 && len(pod.Finalizers) == 0 {
		return nil, nil
	}
	next := pod.DeepCopy()
	markDeleted(next, grace)
	return next, nil
}

// forget gives back what a removed pod held.
func (s *Server) forget(uid string) {
	s.cfg.Scheduler.Release(uid)
}
