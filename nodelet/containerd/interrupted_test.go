package containerd

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"

	"swell.dev/swell/nodelet"
	"swell.dev/swell/nodelet/runtimetest"
)

// TestInterruptedCreate: the nodelet was killed after the container was recorded and before its task.
func TestInterruptedCreate(t *testing.T) {
	h := open(t)
	c := h.Container(t, "sleep", "100000")
	if err := h.Runtime.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	r := h.Runtime.(*Runtime)
	container, err := r.client.LoadContainer(r.in(t.Context()), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	task, err := container.Task(r.in(t.Context()), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Kill(r.in(t.Context()), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	runtimetest.Until(t, "the task is deleted", func() bool {
		_, err := task.Delete(r.in(t.Context()))
		return err == nil
	})
	h.Runtime = h.Reopen(t)
	if s := h.State(t, c.ID); s.State != nodelet.StateCreated {
		t.Fatalf("it is listed as %+v", s)
	}
	if _, _, err := h.Runtime.Start(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	if s := h.State(t, c.ID); s.State != nodelet.StateRunning {
		t.Errorf("it is listed as %+v", s)
	}
}

// TestInterruptedSnapshot finds what is left where a nodelet was killed between snapshot and container.
func TestInterruptedSnapshot(t *testing.T) {
	h := open(t)
	c := h.Container(t, "sleep", "100000")
	if err := h.Runtime.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	r := h.Runtime.(*Runtime)
	ctx := r.in(t.Context())
	container, err := r.client.LoadContainer(ctx, c.ID)
	if err != nil {
		t.Fatal(err)
	}
	task, err := container.Task(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := task.Delete(ctx, client.WithProcessKill); err != nil {
		t.Fatal(err)
	}
	if err := container.Delete(ctx); err != nil { // the snapshot stays
		t.Fatal(err)
	}
	h.Runtime = h.Reopen(t)
	if err := h.Runtime.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.Runtime.Start(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	if err := h.Runtime.Create(t.Context(), c); !errors.Is(err, nodelet.ErrAlreadyExists) {
		t.Errorf("made again: %v", err)
	}
}

// TestTaskInTheMaking waits for containerd, which still has the bundle of a request that nobody waits for.
func TestTaskInTheMaking(t *testing.T) {
	h := open(t)
	c := h.Container(t, "sleep", "100000")
	bundle := filepath.Join(host.child.paths.state(), "io.containerd.runtime.v2.task", "swell", c.ID)
	if err := os.MkdirAll(bundle, 0o700); err != nil {
		t.Fatal(err)
	}
	given := time.AfterFunc(10*makingEvery, func() {
		if err := os.Remove(bundle); err != nil {
			t.Error(err)
		}
	})
	defer given.Stop()
	if err := h.Runtime.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.Runtime.Start(t.Context(), c.ID); err != nil {
		t.Error(err)
	}
}
