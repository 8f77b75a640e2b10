package containerd

import (
	"testing"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"

	"swell.dev/swell/nodelet"
	"swell.dev/swell/nodelet/runtimetest"
)

func (r *Runtime) statusOf(t *testing.T, id string) tasktypes.Status {
	t.Helper()
	answer, err := r.client.TaskService().Get(r.in(t.Context()), &tasks.GetRequest{ContainerID: id})
	if err != nil {
		t.Fatal(err)
	}
	return answer.GetProcess().GetStatus()
}

// TestStartIsToldAfterwards: a container runs before containerd knows, which learns of it, also if the nodelet
// was killed in between.
func TestStartIsToldAfterwards(t *testing.T) {
	h := open(t)
	c := h.Container(t, "sleep", "100000")
	if err := h.Runtime.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	r := h.Runtime.(*Runtime)
	r.abandon() // as if it were killed after the start
	pid, _, err := h.Runtime.Start(t.Context(), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	runtimetest.Until(t, "the command runs", func() bool { return !isInit(pid) && alive(pid) })
	if s := r.statusOf(t, c.ID); s != tasktypes.Status_CREATED {
		t.Errorf("containerd has it as %s", s)
	}
	h.Runtime = h.Reopen(t)
	if s := h.State(t, c.ID); s.State != nodelet.StateRunning || s.PID != pid || time.Since(s.StartedAt) > runtimetest.Deadline {
		t.Errorf("it is listed as %+v", s)
	}
	r = h.Runtime.(*Runtime)
	runtimetest.Until(t, "containerd knows", func() bool { return r.statusOf(t, c.ID) == tasktypes.Status_RUNNING })
	if out := say(t, h, c.ID, "echo", "here"); out != "here\n" {
		t.Errorf("exec says %q", out)
	}
	if s := h.State(t, c.ID); s.State != nodelet.StateRunning || s.PID != pid {
		t.Errorf("it is listed as %+v", s)
	}
}

// TestShortLives: containers that end at once, before containerd knows that they were started, end like any
// other.
func TestShortLives(t *testing.T) {
	h := open(t)
	for i := range 10 {
		c := h.Container(t, "sh", "-c", "echo done; exit 3")
		h.Start(t, c)
		if e := h.Exit(t, c.ID); e.ExitCode != 3 {
			t.Errorf("container %d ended with %+v", i, e)
		}
		if s := h.State(t, c.ID); s.State != nodelet.StateExited || s.ExitCode != 3 || s.StartedAt.IsZero() {
			t.Errorf("container %d is listed as %+v", i, s)
		}
		if out, _ := runtimetest.Log(t, c.LogPath); out != "done\n" {
			t.Errorf("container %d says %q", i, out)
		}
	}
}
