package nodelet

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// orphan is what the host holds of a pod that there is no record of: its containers, or only a cgroup, a
// network, volumes or an open segment. It stays as it is until the control plane says what it wants.
type orphan struct {
	containers []ContainerState
	reaping    bool
	cancel     context.CancelFunc // of the reaping
}

// findOrphansLocked looks for pods without a record on everything that belongs to this node.
func (n *Nodelet) findOrphansLocked(ctx context.Context, known map[string]record, byPod map[string][]ContainerState) error {
	found := func(uid string) {
		if _, ok := known[uid]; !ok && n.orphans[uid] == nil {
			n.orphans[uid] = &orphan{containers: byPod[uid]}
		}
	}
	for uid := range byPod {
		found(uid)
	}
	cgroups, err := n.cfg.Cgroups.List()
	if err != nil {
		return fmt.Errorf("cgroups of this node: %w", err)
	}
	networks, err := n.cfg.Network.List(ctx)
	if err != nil {
		return fmt.Errorf("networks of this node: %w", err)
	}
	volumes, err := n.cfg.Volumes.List(ctx)
	if err != nil {
		return fmt.Errorf("volumes of this node: %w", err)
	}
	for _, list := range [][]string{cgroups, networks, volumes} {
		for _, uid := range list {
			found(uid)
		}
	}
	for _, s := range n.cfg.Journal.Open() {
		found(s.PodUID)
	}
	return nil
}

// report says what is known of an orphan.
func (o *orphan) report(uid string) Report {
	r := Report{UID: uid, Status: corev1.PodStatus{Phase: corev1.PodUnknown}}
	for _, s := range o.containers {
		r.Namespace, r.Name = s.Namespace, s.PodName
		status := corev1.ContainerStatus{Name: s.Name, RestartCount: s.Attempt, ContainerID: containerdID(s.ID), ImageID: imageID(s.Image)}
		switch s.State {
		case StateRunning:
			status.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(s.StartedAt)}
		case StateExited:
			status.State.Terminated = &corev1.ContainerStateTerminated{
				ExitCode: s.ExitCode, Reason: exitReason(s.ExitCode, s.OOMKilled), ContainerID: containerdID(s.ID),
				StartedAt: metav1.NewTime(s.StartedAt), FinishedAt: metav1.NewTime(s.ExitedAt),
			}
		default:
			continue
		}
		r.Status.ContainerStatuses = append(r.Status.ContainerStatuses, status)
	}
	return r
}

// reapLocked begins to remove an orphan. It is tried until it works.
func (n *Nodelet) reapLocked(uid string) {
	o := n.orphans[uid]
	if o.reaping {
		return
	}
	o.reaping = true
	ctx, cancel := context.WithCancel(context.Background())
	o.cancel = cancel
	n.tasks.Go(func() {
		defer cancel()
		var again retry
		for {
			err := n.reap(ctx, uid, o)
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				break
			}
			now := time.Now()
			again.fail(now, retryLimit)
			n.cfg.Logger.Error("unknown pod not removed; trying again", "pod", uid, "wait", again.delay, "error", err)
			timer := time.NewTimer(again.at.Sub(now))
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.orphans, uid)
		if len(o.containers) > 0 {
			r := &report{Report: o.report(uid)}
			r.Finished = true
			n.reports[uid] = r
			n.markLocked(r)
			n.finishedLocked(uid)
		}
	})
}

// reap removes an orphan's parts in the order of a pod's tear-down.
func (n *Nodelet) reap(ctx context.Context, uid string, o *orphan) error {
	var last time.Time
	running := false
	for _, c := range o.containers {
		running = running || c.State == StateRunning
		if c.ExitedAt.After(last) {
			last = c.ExitedAt
		}
		if err := n.cfg.Runtime.Remove(ctx, c.ID); err != nil {
			return err
		}
	}
	if running {
		last = time.Time{} // it ended just now
	}
	if err := n.cfg.Journal.Stop(uid, last); err != nil {
		return err
	}
	if err := n.cfg.Network.Detach(ctx, uid); err != nil {
		return err
	}
	if err := n.cfg.Cgroups.RemovePod(uid); err != nil {
		return err
	}
	if err := n.cfg.Volumes.Remove(ctx, uid); err != nil {
		return err
	}
	return n.records.remove(uid)
}
