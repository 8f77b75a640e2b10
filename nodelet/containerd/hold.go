package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"swell.dev/swell/internal/gate"
	"swell.dev/swell/nodelet"
)

// A held process has to be there within readyWithin, and has to say within becomeWithin whether it became
// what it was told to. Both bound what never happens.
const (
	readyWithin  = 30 * time.Second
	becomeWithin = 30 * time.Second
)

// Hold implements nodelet.Runtime. To containerd the container runs; its process is swell-hold, behind a gate.
func (r *Runtime) Hold(ctx context.Context, c nodelet.Container) error {
	if r.cfg.Holder == "" || r.cfg.GateDir == "" {
		return fmt.Errorf("container %s: hold: %w: swell-hold isn't installed", c.ID, nodelet.ErrUnsupported)
	}
	if c.Held == "" {
		return fmt.Errorf("container %s: hold: no key", c.ID)
	}
	if err := r.makeGate(c.ID); err != nil {
		return fmt.Errorf("container %s: gate: %w", c.ID, err)
	}
	if err := r.make(ctx, c); err != nil {
		return err // what was there before keeps its gate
	}
	if err := r.close(r.in(ctx), c.ID); err != nil {
		return fmt.Errorf("container %s: hold: %w", c.ID, errors.Join(err, r.Remove(context.WithoutCancel(ctx), c.ID)))
	}
	return nil
}

// close starts the process and waits until it waits.
func (r *Runtime) close(ctx context.Context, id string) error {
	answer, err := os.OpenFile(r.gate(id, gate.Answer), os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer answer.Close() //nolint:errcheck // it was only read
	pid, err := r.start(ctx, id)
	if err != nil {
		return fmt.Errorf("%w: %w", nodelet.ErrStart, err)
	}
	if err := answer.SetReadDeadline(time.Now().Add(readyWithin)); err != nil {
		return err
	}
	var b [1]byte
	if _, err := answer.Read(b[:]); err != nil || b[0] != gate.Ready {
		return fmt.Errorf("process %d isn't ready: answer %q: %w", pid, b, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.known[id]; k != nil {
		k.pid = pid
	}
	return leaveNoGate(pid)
}

// Release implements nodelet.Runtime.
func (r *Runtime) Release(ctx context.Context, c nodelet.Container) (int, time.Time, error) {
	wrap := func(err error) (int, time.Time, error) {
		return 0, time.Time{}, fmt.Errorf("container %s: release: %w", c.ID, err)
	}
	ctx = r.in(ctx)
	r.mu.Lock()
	k := r.known[c.ID]
	r.mu.Unlock()
	if k == nil {
		return wrap(nodelet.ErrNotFound)
	}
	config, err := r.configOf(ctx, c.Image, nil)
	if err != nil {
		return wrap(err)
	}
	p := gate.Process{Env: environment(c, config)}
	if p.Args, err = arguments(c, config); err != nil {
		return wrap(err)
	}
	r.mu.Lock()
	held, pid := k.held != "" && !k.exited, k.pid
	if held {
		k.held, k.begun, k.record = "", true, make(chan struct{})
	}
	r.mu.Unlock()
	if !held || !waits(pid) {
		return wrap(errors.New("nothing waits"))
	}
	if err := setHostname(pid, c.Hostname); err != nil {
		return wrap(err)
	}
	at, err := r.open(c.ID, p)
	if errors.Is(err, nodelet.ErrStart) {
		r.mu.Lock()
		k.exited = true // told by this answer
		r.mu.Unlock()
		return wrap(errors.Join(err, r.Remove(context.WithoutCancel(ctx), c.ID)))
	}
	if err != nil {
		return wrap(err)
	}
	r.mu.Lock()
	k.started = true
	r.mu.Unlock()
	r.background(recordWithin, func(ctx context.Context) {
		r.recordRelease(ctx, k, c.ID, labelsOf(c), released{at, c.Hostname, p})
	})
	return pid, at, nil
}

// open lets the process become p. Without an error, or with ErrStart, it was told to; otherwise nothing
// has happened.
func (r *Runtime) open(id string, p gate.Process) (time.Time, error) {
	raw := p.Encode()
	if len(raw) > gate.MaxRequest {
		return time.Time{}, fmt.Errorf("arguments and environment of %d bytes", len(raw))
	}
	answer, err := os.OpenFile(r.gate(id, gate.Answer), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return time.Time{}, err
	}
	defer answer.Close() //nolint:errcheck // it was only read
	request, err := unix.Open(r.gate(id, gate.Request), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return time.Time{}, err // ENXIO: nobody is there to read
	}
	defer unix.Close(request) //nolint:errcheck // a pipe keeps nothing back
	if size := len(raw); size > 64<<10 {
		if _, err := unix.FcntlInt(uintptr(request), unix.F_SETPIPE_SZ, gate.MaxRequest); err != nil {
			return time.Time{}, fmt.Errorf("arguments and environment of %d bytes: %w", size, err)
		}
	}
	if n, err := unix.Write(request, raw); err != nil || n < len(raw) {
		return time.Time{}, errors.Join(fmt.Errorf("%d of %d bytes were told", n, len(raw)), err)
	}
	at, err := changedAt(r.gate(id, gate.Request))
	if err != nil {
		at = time.Now()
	}
	if err := answer.SetReadDeadline(time.Now().Add(becomeWithin)); err != nil {
		return at, nil
	}
	said, err := io.ReadAll(answer)
	if len(said) > 0 && said[0] == gate.Ready {
		said = said[1:] // of the beginning: whoever held it was killed
	}
	if err == nil && len(said) > 0 {
		return at, fmt.Errorf("%w: %s", nodelet.ErrStart, said)
	}
	return at, nil // what hangs after it was told may still begin, and ends by a signal
}

// released is what a held container became.
type released struct {
	at       time.Time
	hostname string
	process  gate.Process
}

// recordRelease makes containerd's record say what runs, which exec works from, and drops the gate.
func (r *Runtime) recordRelease(ctx context.Context, k *known, id string, labels map[string]string, what released) {
	for {
		err := r.tryRecordRelease(ctx, id, labels, what)
		if err == nil || errdefs.IsNotFound(err) { // removed already
			break
		}
		select {
		case <-time.After(recordEvery):
			continue
		case <-ctx.Done():
		}
		r.cfg.Log.Warn("release not recorded", "container", id, "cause", err)
		break
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	close(k.record)
}

func (r *Runtime) tryRecordRelease(ctx context.Context, id string, labels map[string]string, what released) error {
	container, err := r.client.LoadContainer(ctx, id)
	if err != nil {
		return err
	}
	defer r.pods.lock(labels[labelPodUID])()
	err = container.Update(ctx, func(_ context.Context, _ *client.Client, c *containers.Container) error {
		var s specs.Spec
		if err := typeurl.UnmarshalTo(c.Spec, &s); err != nil {
			return err
		}
		s.Hostname, s.Process.Args, s.Process.Env = what.hostname, what.process.Args, what.process.Env
		for name, value := range labels {
			if name != labelHeld {
				c.Labels[name] = value
			}
		}
		c.Labels[labelStarted] = text(what.at)
		any, err := typeurl.MarshalAny(&s)
		c.Spec = any
		return err
	})
	if err != nil {
		return err
	}
	_, err = r.client.SandboxStore().Create(ctx, sandbox.Sandbox{ID: id, Runtime: sandbox.RuntimeOpts{Name: runcRuntime}})
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return err
	}
	return r.removeGate(id)
}

// awaitRecord waits until containerd's record of a container that was held is what runs.
func (r *Runtime) awaitRecord(ctx context.Context, id string) error {
	r.mu.Lock()
	var recorded chan struct{}
	if k := r.known[id]; k != nil {
		recorded = k.record
	}
	r.mu.Unlock()
	if recorded == nil {
		return nil
	}
	select {
	case <-recorded:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// withHeld tells a container that waits from one that was released by a nodelet which was killed before it
// could record it. What runs is read from the process.
func (r *Runtime) withHeld(s *nodelet.ContainerState, labels map[string]string) {
	r.mu.Lock()
	k := r.known[s.ID]
	ours := k != nil && (k.begun || k.record != nil)
	r.mu.Unlock()
	switch {
	case ours:
	case waits(s.PID):
		s.State, s.Held = nodelet.StateCreated, labels[labelHeld]
	default:
		r.repair(s, labels)
	}
}

func (r *Runtime) repair(s *nodelet.ContainerState, labels map[string]string) {
	args, err := commandOf(s.PID)
	env, err2 := procStrings(s.PID, "environ")
	at, err3 := changedAt(r.gate(s.ID, gate.Request)) // written when it was let go
	hostname, err4 := hostnameOf(s.PID)
	if errors.Join(err, err2, err3, err4) != nil {
		return // it ended just now
	}
	r.note(*s, labels[labelCgroup])
	r.mu.Lock()
	k := r.known[s.ID]
	first := k.record == nil
	if first {
		k.held, k.begun, k.started, k.record = "", true, true, make(chan struct{})
	}
	r.mu.Unlock()
	if first {
		r.background(recordWithin, func(ctx context.Context) {
			r.recordRelease(ctx, k, s.ID, map[string]string{labelPodUID: s.PodUID}, released{at, hostname, gate.Process{Args: args, Env: env}})
		})
	}
}

func (r *Runtime) gate(id, name string) string { return filepath.Join(r.cfg.GateDir, id, name) }

// behindGate has a container run what waits.
func (r *Runtime) behindGate(s *specs.Spec, id string) {
	s.Process.Args = []string{gate.Dir + "/" + gate.Start}
	s.Process.Env = []string{defaultPath} // and HOME, which runc adds for the user
	s.Mounts = append(s.Mounts, specs.Mount{Destination: gate.Dir, Type: "bind", Source: r.gate(id, ""), Options: []string{"bind", "ro", "nosuid", "nodev", "private"}})
}

// makeGate makes a gate, from whatever an interrupted attempt has left. One that is in use stays.
func (r *Runtime) makeGate(id string) error {
	dir := r.gate(id, "")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range []string{gate.Request, gate.Answer} {
		if err := unix.Mkfifo(r.gate(id, name), 0o666); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
		if err := os.Chmod(r.gate(id, name), 0o666); err != nil { // whatever the umask: the container's user may be anybody
			return err
		}
	}
	if err := os.Link(filepath.Join(r.cfg.GateDir, gate.Start), r.gate(id, gate.Start)); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return os.Chmod(dir, 0o755)
}

func (r *Runtime) removeGate(id string) error {
	if r.cfg.GateDir == "" {
		return nil
	}
	return os.RemoveAll(r.gate(id, ""))
}

// installHolder puts swell-hold where gates can link to it. Gates of before keep theirs.
func (c *Config) installHolder() error {
	if c.Holder == "" || c.GateDir == "" {
		return nil
	}
	raw, err := os.ReadFile(c.Holder)
	if err != nil {
		return fmt.Errorf("swell-hold: %w", err)
	}
	if err := os.MkdirAll(c.GateDir, 0o711); err != nil {
		return fmt.Errorf("gates: %w", err)
	}
	f, err := os.CreateTemp(c.GateDir, ".start-*")
	if err != nil {
		return fmt.Errorf("gates: %w", err)
	}
	_, err = f.Write(raw)
	err = errors.Join(err, f.Chmod(0o755), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(c.GateDir, gate.Start))
	}
	if err != nil {
		return fmt.Errorf("gates: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
