package runtimetest

import (
	"errors"
	"syscall"
	"testing"

	"swell.dev/swell/nodelet"
)

// hold has a container wait; hosts that can't are passed over.
func (h *Host) hold(t *testing.T, command ...string) nodelet.Container {
	t.Helper()
	c := h.Container(t, command...)
	c.Held = "key"
	err := h.Runtime.Hold(t.Context(), c)
	if errors.Is(err, nodelet.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// release starts a held container as another.
func (h *Host) release(t *testing.T, c nodelet.Container, command ...string) {
	t.Helper()
	c.PodName, c.Hostname, c.Command = "q", "other", command
	pid, _, err := h.Runtime.Release(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if pid <= 0 {
		t.Errorf("released as process %d", pid)
	}
}

// held: a container waits, and becomes another one.
func held(t *testing.T, h *Host) {
	c := h.hold(t, "sleep", "100000")
	if s := h.State(t, c.ID); s.State != nodelet.StateCreated || s.Held != "key" || s.PodUID != c.PodUID || s.Attempt != c.Attempt {
		t.Errorf("held, it is listed as %+v", s)
	}
	if err := h.Runtime.Hold(t.Context(), c); !errors.Is(err, nodelet.ErrAlreadyExists) {
		t.Errorf("a second hold answers %v", err)
	}
	if _, _, err := h.Runtime.Start(t.Context(), c.ID); !errors.Is(err, nodelet.ErrStart) {
		t.Errorf("start answers %v", err)
	}
	h.release(t, c, "sh", "-c", "echo started; exit 3")
	if e := h.Exit(t, c.ID); e.ExitCode != 3 || e.PodUID != c.PodUID {
		t.Errorf("its end is told as %+v", e)
	}
	if s := h.State(t, c.ID); s.State != nodelet.StateExited || s.Held != "" || s.ExitCode != 3 {
		t.Errorf("ended, it is listed as %+v", s)
	}
	if out, _ := Log(t, c.LogPath); out != "started\n" {
		t.Errorf("its log has %q", out)
	}
	if _, _, err := h.Runtime.Release(t.Context(), c); err == nil || errors.Is(err, nodelet.ErrStart) {
		t.Errorf("a second release answers %v", err)
	}
}

// heldReopened: what waits goes on waiting while nobody watches.
func heldReopened(t *testing.T, h *Host) {
	c := h.hold(t, "sleep", "100000")
	h.Runtime = h.Reopen(t)
	if s := h.State(t, c.ID); s.State != nodelet.StateCreated || s.Held != "key" {
		t.Errorf("after reopening it is listed as %+v", s)
	}
	h.release(t, c, "sleep", "100000")
	if s := h.State(t, c.ID); s.State != nodelet.StateRunning || s.PID <= 0 || s.Held != "" {
		t.Errorf("released, it is listed as %+v", s)
	}
	h.Runtime = h.Reopen(t)
	if s := h.State(t, c.ID); s.State != nodelet.StateRunning || s.Held != "" {
		t.Errorf("after reopening once more it is listed as %+v", s)
	}
	if err := h.Runtime.Kill(t.Context(), c.ID, syscall.SIGKILL, false); err != nil {
		t.Fatal(err)
	}
	if e := h.Exit(t, c.ID); e.ExitCode != 137 {
		t.Errorf("its end is told as %+v", e)
	}
}

// heldEnds: the end of what waits is told, and its name can be used again.
func heldEnds(t *testing.T, h *Host) {
	c := h.hold(t, "sleep", "100000")
	if err := h.Runtime.Kill(t.Context(), c.ID, syscall.SIGKILL, false); err != nil {
		t.Fatal(err)
	}
	if e := h.Exit(t, c.ID); e.ExitCode != 137 || e.PodUID != c.PodUID {
		t.Errorf("its end is told as %+v", e)
	}
	if s := h.State(t, c.ID); s.State == nodelet.StateRunning || s.Held != "" {
		t.Errorf("ended, it is listed as %+v", s)
	}
	if _, _, err := h.Runtime.Release(t.Context(), c); err == nil || errors.Is(err, nodelet.ErrStart) {
		t.Errorf("release answers %v", err)
	}
	for _, again := range []func(*testing.T, nodelet.Container){
		func(t *testing.T, c nodelet.Container) { c.Held = ""; h.Start(t, c) },
		func(t *testing.T, c nodelet.Container) {
			if err := h.Runtime.Hold(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			h.release(t, c, "sleep", "100000")
		},
	} {
		if err := h.Runtime.Remove(t.Context(), c.ID); err != nil {
			t.Fatal(err)
		}
		again(t, c)
		if s := h.State(t, c.ID); s.State != nodelet.StateRunning {
			t.Errorf("made anew, it is listed as %+v", s)
		}
	}
}

// heldRefused: nothing but what is held is released.
func heldRefused(t *testing.T, h *Host) {
	c := h.hold(t, "sleep", "100000")
	if err := h.Runtime.Remove(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.Runtime.Release(t.Context(), c); !errors.Is(err, nodelet.ErrNotFound) {
		t.Errorf("release of what was removed answers %v", err)
	}
	c.Held = ""
	h.Start(t, c)
	if _, _, err := h.Runtime.Release(t.Context(), c); err == nil || errors.Is(err, nodelet.ErrStart) {
		t.Errorf("release of a running container answers %v", err)
	}
	if s := h.State(t, c.ID); s.State != nodelet.StateRunning {
		t.Errorf("it is listed as %+v", s)
	}
}
