package containerd

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"

	"swell.dev/swell/nodelet"
)

// end is how a container ended, as its label has it once its task is gone.
type end struct {
	Code int32     `json:"code"`
	OOM  bool      `json:"oom,omitempty"`
	At   time.Time `json:"at"`
}

func endOf(labels map[string]string) (e end, ok bool) {
	return e, json.Unmarshal([]byte(labels[labelEnd]), &e) == nil
}

func (e end) tell(s *nodelet.ContainerState) {
	s.State, s.ExitCode, s.OOMKilled, s.ExitedAt = nodelet.StateExited, e.Code, e.OOM, e.At
	if s.StartedAt.IsZero() {
		s.StartedAt = s.CreatedAt // killed between the start and its record
	}
}

// reapWithin bounds the reaping of one container.
const reapWithin = 20 * time.Second

// ended reaps a container and tells its end.
func (r *Runtime) ended(k *known, e nodelet.Exit) {
	r.background(reapWithin, func(ctx context.Context) {
		if err := r.reap(ctx, k, e); err != nil {
			r.cfg.Log.Warn("an ended container keeps its task until it is removed", "container", e.ID, "cause", err)
		}
		r.deliver(r.ctx, k, e)
	})
}

// reap deletes an ended container's task. Only then has its logger read everything and let go of the log,
// its cgroup with the counters of this run is gone before the next one's is made, and a pod that has
// ended keeps no shim. The container with its snapshot stays until Remove.
func (r *Runtime) reap(ctx context.Context, k *known, e nodelet.Exit) error {
	defer r.pods.lock(e.PodUID)()
	r.mu.Lock()
	former := r.known[e.ID] != k
	r.mu.Unlock()
	if former {
		return nil // it was removed, and may have been made again
	}
	container, err := r.client.LoadContainer(ctx, e.ID)
	if err != nil {
		return ignoreNotFound(err)
	}
	labels, err := container.Labels(ctx)
	if err != nil {
		return ignoreNotFound(err)
	}
	if !r.begun(e.ID, labels) {
		return nil // its task was made and never started: another will be
	}
	label, err := json.Marshal(end{e.ExitCode, e.OOMKilled, e.At})
	if err != nil {
		return err
	}
	if _, err := container.SetLabels(ctx, map[string]string{labelEnd: string(label)}); err != nil {
		return fmt.Errorf("record of its end: %w", err)
	}
	return deleteTask(ctx, container)
}

// A process that was just joining the container, or is large, may be in its cgroup for a while after the
// kill. runc waits less than a second for it.
const (
	cgroupWithin = 10 * time.Second
	cgroupEvery  = 100 * time.Millisecond
)

// deleteTask kills the container's task, if it has one, and deletes it with its cgroup.
func deleteTask(ctx context.Context, container client.Container) error {
	timeout := time.After(cgroupWithin)
	for {
		task, err := container.Task(ctx, nil)
		if err == nil {
			_, err = task.Delete(ctx, client.WithProcessKill)
		}
		if err == nil || errdefs.IsNotFound(err) {
			return nil
		}
		if !strings.Contains(err.Error(), "unable to remove container's cgroup") && !shimGone(err) {
			return fmt.Errorf("task: %w", err)
		}
		select {
		case <-time.After(cgroupEvery):
		case <-timeout:
			return fmt.Errorf("task: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("task: %w", err)
		}
	}
}
