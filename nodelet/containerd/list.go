package containerd

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"swell.dev/swell/nodelet"
)

// List implements nodelet.Runtime. A container that ran and whose task is gone (the host restarted, or
// the shim was killed) is exited with code 255, as of the first List that misses it.
func (r *Runtime) List(ctx context.Context) ([]nodelet.ContainerState, error) {
	ctx = r.in(ctx)
	// Tasks after containers: a task that is seen has its container.
	containers, err := r.client.ContainerService().List(ctx, `labels."`+labelPodUID+`"`)
	if err != nil {
		return nil, fmt.Errorf("containers: %w", err)
	}
	answer, err := r.client.TaskService().List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return nil, fmt.Errorf("tasks: %w", errgrpc.ToNative(err))
	}
	running := map[string]*tasktypes.Process{}
	for _, t := range answer.GetTasks() {
		running[t.GetID()] = t
	}
	states := make([]nodelet.ContainerState, 0, len(containers))
	for _, c := range containers {
		s := stateOf(c.ID, c.Labels, c.CreatedAt)
		t := running[c.ID]
		end, ended := endOf(c.Labels)
		switch {
		case ended:
			end.tell(&s)
		case t != nil:
			r.withTask(&s, t, c.Labels)
		case !r.ran(c.ID, c.Labels):
			s.State = nodelet.StateCreated
		default:
			if err := r.lost(ctx, &s, c.Labels); err != nil {
				return nil, err
			}
		}
		r.note(s, c.Labels[labelCgroup])
		states = append(states, s)
	}
	return states, nil
}

func (r *Runtime) withTask(s *nodelet.ContainerState, t *tasktypes.Process, labels map[string]string) {
	cgroup := labels[labelCgroup]
	s.PID = int(t.GetPid())
	switch t.GetStatus() {
	case tasktypes.Status_CREATED:
		s.State = nodelet.StateCreated
	case tasktypes.Status_RUNNING, tasktypes.Status_PAUSED, tasktypes.Status_PAUSING:
		s.State = nodelet.StateRunning
		if labels[labelHeld] != "" && labels[labelStarted] == "" {
			r.withHeld(s, labels)
		}
	default:
		s.State, s.PID = nodelet.StateExited, 0
		s.ExitCode, s.ExitedAt = int32(t.GetExitStatus()), t.GetExitedAt().AsTime()
		s.OOMKilled = r.isOOM(s.ExitCode, cgroup)
	}
	if s.State != nodelet.StateCreated && s.StartedAt.IsZero() && s.Held == "" {
		// This nodelet's predecessor was killed between the start and its record.
		s.StartedAt = s.CreatedAt
		if at, err := r.letGoAt(s.ID); err == nil {
			s.StartedAt = at
		}
	}
}

// isOOM says whether want of memory ended a container. A process of it may have been killed earlier
// without ending it, so a success is none.
func (r *Runtime) isOOM(code int32, cgroup string) bool {
	return code != 0 && oomKills(cgroup, r.unified) > 0
}

func (r *Runtime) lost(ctx context.Context, s *nodelet.ContainerState, labels map[string]string) error {
	s.State, s.ExitCode, s.ExitedAt = nodelet.StateExited, client.UnknownExitStatus, timeOf(labels[labelLost])
	if !s.ExitedAt.IsZero() {
		return nil
	}
	s.ExitedAt = time.Now()
	if err := r.setLabel(ctx, s.ID, labelLost, text(s.ExitedAt)); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("container %s: record of its loss: %w", s.ID, err)
	}
	return nil
}

// ran says whether a container was ever started.
func (r *Runtime) ran(id string, labels map[string]string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.known[id]
	return labels[labelStarted] != "" || labels[labelEnd] != "" || k != nil && k.started
}

// begun says whether a container may have been started. An end can be heard before Start has returned.
func (r *Runtime) begun(id string, labels map[string]string) bool {
	r.mu.Lock()
	k := r.known[id]
	begun := k != nil && k.begun
	r.mu.Unlock()
	return begun || r.ran(id, labels)
}

// note keeps what the event loop must know. A container that was unknown and has ended is seen by
// whoever asked for the list; its end is not told again.
func (r *Runtime) note(s nodelet.ContainerState, cgroup string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known[s.ID] == nil {
		r.known[s.ID] = &known{podUID: s.PodUID, cgroup: cgroup, exited: s.State == nodelet.StateExited, pid: s.PID, held: s.Held}
	}
}
