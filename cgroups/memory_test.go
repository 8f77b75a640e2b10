package cgroups

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// memoryWrites leaves the file and what was written.
func memoryWrites(f *fake) string {
	var out []string
	for _, w := range f.writes {
		_, w, _ = strings.Cut(w, " ")
		out = append(out, strings.TrimPrefix(w, "memory."))
	}
	return strings.Join(out, ", ")
}

func TestSetMemoryV2(t *testing.T) {
	const limit = 64 * mib
	for _, c := range []struct {
		name               string
		from, to           int64
		usage, reclaimable int64
		old                bool // the kernel
		want               string
		inUse              bool
	}{
		{name: "grow", from: limit, to: 2 * limit, usage: 60 * mib, want: "max=134217728"},
		{name: "no limit", from: limit, to: Unlimited, usage: 60 * mib, want: "max=max"},
		{name: "the same", from: limit, to: limit, usage: 60 * mib},
		{name: "the same in pages", from: limit, to: limit + 1, usage: 60 * mib},
		{name: "shrink far above the usage", from: 4 * limit, to: limit, usage: mib,
			want: "high=65011712, max=67108864, high=max"},
		{name: "shrink to just above the usage", from: 4 * limit, to: limit, usage: 63 * mib,
			want: "high=65011712, max=67108864, high=max"},
		{name: "shrink below what can be reclaimed", from: 4 * limit, to: limit, usage: 128 * mib, reclaimable: 100 * mib,
			want: "reclaim=69206016, high=65011712, max=67108864, high=max"},
		{name: "the same on an old kernel", from: 4 * limit, to: limit, usage: 128 * mib, reclaimable: 100 * mib, old: true,
			want: "reclaim=69206016, high=65011712, max=67108864, high=max"},
		{name: "shrink below what can't be reclaimed", from: 4 * limit, to: limit, usage: 128 * mib, inUse: true},
		{name: "the same on an old kernel", from: 4 * limit, to: limit, usage: 128 * mib, old: true, inUse: true},
		{name: "without the room for what comes", from: 4 * limit, to: limit, usage: limit - 1, inUse: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, h := newFake(t, 2)
				f.oldKernel = c.old
				g := h.Group("/g")
				must(t, g.Create())
				must(t, g.SetMemory(t.Context(), c.from))
				f.use(t, g, c.usage, c.reclaimable)
				was := f.state(t)
				f.writes = nil
				err := g.SetMemory(t.Context(), c.to)
				if f.killed {
					t.Errorf("the kernel would have killed: %s", memoryWrites(f))
				}
				var inUse *MemoryInUseError
				if c.inUse {
					if !errors.As(err, &inUse) || inUse.Usage != c.usage {
						t.Errorf("got %v", err)
					}
					f.wantState(t, "after the refusal", was)
					return
				}
				must(t, err)
				if got := memoryWrites(f); got != c.want {
					t.Errorf("got  %s\nwant %s", got, c.want)
				}
			})
		})
	}
}

// A process that takes memory between the look at the usage and memory.high is seen.
func TestShrinkV2SeesGrowth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, h := newFake(t, 2)
		g := h.Group("/g")
		must(t, g.Create())
		must(t, g.SetMemory(t.Context(), 256*mib))
		was := f.state(t)
		f.before = func(_ int, write string) error {
			if strings.HasPrefix(write, "/g memory.high=6") {
				f.use(t, g, 100*mib, 0)
			}
			return nil
		}
		var inUse *MemoryInUseError
		if err := g.SetMemory(t.Context(), 64*mib); !errors.As(err, &inUse) {
			t.Errorf("got %v", err)
		}
		if f.killed {
			t.Error("the kernel would have killed")
		}
		f.wantState(t, "afterwards", was)
	})
}

// A refusal waits for a process to release something, but no longer than the context.
func TestShrinkWaits(t *testing.T) {
	both(t, func(t *testing.T, f *fake, h *Hierarchy) {
		g := h.Group("/g")
		must(t, g.Create())
		must(t, g.SetMemory(t.Context(), 256*mib))
		f.use(t, g, 128*mib, 0)
		began := time.Now()
		var inUse *MemoryInUseError
		if err := g.SetMemory(t.Context(), 64*mib); !errors.As(err, &inUse) || time.Since(began) != reclaims*reclaimWait {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		began = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Millisecond)
		defer cancel()
		if err := g.SetMemory(ctx, 64*mib); !errors.As(err, &inUse) || time.Since(began) != 3*time.Millisecond {
			t.Errorf("with a context, after %v: %v", time.Since(began), err)
		}
		go func() {
			time.Sleep(5 * reclaimWait / 2) // fake time
			f.use(t, g, 32*mib, 0)
		}()
		must(t, g.SetMemory(t.Context(), 64*mib))
		wantMemory(t, g, 64*mib)
	})
}

func TestWhatTheKernelHoldsIsChecked(t *testing.T) {
	both(t, func(t *testing.T, f *fake, h *Hierarchy) {
		g := h.Group("/g")
		must(t, g.Create())
		h.files = deaf{f}
		for name, err := range map[string]error{
			"memory": g.SetMemory(t.Context(), 64*mib), "CPU": g.SetCPU(512, 50_000),
		} {
			if err == nil || !strings.Contains(err.Error(), "was written") {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// deaf takes what is written and keeps what it held.
type deaf struct{ *fake }

func (deaf) write(string, string) error { return nil }

func TestSwapLimitMovesAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, h := newFake(t, 1)
		g := h.Group("/g")
		must(t, g.Create())
		must(t, g.SetMemory(t.Context(), 64*mib))
		must(t, g.setInt(Memory, swapFile, 80*mib))
		for _, c := range []struct {
			to   int64
			want string
		}{
			{128 * mib, "memsw.limit_in_bytes=150994944, limit_in_bytes=134217728"},
			{32 * mib, "limit_in_bytes=33554432, memsw.limit_in_bytes=50331648"},
			{32 * mib, ""},
		} {
			f.writes = nil
			must(t, g.SetMemory(t.Context(), c.to))
			if got := memoryWrites(f); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		}
		// The second write fails, so the first is taken back.
		was := f.state(t)
		for _, to := range []int64{64 * mib, 16 * mib} {
			f.writes = nil
			f.before = func(n int, _ string) error {
				if n == 1 {
					return syscall.EIO
				}
				return nil
			}
			if err := g.SetMemory(t.Context(), to); !errors.Is(err, syscall.EIO) {
				t.Errorf("got %v", err)
			}
			f.wantState(t, "afterwards", was)
		}
	})
}
