package nodelet

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// markLocked puts a report into the line of those to be taken and says so.
func (n *Nodelet) markLocked(r *report) {
	if !r.dirty {
		r.dirty = true
		n.dirty = append(n.dirty, r.UID)
	}
	n.tellLocked()
}

// tellLocked says that there is something to take.
func (n *Nodelet) tellLocked() {
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

// Changed receives, without blocking and with capacity one, when there is something to
// Take or TakeSlots.
func (n *Nodelet) Changed() <-chan struct{} { return n.changed }

// Reports answers the latest of every pod, also of those that have finished and of what was found on the
// host without a record. It takes no events.
func (n *Nodelet) Reports() []Report {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]Report, 0, len(n.reports)+len(n.orphans))
	for _, r := range n.reports {
		latest := r.Report
		latest.Events = nil
		out = append(out, latest)
	}
	for uid, o := range n.orphans {
		if n.reports[uid] == nil && len(o.containers) > 0 {
			out = append(out, o.report(uid))
		}
	}
	slices.SortFunc(out, func(a, b Report) int { return strings.Compare(a.UID, b.UID) })
	return out
}

// Take answers at most limit reports that changed since they were taken last, longest unchanged first, one per
// pod, with the events since then.
func (n *Nodelet) Take(limit int) []Report {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := min(limit, len(n.dirty))
	out := make([]Report, 0, count)
	for _, uid := range n.dirty[:count] {
		r := n.reports[uid]
		if r == nil {
			continue
		}
		out = append(out, r.Report)
		r.dirty, r.Events = false, nil
	}
	n.dirty = slices.Delete(n.dirty, 0, count)
	if len(n.dirty) > 0 {
		n.tellLocked()
	}
	return out
}

// Return puts back reports that were taken and could not be told: their events come with the next Take.
func (n *Nodelet) Return(reports []Report) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, back := range reports {
		r := n.reports[back.UID]
		if r == nil {
			r = &report{Report: back}
			r.Events = nil
			n.reports[back.UID] = r
		}
		r.Events = append(slices.Clone(back.Events), r.Events...)
		if len(r.Events) > maxEvents {
			r.Events = r.Events[len(r.Events)-maxEvents:]
		}
		n.markLocked(r)
	}
}

// FindContainer answers a container of a pod for its logs and for exec: the latest instance, or the one
// before it. With an empty name it is the pod's first container. netns is the pod's network namespace.
func (n *Nodelet) FindContainer(ctx context.Context, podUID, name string, previous bool) (state ContainerState, netns string, err error) {
	n.mu.Lock()
	w := n.workers[podUID]
	n.mu.Unlock()
	if w == nil {
		return state, "", fmt.Errorf("pod %s: %w", podUID, ErrNotFound)
	}
	answered := make(chan struct{})
	w.post(inFunc(func(m *machine) {
		defer close(answered)
		state, err = w.find(m, name, previous)
		netns = m.sandbox.NetNS
	}))
	select {
	case <-answered:
		return state, netns, err
	case <-w.done:
		return ContainerState{}, "", fmt.Errorf("pod %s: %w", podUID, ErrNotFound)
	case <-ctx.Done():
		return ContainerState{}, "", ctx.Err()
	}
}

func (w *worker) find(m *machine, name string, previous bool) (ContainerState, error) {
	if name == "" {
		name = m.a.Pod.Spec.Containers[0].Name
	}
	c := m.container(name)
	if c == nil {
		return ContainerState{}, fmt.Errorf("container %q of pod %s/%s: %w", name, m.a.Pod.Namespace, m.a.Pod.Name, ErrNotFound)
	}
	if c.phase == phaseNone {
		return ContainerState{}, fmt.Errorf("container %q of pod %s/%s: waiting to start: %s: %w", name, m.a.Pod.Namespace, m.a.Pod.Name, m.waitReason(c), ErrNotFound)
	}
	out := ContainerState{
		ID: c.id, Name: name, PodUID: w.uid, PodName: m.a.Pod.Name, Namespace: m.a.Pod.Namespace, Attempt: c.attempt,
		State: StateRunning, PID: c.pid, Image: c.image, StartedAt: c.startedAt, LogPath: w.logPath(name, c.attempt),
	}
	term := c.term
	if previous && !m.awaitsRestart(c) { // while it waits, what ended last is the previous one
		if c.last == nil || c.attempt == 0 {
			return ContainerState{}, fmt.Errorf("previous terminated container %q of pod %s/%s: %w", name, m.a.Pod.Namespace, m.a.Pod.Name, ErrNotFound)
		}
		term = c.last
		out.Attempt--
		out.ID, out.PID, out.LogPath = ContainerID(w.uid, name, out.Attempt), 0, w.logPath(name, out.Attempt)
	}
	if previous || c.phase == phaseExited {
		out.State = StateExited
		setEnd(&out, term)
	}
	return out, nil
}

func setEnd(s *ContainerState, term *corev1.ContainerStateTerminated) {
	if term == nil {
		return
	}
	s.StartedAt, s.ExitedAt = term.StartedAt.Time, term.FinishedAt.Time
	s.ExitCode, s.OOMKilled = term.ExitCode, term.Reason == reasonOOMKilled
}
