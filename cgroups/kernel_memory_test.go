package cgroups

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cacheEnv names a file or a disk that reading brings into the page cache, for a host whose temporary
// files lie in memory.
const cacheEnv = "SWELL_CGROUPS_CACHE"

// cacheFile answers a file of so many MiB on a disk.
func cacheFile(t *testing.T, n int64) string {
	t.Helper()
	if path := os.Getenv(cacheEnv); path != "" {
		return path
	}
	const tmpfs, ramfs = 0x01021994, 0x858458f6
	dir := t.TempDir()
	var fs syscall.Statfs_t
	must(t, syscall.Statfs(dir, &fs))
	if fs.Type == tmpfs || fs.Type == ramfs {
		t.Skipf("a page cache that can be reclaimed needs a file on a disk: set TMPDIR, or %s to a file of %d MiB", cacheEnv, n)
	}
	path := filepath.Join(dir, "cache")
	must(t, os.WriteFile(path, nil, 0o600))
	must(t, os.Truncate(path, n*mib))
	return path
}

// shrink sets a limit, and fails if that hangs.
func shrink(t *testing.T, g *Group, limit int64) error {
	t.Helper()
	return within(t, 60*time.Second, "the limit", func() error { return g.SetMemory(t.Context(), limit) })
}

func wantNoKill(t *testing.T, g *Group) {
	t.Helper()
	s, err := g.Stats()
	must(t, err)
	if s.OOMKills != 0 {
		t.Errorf("%s: the kernel killed %d", g.path, s.OOMKills)
	}
}

func wantInUse(t *testing.T, err error, limit, usage int64) {
	t.Helper()
	var inUse *MemoryInUseError
	if !errors.As(err, &inUse) {
		t.Fatalf("a limit of %d with %d in use: %v", limit, usage, err)
	}
	if inUse.Limit != limit || inUse.Usage < usage {
		t.Errorf("got %+v, want a limit of %d and a usage of %d at least", inUse, limit, usage)
	}
}

func TestKernelMemory(t *testing.T) {
	g := testGroup(t)
	for _, bytes := range []int64{64 * mib, 256 * mib, 16 * mib, 1 << 40, 16*mib + 4096} {
		must(t, g.SetMemory(t.Context(), bytes))
		wantMemory(t, g, bytes)
	}
	must(t, g.SetMemory(t.Context(), 16*mib+pageSize+1)) // whole pages
	wantMemory(t, g, 16*mib+pageSize)
	must(t, g.SetMemory(t.Context(), Unlimited))
	wantLimits(t, g, Limits{Shares: 1024, Quota: Unlimited, Memory: Unlimited})
	if err := g.SetMemory(t.Context(), -2); err == nil {
		t.Error("a negative limit was taken")
	}
}

func TestKernelMemoryBelowUsageIsRefused(t *testing.T) {
	g := testGroup(t)
	must(t, g.SetMemory(t.Context(), 128*mib))
	h := startHelper(t, g)
	h.do("hold", 48)
	began := time.Now()
	err := shrink(t, g, 32*mib)
	t.Logf("refused after %v: %v", time.Since(began).Round(time.Millisecond), err)
	wantInUse(t, err, 32*mib, 48*mib)
	wantMemory(t, g, 128*mib)
	wantNoKill(t, g)
	h.do("touch")

	h.do("release")
	must(t, shrink(t, g, 32*mib))
	wantMemory(t, g, 32*mib)
	wantNoKill(t, g)
	h.do("hold", 8)
}

// A refusal for one container leaves all as they were: memory, CPU and the pod.
func TestKernelResizeBelowUsageChangesNothing(t *testing.T) {
	pod := testGroup(t)
	a, b := child(t, pod, "a"), child(t, pod, "b")
	was := map[*Group]Limits{pod: {Shares: 2048, Quota: 200_000, Memory: 128 * mib}, a: {Shares: 1024, Quota: 100_000, Memory: 96 * mib}, b: {Shares: 1024, Quota: 100_000, Memory: 32 * mib}}
	resize := func(ctx context.Context, p, ca, cb Limits) error {
		return within(t, 60*time.Second, "the resize", func() error { return Resize(ctx, Change{pod, p}, []Change{{a, ca}, {b, cb}}) })
	}
	must(t, resize(t.Context(), was[pod], was[a], was[b]))
	h := startHelper(t, a)
	h.do("hold", 48)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name      string
		ctx       context.Context
		pod, b    Limits
		podLarger bool
	}{
		{name: "the other grows", ctx: t.Context(), pod: was[pod], b: Limits{Shares: 1024, Quota: 150_000, Memory: 112 * mib}},
		{name: "the pod grows", ctx: t.Context(), pod: Limits{Shares: 4096, Quota: 400_000, Memory: 512 * mib}, b: Limits{Shares: 2048, Quota: 300_000, Memory: 496 * mib}},
		{name: "the pod shrinks", ctx: t.Context(), pod: Limits{Shares: 512, Quota: 60_000, Memory: 24 * mib}, b: Limits{Shares: 128, Quota: 10_000, Memory: 8 * mib}},
		{name: "the context has ended", ctx: ended, pod: Limits{Shares: 4096, Quota: 400_000, Memory: 512 * mib}, b: Limits{Shares: 2048, Quota: 300_000, Memory: 496 * mib}},
	} {
		err := resize(c.ctx, c.pod, Limits{Shares: 512, Quota: 50_000, Memory: 16 * mib}, c.b)
		wantInUse(t, err, 16*mib, 48*mib)
		for g, want := range was {
			wantLimits(t, g, want)
			wantCPU(t, g, want.Shares, want.Quota)
			wantMemory(t, g, want.Memory)
			wantNoKill(t, g)
		}
		if t.Failed() {
			t.Fatal(c.name)
		}
	}
	h.do("touch")
}

func TestKernelShrinkReclaimsPageCache(t *testing.T) {
	g := testGroup(t)
	file := cacheFile(t, 64)
	must(t, g.SetMemory(t.Context(), 128*mib))
	h := startHelper(t, g)
	h.do("hold", 8)
	// What is in the cache already counts for whoever read it first.
	f, err := os.Open(file)
	must(t, err)
	defer f.Close()
	const dontNeed = 4
	if _, _, errno := syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, dontNeed, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	h.do("read", 64, file)
	before, err := g.Stats()
	must(t, err)
	if before.Memory < 64*mib {
		t.Fatalf("after reading 64 MiB only %d bytes are in use", before.Memory)
	}
	began := time.Now()
	must(t, shrink(t, g, 32*mib))
	t.Logf("reclaimed in %v", time.Since(began).Round(time.Millisecond))
	wantMemory(t, g, 32*mib)
	after, err := g.Stats()
	must(t, err)
	if after.Memory > 32*mib {
		t.Errorf("%d bytes in use", after.Memory)
	}
	wantNoKill(t, g)
	h.do("touch")
}

// A process that takes and gives back memory all the time, always less than the new limit, outlives any
// number of resizes.
func TestKernelShrinkUnderAllocation(t *testing.T) {
	g := testGroup(t)
	file := cacheFile(t, 64)
	h := startHelper(t, g)
	h.do("churn", 12)
	taken, refused := 0, 0
	for i := range 30 {
		must(t, shrink(t, g, 128*mib))
		wantMemory(t, g, 128*mib)
		if i%3 == 0 {
			h.do("read", 64, file)
		}
		var inUse *MemoryInUseError
		switch err := shrink(t, g, 24*mib); {
		case errors.As(err, &inUse): // all that was held at that moment, and caches
			refused++
			wantMemory(t, g, 128*mib)
		case err != nil:
			t.Fatal(err)
		default:
			taken++
			wantMemory(t, g, 24*mib)
		}
	}
	t.Logf("%d limits taken, %d refused", taken, refused)
	if taken == 0 {
		t.Error("no limit was ever taken")
	}
	wantNoKill(t, g)
	h.do("touch")
}

// A process that takes more and more is stopped by its limit, but not by a resize that comes too late:
// that is refused.
func TestKernelShrinkUnderGrowth(t *testing.T) {
	g := testGroup(t)
	must(t, g.SetMemory(t.Context(), 256*mib))
	h := startHelper(t, g)
	grown := make(chan error, 1)
	go func() { grown <- h.try("hold", 96) }()
	var inUse *MemoryInUseError
	must(t, within(t, 60*time.Second, "a usage of 32 MiB", func() error {
		for {
			s, err := g.Stats()
			if err != nil || s.Memory > 32*mib {
				return err
			}
		}
	}))
	if err := shrink(t, g, 16*mib); !errors.As(err, &inUse) {
		t.Errorf("got %v", err)
	}
	wantMemory(t, g, 256*mib)
	if err := within(t, 60*time.Second, "the process", func() error { return <-grown }); err != nil {
		t.Errorf("the process didn't go on: %v", err)
	}
	wantNoKill(t, g)
	h.do("touch")
}

// What a nodelet that was killed within a shrink left is lifted by the next change, whatever it is.
func TestKernelLeftStageIsLifted(t *testing.T) {
	pod := testGroup(t)
	if pod.h.version == 1 {
		t.Skip("memory.high needs cgroup v2")
	}
	c := child(t, pod, "c")
	same := func() error {
		return Resize(t.Context(), Change{pod, Limits{Shares: 1024, Quota: 100_000, Memory: 64 * mib}}, []Change{{c, Limits{Shares: 1024, Quota: 100_000, Memory: 64 * mib}}})
	}
	must(t, same())
	for _, g := range []*Group{pod, c} {
		must(t, g.write(Memory, "memory.high", fmt.Sprint(mib)))
	}
	must(t, same())
	wantMemory(t, pod, 64*mib)
	wantMemory(t, c, 64*mib)
	must(t, c.write(Memory, "memory.high", fmt.Sprint(mib)))
	must(t, c.Lift())
	wantMemory(t, c, 64*mib)
}

// On version 1 a limit on memory and swap together moves along, and never stands in the way.
func TestKernelSwapLimitMovesAlong(t *testing.T) {
	g := testGroup(t)
	if g.h.version == 2 {
		t.Skip("version 2 has a limit of swap alone")
	}
	must(t, g.SetMemory(t.Context(), 64*mib))
	if err := g.setInt(Memory, swapFile, 80*mib); err != nil {
		t.Skipf("the kernel doesn't count swap for groups, which needs swapaccount=1: %v", err)
	}
	want := func(memory, swap int64) {
		t.Helper()
		wantMemory(t, g, memory)
		wantFile(t, g, Memory, swapFile, "", fmt.Sprint(swap), "")
	}
	must(t, g.SetMemory(t.Context(), 256*mib))
	want(256*mib, 272*mib)
	h := startHelper(t, g)
	h.do("hold", 48)
	wantInUse(t, g.SetMemory(t.Context(), 32*mib), 32*mib, 48*mib)
	want(256*mib, 272*mib)
	h.do("release")
	must(t, g.SetMemory(t.Context(), 32*mib))
	want(32*mib, 48*mib)
	must(t, g.SetMemory(t.Context(), Unlimited))
	if s, err := g.read(Memory, swapFile); err != nil || !strings.HasPrefix(s, "9223372036854") {
		t.Errorf("without a limit: %s, %v", s, err)
	}
}
