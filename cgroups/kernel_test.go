package cgroups

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The tests named TestKernel… run against the real kernel, on whichever version the host has, in a group
// of their own. Package vmtest runs them once more on version 2.

// errNeedsRoot is what these tests lack.
type errNeedsRoot struct{}

func (errNeedsRoot) Error() string { return "control groups are made by root: run the tests as root" }

var tests atomic.Int64

// testGroup makes a group for one test and deletes it afterwards, with what is in it.
func testGroup(t testing.TB) *Group {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip(errNeedsRoot{})
	}
	h, err := Detect()
	var missing *MissingError
	if errors.As(err, &missing) || errors.Is(err, fs.ErrNotExist) {
		t.Skip(err)
	}
	must(t, err)
	parent := h.Group(fmt.Sprintf("/swell-test-%d", os.Getpid()))
	g := parent.Child(fmt.Sprint(tests.Add(1)))
	must(t, g.Create())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		must(t, parent.Delete(ctx))
	})
	return g
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func child(t testing.TB, g *Group, name string) *Group {
	t.Helper()
	c := g.Child(name)
	must(t, c.Create())
	return c
}

// wantFile compares what the kernel's own file holds; a name per version.
func wantFile(t *testing.T, g *Group, controller, v1, v2, want1, want2 string) {
	t.Helper()
	file, want := v1, want1
	if g.h.version == 2 {
		file, want = v2, want2
	}
	b, err := os.ReadFile(filepath.Join(g.dir(controller), file))
	must(t, err)
	if got := strings.TrimSpace(string(b)); got != want {
		t.Errorf("%s: %s holds %q, want %q", g.path, file, got, want)
	}
}

func wantMemory(t *testing.T, g *Group, bytes int64) {
	t.Helper()
	want := fmt.Sprint(bytes)
	wantFile(t, g, Memory, "memory.limit_in_bytes", "memory.max", want, want)
	if g.h.version == 2 {
		wantFile(t, g, Memory, "", "memory.high", "", "max")
	}
}

func wantCPU(t *testing.T, g *Group, shares uint64, quota int64) {
	t.Helper()
	v2 := fmt.Sprintf("%d 100000", quota)
	if quota == Unlimited {
		v2 = "max 100000"
	}
	wantFile(t, g, CPU, "cpu.cfs_quota_us", "cpu.max", fmt.Sprint(quota), v2)
	wantFile(t, g, CPU, "cpu.shares", "cpu.weight", fmt.Sprint(shares), fmt.Sprint(WeightOf(shares)))
}

func wantLimits(t *testing.T, g *Group, want Limits) {
	t.Helper()
	got, err := g.Read()
	must(t, err)
	if got.Quota != want.Quota || got.Memory != want.Memory || !g.sameShares(got.Shares, want.Shares) {
		t.Errorf("%s: %+v, want %+v", g.path, got, want)
	}
}

func TestKernelGroupsAreMadeAndDeleted(t *testing.T) {
	g := testGroup(t)
	a := g.Child("a")
	if a.Exists() {
		t.Fatal("it exists before it is made")
	}
	b := child(t, a, "b") // with those above it
	must(t, b.Create())   // again
	if !a.Exists() || !b.Exists() {
		t.Fatal("it doesn't exist")
	}
	names, err := g.Children()
	if err != nil || len(names) != 1 || names[0] != "a" {
		t.Fatalf("children: %v, %v", names, err)
	}
	wantLimits(t, b, Limits{Shares: 1024, Quota: Unlimited, Memory: Unlimited})
	must(t, a.Delete(t.Context()))
	for _, dir := range append(a.dirs(), b.dirs()...) {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", dir, err)
		}
	}
	must(t, a.Delete(t.Context())) // again
	if _, err := a.Read(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("limits of a deleted group: %v", err)
	}
	if err := a.SetMemory(t.Context(), mib); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("memory limit of a deleted group: %v", err)
	}
	if names, err := a.Children(); len(names) != 0 || err != nil {
		t.Errorf("children of a deleted group: %v, %v", names, err)
	}
}

func TestKernelDeleteKills(t *testing.T) {
	g := testGroup(t)
	pod := child(t, g, "pod")
	var helpers []*helper
	for _, name := range []string{"a", "b"} {
		h := startHelper(t, child(t, pod, name))
		h.do("fork")
		h.do("burn")
		helpers = append(helpers, h)
	}
	if pids, err := pod.Child("a").Procs(); err != nil || len(pids) != 2 {
		t.Fatalf("processes: %v, %v", pids, err)
	}
	// They are reaped as they end: one that isn't stays in its group for some kernels.
	ended := make(chan error, len(helpers))
	for _, h := range helpers {
		go func() { ended <- h.cmd.Wait() }()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	must(t, pod.Delete(ctx))
	for range helpers {
		<-ended
	}
	for _, h := range helpers {
		if status := h.cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
			t.Errorf("the process ended with %v", h.cmd.ProcessState)
		}
	}
	if pod.Exists() {
		t.Error("it is left")
	}
}

func TestKernelStats(t *testing.T) {
	g := testGroup(t)
	h := startHelper(t, g)
	must(t, g.SetCPU(1024, 5000))
	h.do("hold", 32)
	h.do("burn")
	var s Stats
	must(t, within(t, 60*time.Second, "throttling", func() (err error) {
		for s.Throttles < 3 && err == nil {
			s, err = g.Stats()
		}
		return err
	}))
	if s.CPU <= 0 || s.Throttled <= 0 || s.Periods < s.Throttles || s.OOMKills != 0 {
		t.Errorf("got %+v", s)
	}
	if s.Memory < 32*mib || s.Working < 32*mib || s.Working > s.Memory {
		t.Errorf("with 32 MiB held: %+v", s)
	}
}

func TestKernelOOMKillIsCounted(t *testing.T) {
	g := testGroup(t)
	must(t, g.SetMemory(t.Context(), 16*mib))
	h := startHelper(t, g)
	if err := h.try("hold", 64); err == nil {
		t.Fatal("64 MiB were had with a limit of 16")
	}
	h.cmd.Wait()
	if s, err := g.Stats(); err != nil || s.OOMKills != 1 {
		t.Errorf("got %+v, %v", s, err)
	}
}
