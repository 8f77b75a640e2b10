package containerd

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"swell.dev/swell/nodelet"
	"swell.dev/swell/nodelet/runtimetest"
)

func TestPaths(t *testing.T) {
	for dir, run := range map[string]string{
		"/var/lib/swell/containerd":                       "/var/lib/swell/containerd/run",
		"/" + strings.Repeat("x", maxRunDir-len("//run")): "/" + strings.Repeat("x", maxRunDir-len("//run")) + "/run",
	} {
		p, err := pathsOf(dir)
		if err != nil || p.run != run {
			t.Errorf("%s: sockets in %s, %v; want %s", dir, p.run, err, run)
		}
	}
	long := "/" + strings.Repeat("x", maxRunDir-len("//run")+1)
	p, err := pathsOf(long)
	if err != nil || !strings.HasPrefix(p.run, "/run/swell-") || len(p.run) > maxRunDir {
		t.Errorf("a long path's sockets are in %s, %v", p.run, err)
	}
	if again, _ := pathsOf(long); again.run != p.run {
		t.Errorf("the same path has %s and %s", p.run, again.run)
	}
}

func TestFindBinaries(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	for _, name := range []string{"containerd", "containerd-shim-runc-v2", "runc"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	_, err := FindBinaries()
	if !errors.Is(err, nodelet.ErrUnsupported) || !strings.Contains(err.Error(), "swell-logger") || strings.Contains(err.Error(), "program runc") {
		t.Errorf("without a logger: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "swell-logger"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if b, err := FindBinaries(); err != nil || b.Runc != filepath.Join(dir, "runc") {
		t.Errorf("%+v, %v", b, err)
	}
}

// ownDir is a directory for a containerd of the test's own, whose path is too long for sockets.
func ownDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(host.dir, strings.ReplaceAll(t.Name(), "/", "_")+"-in-a-place-with-a-long-path", "c")
	t.Cleanup(func() {
		if err := Destroy(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestChildIsAdoptedAndStopped(t *testing.T) {
	needHost(t)
	cfg := ChildConfig{Dir: ownDir(t), Binaries: host.child.cfg.Binaries}
	first, err := StartChild(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	pid := first.PID()
	first.Release()
	second, err := StartChild(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if second.PID() != pid {
		t.Errorf("it was started again: %d, %d", pid, second.PID())
	}
	// An adopted one is watched over too.
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	runtimetest.Until(t, "it was started again", func() bool { return second.PID() != pid })
	if err := second.Stop(inTime(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(second.Socket()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its socket after it was stopped: %v", err)
	}
	// A stale pid file, here of a process that isn't a containerd, is no reason to signal anything.
	if err := os.WriteFile(second.paths.pid(), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		t.Fatal(err)
	}
	third, err := StartChild(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if third.PID() == os.Getpid() {
		t.Fatal("the test itself was adopted")
	}
	if err := third.Stop(inTime(t)); err != nil {
		t.Error(err)
	}
}

// TestChildSurvivesItsParent kills the parent with SIGKILL, and by Ctrl-C's way: its process group.
func TestChildSurvivesItsParent(t *testing.T) {
	needHost(t)
	dir := ownDir(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), parentEnv+"="+dir, "PATH="+filepath.Dir(host.child.cfg.Binaries.Logger)+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the parent says %q", line)
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() //nolint:errcheck // it was killed
	c, err := StartChild(t.Context(), ChildConfig{Dir: dir, Binaries: host.child.cfg.Binaries})
	if err != nil {
		t.Fatal(err)
	}
	if c.PID() != pid {
		t.Errorf("containerd was %d and is %d", pid, c.PID())
	}
	if err := c.Stop(inTime(t)); err != nil {
		t.Error(err)
	}
}

func TestChildThatCannotStart(t *testing.T) {
	needHost(t)
	b := host.child.cfg.Binaries
	b.Containerd = "/bin/false"
	_, err := StartChild(t.Context(), ChildConfig{Dir: ownDir(t), Binaries: b})
	if err == nil || !strings.Contains(err.Error(), "before it was ready") {
		t.Errorf("a containerd that ends at once answers %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := StartChild(ctx, ChildConfig{Dir: ownDir(t), Binaries: host.child.cfg.Binaries}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled start answers %v", err)
	}
}

func TestOverlayIsRefused(t *testing.T) {
	needHost(t)
	p := paths{dir: "/proc"}
	if err := p.checkOverlay(); err == nil {
		t.Error("overlayfs works in /proc")
	}
}
