package sim

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

	"swell.dev/swell/nodelet"
)

var _ nodelet.Runtime = (*Runtime)(nil)

// Runtime is one nodelet's access to a Host.
type Runtime struct {
	h      *Host
	exits  chan nodelet.Exit
	closed chan struct{}
	once   sync.Once
}

// heldExits is few: a fleet has thousands of these channels, and mostly nothing ends.
const heldExits = 16

// Runtime connects to the host.
func (h *Host) Runtime() *Runtime {
	r := &Runtime{h: h, exits: make(chan nodelet.Exit, heldExits), closed: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.runtimes[r] = true
	return r
}

// Close disconnects; the containers run on.
func (r *Runtime) Close() error {
	r.once.Do(func() {
		close(r.closed)
		r.h.mu.Lock()
		defer r.h.mu.Unlock()
		delete(r.h.runtimes, r)
	})
	return nil
}

// Exits implements nodelet.Runtime. When as many as it holds wait, others do too.
func (r *Runtime) Exits() <-chan nodelet.Exit { return r.exits }

// Create implements nodelet.Runtime.
func (r *Runtime) Create(ctx context.Context, c nodelet.Container) error {
	c.Held = ""
	return r.create(ctx, c)
}

// Hold implements nodelet.Runtime.
func (r *Runtime) Hold(ctx context.Context, c nodelet.Container) error {
	if c.Held == "" {
		return fmt.Errorf("container %s: hold: no key", c.ID)
	}
	return r.create(ctx, c)
}

// Release implements nodelet.Runtime.
func (r *Runtime) Release(ctx context.Context, c nodelet.Container) (int, time.Time, error) {
	r.h.mu.Lock()
	held, err := r.h.getLocked(c.ID)
	if err == nil && (held.state.State != nodelet.StateCreated || held.state.Held == "") {
		err = fmt.Errorf("container %s: it isn't held", c.ID)
	}
	if err == nil {
		log := held.spec.LogPath // its name stays; the folder may have another
		held.spec, held.script = c, r.h.cfg.Script(c)
		held.spec.LogPath = log
		held.state.PodName, held.state.LogPath, held.state.Held = c.PodName, c.LogPath, ""
	}
	r.h.mu.Unlock()
	if err != nil {
		return 0, time.Time{}, err
	}
	return r.Start(ctx, c.ID)
}

func (r *Runtime) create(ctx context.Context, c nodelet.Container) error {
	if err := wait(ctx, r.h.cfg.CreateLatency); err != nil {
		return err
	}
	script := r.h.cfg.Script(c)
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	if r.h.containers[c.ID] != nil {
		return fmt.Errorf("container %s: %w", c.ID, nodelet.ErrAlreadyExists)
	}
	if script.CreateErr != nil {
		return fmt.Errorf("container %s: %w", c.ID, script.CreateErr)
	}
	if _, ok := r.h.images[c.Image.Ref]; !ok {
		return fmt.Errorf("container %s: %w: image %s: %w", c.ID, nodelet.ErrCreate, c.Image.Ref, nodelet.ErrNotFound)
	}
	r.h.containers[c.ID] = &container{spec: c, script: script, state: nodelet.ContainerState{
		ID: c.ID, Name: c.Name, PodUID: c.PodUID, PodName: c.PodName, Namespace: c.Namespace, Attempt: c.Attempt,
		State: nodelet.StateCreated, Image: c.Image, CreatedAt: time.Now(), LogPath: c.LogPath, Held: c.Held,
	}}
	return nil
}

// Start implements nodelet.Runtime.
func (r *Runtime) Start(ctx context.Context, id string) (int, time.Time, error) {
	if err := wait(ctx, r.h.cfg.StartLatency); err != nil {
		return 0, time.Time{}, err
	}
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	c, err := r.h.getLocked(id)
	if err != nil {
		return 0, time.Time{}, err
	}
	if c.state.State != nodelet.StateCreated || c.state.Held != "" {
		return 0, time.Time{}, fmt.Errorf("container %s: %w: it was started before, or is held", id, nodelet.ErrStart)
	}
	if c.script.StartErr != nil {
		return 0, time.Time{}, fmt.Errorf("container %s: %w", id, c.script.StartErr)
	}
	if err := r.h.startLocked(c); err != nil {
		return 0, time.Time{}, fmt.Errorf("container %s: %w: %w", id, nodelet.ErrStart, err)
	}
	return c.state.PID, c.state.StartedAt, nil
}

func (h *Host) getLocked(id string) (*container, error) {
	c := h.containers[id]
	if c == nil {
		return nil, fmt.Errorf("container %s: %w", id, nodelet.ErrNotFound)
	}
	return c, nil
}

// Kill implements nodelet.Runtime. Signals other than SIGTERM, SIGINT, SIGQUIT and SIGKILL do nothing.
func (r *Runtime) Kill(_ context.Context, id string, sig syscall.Signal, _ bool) error {
	r.h.mu.Lock()
	c, err := r.h.getLocked(id)
	tell := func() {}
	if err == nil {
		switch {
		case sig == syscall.SIGKILL,
			!c.script.IgnoreTerm && (sig == syscall.SIGTERM || sig == syscall.SIGINT || sig == syscall.SIGQUIT):
			tell = r.h.endLocked(c, 128+int32(sig), false)
		}
	}
	r.h.mu.Unlock()
	tell()
	return err
}

// Remove implements nodelet.Runtime.
func (r *Runtime) Remove(_ context.Context, id string) error {
	r.h.mu.Lock()
	tell := func() {}
	if c := r.h.containers[id]; c != nil {
		c.state.Held = ""
		tell = r.h.endLocked(c, 128+int32(syscall.SIGKILL), false)
		delete(r.h.containers, id)
	}
	r.h.mu.Unlock()
	tell()
	return nil
}

// List implements nodelet.Runtime.
func (r *Runtime) List(context.Context) ([]nodelet.ContainerState, error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	list := make([]nodelet.ContainerState, 0, len(r.h.containers))
	for _, c := range r.h.containers {
		list = append(list, c.state)
	}
	return list, nil
}

// wait passes a latency.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
