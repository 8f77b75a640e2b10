package containerd

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"swell.dev/swell/nodelet"
)

// recordWithin bounds what containerd is told in the background.
const recordWithin = 10 * time.Second

// Start implements nodelet.Runtime. A container whose making was interrupted before its task was there
// gets it now.
func (r *Runtime) Start(ctx context.Context, id string) (int, time.Time, error) {
	ctx = r.in(ctx)
	r.mu.Lock()
	k := r.known[id]
	held := k != nil && k.held != ""
	if k != nil && !held {
		k.begun = true
	}
	r.mu.Unlock()
	if held {
		return 0, time.Time{}, fmt.Errorf("container %s: %w: it is held", id, nodelet.ErrStart)
	}
	pid, err := r.start(ctx, id)
	if errdefs.IsNotFound(err) {
		if err = r.complete(ctx, id); err == nil {
			pid, err = r.start(ctx, id)
		}
	}
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("container %s: %w", id, r.withDisk(classed(err, nodelet.ErrStart)))
	}
	at, err := r.letGoAt(id)
	if err != nil {
		at = time.Now()
	}
	r.mu.Lock()
	if k := r.known[id]; k != nil {
		k.started = true
	}
	r.mu.Unlock()
	r.background(recordWithin, func(ctx context.Context) {
		if err := r.recordStart(ctx, id, at); err != nil {
			r.cfg.Log.Warn("start not recorded", "container", id, "cause", err)
		}
	})
	return pid, at, nil
}

// recordEvery is how often a record is tried that containerd, which may be restarting, didn't take.
const recordEvery = 200 * time.Millisecond

// recordStart keeps for List what containerd doesn't: when the container started (letGoAt knows it until
// this is written), and how it ends. The latter needs a sandbox record of the same name: when containerd
// starts, it deletes tasks that have ended, and with them their exit codes, unless there is one.
func (r *Runtime) recordStart(ctx context.Context, id string, at time.Time) error {
	for {
		err := r.tryRecordStart(ctx, id, at)
		if err == nil || errdefs.IsNotFound(err) { // removed already
			return nil
		}
		select {
		case <-time.After(recordEvery):
		case <-ctx.Done():
			return err
		}
	}
}

func (r *Runtime) tryRecordStart(ctx context.Context, id string, at time.Time) error {
	container, err := r.client.LoadContainer(ctx, id)
	if err != nil {
		return err
	}
	labels, err := container.Labels(ctx)
	if err != nil {
		return err
	}
	defer r.pods.lock(labels[labelPodUID])()
	if _, err := container.SetLabels(ctx, map[string]string{labelStarted: text(at)}); err != nil {
		return err
	}
	_, err = r.client.SandboxStore().Create(ctx, sandbox.Sandbox{ID: id, Runtime: sandbox.RuntimeOpts{Name: runcRuntime}})
	if errdefs.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (r *Runtime) start(ctx context.Context, id string) (int, error) {
	answer, err := r.client.TaskService().Start(ctx, &tasks.StartRequest{ContainerID: id})
	if err != nil {
		return 0, errgrpc.ToNative(err)
	}
	return int(answer.GetPid()), nil
}

// complete makes the task of a container that has none and never ran.
func (r *Runtime) complete(ctx context.Context, id string) error {
	container, err := r.client.LoadContainer(ctx, id)
	if err != nil {
		return err
	}
	labels, err := container.Labels(ctx)
	if err != nil {
		return err
	}
	if r.ran(id, labels) {
		return fmt.Errorf("it ran before: %w", errdefs.ErrFailedPrecondition)
	}
	defer r.pods.lock(labels[labelPodUID])()
	_, err = r.newTask(ctx, container, labels[labelLogPath])
	return err
}

func (r *Runtime) setLabel(ctx context.Context, id, key, value string) error {
	container, err := r.client.LoadContainer(ctx, id)
	if err != nil {
		return err
	}
	_, err = container.SetLabels(ctx, map[string]string{key: value})
	return err
}

// Kill implements nodelet.Runtime.
func (r *Runtime) Kill(ctx context.Context, id string, sig syscall.Signal, all bool) error {
	ctx = r.in(ctx)
	_, err := r.client.TaskService().Kill(ctx, &tasks.KillRequest{ContainerID: id, Signal: uint32(sig), All: all})
	err = errgrpc.ToNative(err)
	if errdefs.IsNotFound(err) || errdefs.IsFailedPrecondition(err) {
		// The process has ended, unless there is no such container at all.
		_, err = r.client.ContainerService().Get(ctx, id)
	}
	if err != nil {
		return fmt.Errorf("container %s: signal %d: %w", id, sig, classed(err, nil))
	}
	return nil
}

// Remove implements nodelet.Runtime.
func (r *Runtime) Remove(ctx context.Context, id string) error {
	ctx = r.in(ctx)
	record, err := r.client.ContainerService().Get(ctx, id)
	if errdefs.IsNotFound(err) {
		r.forget(id)
		return r.removeGate(id) // made before its container could be
	}
	if err != nil {
		return fmt.Errorf("container %s: %w", id, err)
	}
	defer r.pods.lock(record.Labels[labelPodUID])()
	if err := r.remove(ctx, id); err != nil {
		return fmt.Errorf("container %s: %w", id, err)
	}
	r.forget(id)
	return nil
}

func (r *Runtime) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, id)
	delete(r.records, id)
}

// remove expects the pod's lock.
func (r *Runtime) remove(ctx context.Context, id string) error {
	container, err := r.client.LoadContainer(ctx, id)
	if err != nil {
		return ignoreNotFound(err)
	}
	if err := deleteTask(ctx, container); err != nil {
		return err
	}
	return errors.Join(
		ignoreNotFound(container.Delete(ctx, client.WithSnapshotCleanup)),
		ignoreNotFound(r.client.SandboxStore().Delete(ctx, id)),
		r.removeGate(id),
	)
}
