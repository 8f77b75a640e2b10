package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// hopeless are the reasons of a waiting container that time alone doesn't mend.
var hopeless = map[string]string{
	"ErrImagePull":               "check the image's name and, for a private registry, --pull-secret",
	"ImagePullBackOff":           "check the image's name and, for a private registry, --pull-secret",
	"InvalidImageName":           "check the image's name",
	"ErrImageNeverPull":          "import it with `swell image import`, or leave out --pull never",
	"CreateContainerConfigError": "check the config maps and secrets that it names",
	"CreateContainerError":       "check the command and the image",
	"RunContainerError":          "check the command and the image",
	"StartError":                 "check the command and the image",
	"CrashLoopBackOff":           "see what it wrote: `swell logs %s --previous`",
}

// awaitStart returns when every container runs or is done. It shows meanwhile what happens, and gives up
// on a pod that can't start. The pod it answers is the last one seen, also with an error.
func (r *running) awaitStart(ctx context.Context, s *session, pod *corev1.Pod) (*corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	changes, list, err := openFeed(ctx, s.CoreV1().Pods(s.namespace), metav1.ListOptions{FieldSelector: "metadata.name=" + pod.Name})
	if err != nil {
		return pod, err
	}
	defer changes.close()
	events, stop := podEvents(ctx, s, pod)
	defer stop()
	if !slices.ContainsFunc(list.Items, func(p corev1.Pod) bool { return p.UID == pod.UID }) {
		return pod, fmt.Errorf("pod %s: removed before it ran", pod.Name)
	}
	pod = &list.Items[0] // the only one of that name
	moves, stopMoves := pump(ctx, changes)
	defer stopMoves()
	last := "accepted"
	for {
		done, note, err := startOutcome(pod)
		if done || err != nil {
			return pod, err
		}
		if note != "" {
			last = note
			r.progress.Say(fmt.Sprintf("pod/%s: %s", pod.Name, note))
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return pod, fmt.Errorf("pod %s: not running within %s: %s; it goes on, look with `swell ps %s -w`", pod.Name, r.timeout, last, pod.Name)
			}
			return pod, ctx.Err()
		case text := <-events:
			last = text
			r.progress.Say(fmt.Sprintf("pod/%s: %s", pod.Name, text))
		case m := <-moves:
			if m.err != nil {
				return pod, m.err
			}
			next, ok := m.event.Object.(*corev1.Pod)
			if !ok || next.UID != pod.UID {
				continue
			}
			if m.event.Type == watch.Deleted {
				return pod, fmt.Errorf("pod %s: removed before it ran", pod.Name)
			}
			pod = next
		}
	}
}

// startOutcome reports whether the pod has started, or can't (an error), or what it waits for.
func startOutcome(pod *corev1.Pod) (done bool, note string, err error) {
	switch pod.Status.Phase {
	case corev1.PodSucceeded:
		return true, "", nil
	case corev1.PodFailed:
		return false, "", fmt.Errorf("pod %s: failed: %s; see `swell logs %s`, and remove it with `swell rm %s`", pod.Name, failure(pod), pod.Name, pod.Name)
	}
	started := len(pod.Status.ContainerStatuses) == len(pod.Spec.Containers)
	all := append(append([]corev1.ContainerStatus(nil), pod.Status.InitContainerStatuses...), pod.Status.ContainerStatuses...)
	for i := range all {
		w := all[i].State.Waiting
		if w == nil {
			continue
		}
		if hint, stuck := hopeless[w.Reason]; stuck {
			if strings.Contains(hint, "%s") {
				hint = fmt.Sprintf(hint, pod.Name)
			}
			return false, "", fmt.Errorf("pod %s: %s; %s (it is tried again until `swell rm %s`)", pod.Name, reasonText(w.Reason, w.Message), hint, pod.Name)
		}
		if i >= len(pod.Status.InitContainerStatuses) {
			started = false
		}
	}
	if pod.Status.Phase == corev1.PodRunning && started {
		return true, "", nil
	}
	for i := range pod.Status.Conditions {
		c := &pod.Status.Conditions[i]
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return false, "waiting for room: " + reasonText(c.Reason, c.Message), nil
		}
	}
	return false, "", nil
}

// failure says why a pod has failed.
func failure(pod *corev1.Pod) string {
	if pod.Status.Reason != "" || pod.Status.Message != "" {
		return reasonText(pod.Status.Reason, pod.Status.Message)
	}
	for i := range pod.Status.ContainerStatuses {
		if t := pod.Status.ContainerStatuses[i].State.Terminated; t != nil && t.ExitCode != 0 {
			return fmt.Sprintf("container %s ended with exit code %d (%s)", pod.Status.ContainerStatuses[i].Name, t.ExitCode, reasonText(t.Reason, t.Message))
		}
	}
	return "no reason given"
}

func reasonText(reason, message string) string {
	switch {
	case message == "":
		return reason
	case reason == "":
		return message
	}
	return reason + ": " + message
}

// awaitEnd returns when the pod has ended.
func awaitEnd(ctx context.Context, s *session, pod *corev1.Pod) (*corev1.Pod, error) {
	feed, list, err := openFeed(ctx, s.CoreV1().Pods(s.namespace), metav1.ListOptions{FieldSelector: "metadata.name=" + pod.Name})
	if err != nil {
		return nil, err
	}
	defer feed.close()
	found := false
	for i := range list.Items {
		if list.Items[i].UID == pod.UID {
			pod, found = &list.Items[i], true
		}
	}
	for {
		if terminal(pod) {
			return pod, nil
		}
		if !found {
			return nil, fmt.Errorf("pod %s: removed by somebody else before it ended", pod.Name)
		}
		ev, err := feed.next(ctx)
		if err != nil {
			return nil, err
		}
		if next, ok := ev.Object.(*corev1.Pod); ok && next.UID == pod.UID {
			pod, found = next, ev.Type != watch.Deleted
		}
	}
}

// podEvents delivers what the events say about the pod from now on, as far as the server has events.
func podEvents(ctx context.Context, s *session, pod *corev1.Pod) (texts <-chan string, stop func()) {
	out := make(chan string)
	ctx, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() {
		feed, list, err := openFeed(ctx, s.CoreV1().Events(s.namespace), metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(pod.UID)})
		if err != nil {
			return // events are an extra: the pod's status decides
		}
		defer feed.close()
		send := func(ev *corev1.Event) {
			text := ev.Message
			if text == "" {
				text = ev.Reason
			}
			select {
			case out <- text:
			case <-ctx.Done():
			}
		}
		for i := range list.Items {
			send(&list.Items[i])
		}
		for {
			change, err := feed.next(ctx)
			if err != nil {
				return
			}
			if ev, ok := change.Object.(*corev1.Event); ok && change.Type != watch.Deleted {
				send(ev)
			}
		}
	})
	return out, func() { cancel(); wait.Wait() }
}

// move is one answer of a feed.
type move struct {
	event watch.Event
	err   error
}

// pump turns a feed into a channel, up to its first error or the end of ctx. stop waits until the feed is free again.
func pump(ctx context.Context, f *feed) (moves <-chan move, stop func()) {
	out := make(chan move)
	ctx, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			ev, err := f.next(ctx)
			select {
			case out <- move{ev, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	})
	return out, func() { cancel(); wait.Wait() }
}
