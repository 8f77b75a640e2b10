package nodelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// run starts a container: the one that is held, if it fits, or one that it makes. An instance that a former
// process made for this pod is started as it is.
func (h *host) run(ctx context.Context, b *builder, act actRun) inStarted {
	out := inStarted{Container: act.Container.Name, Attempt: act.Attempt}
	c, err := b.container(ctx, act)
	if err != nil {
		out.Err = err
		return out
	}
	if act.Held != "" {
		if c.Held, out.Err = b.heldKey(c, act); out.Err != nil {
			return out
		}
		fits := c.Held == act.Held
		if fits {
			if out.Err = h.meter.start(); out.Err == nil {
				out.Created = true
				out.PID, out.At, out.Err = h.cfg.Runtime.Release(ctx, c)
			}
			if out.Err == nil || errors.Is(out.Err, ErrStart) {
				return h.readActual(out)
			}
			h.cfg.Logger.Warn("held container not released; making another", "container", c.ID, "cause", out.Err)
		}
		if out.Err = h.cfg.Runtime.Remove(ctx, c.ID); out.Err != nil {
			return out
		}
		c.Held, out.MadeAt = "", time.Now()
	}
	if err := h.cfg.Runtime.Create(ctx, c); err != nil && !errors.Is(err, ErrAlreadyExists) {
		out.Err = errors.Join(err, h.cfg.Runtime.Remove(ctx, c.ID))
		return out
	}
	out.Created = true
	if err := h.meter.start(); err != nil {
		out.Err = fmt.Errorf("metering: %w", err) // what can't be metered doesn't run
		return out
	}
	out.PID, out.At, out.Err = h.cfg.Runtime.Start(ctx, c.ID)
	return h.readActual(out)
}

// readActual adds what the kernel holds. A process that is gone already has no values, and one whose values
// can't be read keeps the ones that it was made with.
func (h *host) readActual(out inStarted) inStarted {
	if out.Err != nil {
		return out
	}
	if actual, err := h.cfg.Cgroups.Read(h.uid, []string{out.Container}); err == nil {
		out.Actual = actual[out.Container]
	}
	return out
}

// hold makes a slot's container, unless the one that is there fits.
func (h *host) hold(ctx context.Context, b *builder, act actHold) inHeld {
	out := inHeld{Container: act.Container.Name, Attempt: act.Attempt}
	c, err := b.container(ctx, actRun(act))
	if err == nil {
		c.Held, err = b.heldKey(c, actRun(act))
	}
	if err != nil {
		out.Err = err
		return out
	}
	out.Held = c.Held
	if act.Held == c.Held {
		return out
	}
	c.LogPath = containerLogPath(filepath.Join(h.dir, dirLogs), c.Name, c.Attempt)
	out.Err = h.makeLogs()
	if out.Err == nil && act.Held != "" {
		out.Err = h.cfg.Runtime.Remove(ctx, c.ID)
	}
	if out.Err == nil {
		out.At = time.Now()
		out.Err = h.cfg.Runtime.Hold(ctx, c)
	}
	if errors.Is(out.Err, ErrAlreadyExists) { // of a former process, or for another template
		if out.Err = h.cfg.Runtime.Remove(ctx, c.ID); out.Err == nil {
			out.At = time.Now()
			out.Err = h.cfg.Runtime.Hold(ctx, c)
		}
	}
	if out.Err != nil {
		out.Err = errors.Join(out.Err, h.cfg.Runtime.Remove(ctx, c.ID))
	}
	return out
}

// dirLogs is, in the folder of a pod that was a slot, the folder of its logs. Whoever writes the log of a
// container that was held knows it by this name, whatever the pod is called that takes the slot; under the
// pod's own name a link leads to it.
const dirLogs = "logs"

// makeLogs makes the folder of a slot's logs.
func (h *host) makeLogs() error {
	if h.silent() {
		return nil
	}
	_, err := makeFolder(h.dir, 0o700)
	if err == nil {
		_, err = makeFolder(filepath.Join(h.dir, dirLogs), 0o755)
	}
	return err
}

// linkLogs makes the link for a pod that takes a slot, to where the slot's logs are.
func (h *host) linkLogs(a Assignment) error {
	if h.silent() {
		return nil
	}
	err := linkFolder(filepath.Join(h.dir, dirLogs), podLogDir(h.cfg.LogDir, a.Pod.Namespace, a.Pod.Name, h.uid))
	if err != nil {
		return fmt.Errorf("pod %s: logs: %w", h.uid, err)
	}
	return nil
}

// silent reports that no container of the host writes a log.
func (h *host) silent() bool {
	f, ok := h.cfg.Volumes.(filer)
	return ok && !f.Logs()
}

// linkFolder makes a link to a folder, if that is there.
func linkFolder(dir, link string) error {
	if err := unix.Access(dir, unix.F_OK); errors.Is(err, unix.ENOENT) {
		return nil // no container was held
	}
	err := unix.Symlink(dir, link)
	if errors.Is(err, unix.ENOENT) {
		if err = os.MkdirAll(filepath.Dir(link), 0o755); err == nil {
			err = unix.Symlink(dir, link)
		}
	}
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}
