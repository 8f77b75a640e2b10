package containerd

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"swell.dev/swell/nodelet"
	"swell.dev/swell/nodelet/runtimetest"
)

// interruptedShim starts the shim of c's pod as containerd does, and lets it come to the pipe of its log.
// The socket is the pod's: the next task goes there.
func interruptedShim(t *testing.T, h *runtimetest.Host, c nodelet.Container) (shim *proc, log string) {
	t.Helper()
	r := h.Runtime.(*Runtime)
	runtimetest.Until(t, "the runtime has looked for shims of before it", func() bool {
		r.looking.Lock()
		defer r.looking.Unlock()
		return !r.looked.IsZero()
	})
	p := host.child.paths
	sum := sha256.Sum256([]byte(filepath.Join(p.socket(), "swell", c.PodUID)))
	path := filepath.Join(p.shims(), fmt.Sprintf("%x", sum))
	if err := os.MkdirAll(p.shims(), 0o700); err != nil {
		t.Fatal(err)
	}
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	socket.SetUnlinkOnClose(false)
	defer socket.Close() //nolint:errcheck // the shim has its own
	file, err := socket.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // the shim has its own
	dir := t.TempDir()
	log = filepath.Join(dir, "log")
	if err := unix.Mkfifo(log, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(host.child.cfg.Binaries.Shim, "-namespace", "swell", "-id", c.ID, "-address", p.socket())
	cmd.Dir, cmd.ExtraFiles = dir, []*os.File{file}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	shim, err = watchProc(cmd.Process.Pid, cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		shim.kill(unix.SIGKILL)
		<-shim.ended
		shim.release()
	})
	return shim, log
}

func awaitStuck(t *testing.T, shim *proc) {
	t.Helper()
	runtimetest.Until(t, "the shim waits", func() bool {
		stuck, err := awaitsReader(shim.pid)
		if err != nil {
			t.Fatal(err)
		}
		return stuck
	})
}

// TestInterruptedShim: a request for the pod's first task was cut when its shim had begun and not opened
// its log.
func TestInterruptedShim(t *testing.T) {
	h := open(t)
	c := h.Container(t, "sleep", "100000")
	ctx, cancel := context.WithTimeout(t.Context(), runtimetest.Deadline)
	defer cancel()
	shim, _ := interruptedShim(t, h, c)
	awaitStuck(t, shim)
	if err := h.Runtime.Create(ctx, c); err != nil {
		t.Fatal(err)
	}
	<-shim.ended
	if _, _, err := h.Runtime.Start(ctx, c.ID); err != nil {
		t.Fatal(err)
	}
	if s := h.State(t, c.ID); s.State != nodelet.StateRunning {
		t.Errorf("it is listed as %+v", s)
	}
}

// TestInterruptedShimIsFoundAtStart: nobody makes that pod again.
func TestInterruptedShimIsFoundAtStart(t *testing.T) {
	h := open(t)
	c := h.Container(t, "sleep", "100000")
	shim, _ := interruptedShim(t, h, c)
	awaitStuck(t, shim)
	h.Runtime = h.Reopen(t)
	select {
	case <-shim.ended:
	case <-inTime(t).Done():
		t.Error("the shim runs on")
	}
}

// TestShimsThatServe are let alone, also before they do and where containerd doesn't read their log.
func TestShimsThatServe(t *testing.T) {
	h := open(t)
	c := h.Container(t, "sleep", "100000")
	r := h.Runtime.(*Runtime)
	stuck := func(shim *proc) bool {
		t.Helper()
		if id, err := r.shimOf(shim.pid); err != nil || id != c.ID {
			t.Fatalf("shim of %q: %v", id, err)
		}
		yes, err := awaitsReader(shim.pid)
		if err != nil {
			t.Fatal(err)
		}
		return yes
	}
	shim, log := interruptedShim(t, h, c)
	awaitStuck(t, shim)
	reader, err := os.OpenFile(log, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if stuck(shim) {
		t.Error("stuck, though its log has a reader")
	}
	runtimetest.Until(t, "the shim writes to its log", func() bool {
		target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/2", shim.pid))
		return err == nil && target == log
	})
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	if stuck(shim) {
		t.Error("stuck, though it has begun")
	}
	select {
	case <-shim.ended:
		t.Error("it has ended")
	default:
	}
}
