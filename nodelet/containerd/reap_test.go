package containerd

import (
	"bytes"
	"context"
	"reflect"
	"testing"

	"github.com/containerd/errdefs"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"swell.dev/swell/internal/crilog"
	"swell.dev/swell/nodelet"
)

// TestEndIsComplete: once an end is told, the log has everything and nobody writes to it any more, no
// task is left, and a later nodelet is told the same.
func TestEndIsComplete(t *testing.T) {
	h := open(t)
	c := h.Container(t, "sh", "-c", "printf 'no newline'; exit 3")
	h.Start(t, c)
	e := h.Exit(t, c.ID)
	var out bytes.Buffer
	if err := crilog.Copy(inTime(t), c.LogPath, crilog.Options{Tail: -1, Stdout: &out}); err != nil || out.String() != "no newline" {
		t.Errorf("the log is %q, %v", out.String(), err)
	}
	out.Reset()
	if err := crilog.Copy(inTime(t), c.LogPath, crilog.Options{Tail: -1, Follow: true, Stdout: &out}); err != nil || out.String() != "no newline" {
		t.Errorf("the log, followed to its end, is %q, %v", out.String(), err)
	}
	r := h.Runtime.(*Runtime)
	container, err := r.client.LoadContainer(r.in(t.Context()), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := container.Task(r.in(t.Context()), nil); !errdefs.IsNotFound(err) {
		t.Errorf("its task answers %v", err)
	}
	before := h.State(t, c.ID)
	if before.State != nodelet.StateExited || before.ExitCode != 3 || !before.ExitedAt.Equal(e.At) {
		t.Errorf("it is listed as %+v, and its end was told as %+v", before, e)
	}
	h.Runtime = h.Reopen(t)
	if after := h.State(t, c.ID); !reflect.DeepEqual(before, after) {
		t.Errorf("a later nodelet is told %+v, not %+v", after, before)
	}
}

// TestOutOfMemoryOnce: the next instance of a container that was out of memory isn't blamed for it.
func TestOutOfMemoryOnce(t *testing.T) {
	h := open(t)
	first := h.Container(t, "tail", "/dev/zero")
	first.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Mi")}
	h.Start(t, first)
	if e := h.Exit(t, first.ID); !e.OOMKilled {
		t.Fatalf("its end is told as %+v", e)
	}
	second := first
	second.ID, second.Attempt, second.Command, second.LogPath = first.ID+"-again", first.Attempt+1, []string{"sh", "-c", "exit 1"}, first.LogPath+".again"
	t.Cleanup(func() { h.Runtime.Remove(context.Background(), second.ID) }) //nolint:errcheck // the package's end tells
	h.Start(t, second)
	if e := h.Exit(t, second.ID); e.OOMKilled || e.ExitCode != 1 {
		t.Errorf("the second one's end is told as %+v", e)
	}
	if s := h.State(t, second.ID); s.OOMKilled {
		t.Errorf("the second one is listed as %+v", s)
	}
}
