package containerd

import (
	"testing"

	"swell.dev/swell/nodelet"
	"swell.dev/swell/nodelet/runtimetest"
)

// TestShortLives: containers that end as soon as they are started end like any other.
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
