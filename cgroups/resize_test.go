package cgroups

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// both runs a test on a fake of each version. Waits take no time.
func both(t *testing.T, test func(t *testing.T, f *fake, h *Hierarchy)) {
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, h := newFake(t, version)
				test(t, f, h)
			})
		})
	}
}

// podOf makes a pod with containers a, b, … at limits.
func podOf(t *testing.T, h *Hierarchy, pod Limits, containers ...Limits) (Change, []Change) {
	t.Helper()
	p := Change{h.Group("/s/pod"), pod}
	must(t, p.Group.Create())
	var cs []Change
	for i, l := range containers {
		c := Change{p.Group.Child(string(rune('a' + i))), l}
		must(t, c.Group.Create())
		cs = append(cs, c)
	}
	must(t, Resize(t.Context(), p, cs))
	return p, cs
}

// order answers which groups' memory limit and CPU quota were written, in their order.
func order(writes []string) string {
	var out []string
	for _, w := range writes {
		for file, name := range map[string]string{
			"memory.limit_in_bytes=": "memory", "memory.max=": "memory", "cpu.cfs_quota_us=": "cpu", "cpu.max=": "cpu",
		} {
			if group, rest, _ := strings.Cut(w, " "); strings.HasPrefix(rest, file) {
				out = append(out, group[strings.LastIndex(group, "/")+1:]+" "+name)
			}
		}
	}
	return strings.Join(out, ", ")
}

func TestResizeOrder(t *testing.T) {
	l := func(cpus, mem int64) Limits {
		return Limits{Shares: SharesOf(cpus * 1000), Quota: QuotaOf(cpus * 1000), Memory: mem * mib}
	}
	none := Limits{Shares: 2, Quota: Unlimited, Memory: Unlimited}
	for _, c := range []struct {
		name     string
		from, to [3]Limits // pod, a, b
		want     string
	}{
		{name: "grow", from: [3]Limits{l(2, 64), l(1, 32), l(1, 32)}, to: [3]Limits{l(6, 192), l(3, 96), l(3, 96)},
			want: "pod memory, a memory, b memory, pod cpu, a cpu, b cpu"},
		{name: "shrink", from: [3]Limits{l(6, 192), l(3, 96), l(3, 96)}, to: [3]Limits{l(2, 64), l(1, 32), l(1, 32)},
			want: "a memory, b memory, pod memory, a cpu, b cpu, pod cpu"},
		{name: "a gives to b", from: [3]Limits{l(4, 128), l(3, 96), l(1, 32)}, to: [3]Limits{l(4, 128), l(1, 32), l(3, 96)},
			want: "a memory, b memory, a cpu, b cpu"},
		{name: "b gives to a", from: [3]Limits{l(4, 128), l(1, 32), l(3, 96)}, to: [3]Limits{l(4, 128), l(3, 96), l(1, 32)},
			want: "b memory, a memory, b cpu, a cpu"},
		{name: "b gives some, a takes more", from: [3]Limits{l(4, 128), l(1, 32), l(3, 96)}, to: [3]Limits{l(7, 200), l(6, 168), l(1, 32)},
			want: "pod memory, b memory, a memory, pod cpu, b cpu, a cpu"},
		{name: "b gives more, a takes some", from: [3]Limits{l(4, 128), l(1, 32), l(3, 96)}, to: [3]Limits{l(3, 96), l(2, 64), l(1, 32)},
			want: "b memory, a memory, pod memory, b cpu, a cpu, pod cpu"},
		{name: "CPU grows, memory shrinks", from: [3]Limits{l(2, 128), l(1, 64), l(1, 64)}, to: [3]Limits{l(4, 64), l(2, 32), l(2, 32)},
			want: "a memory, b memory, pod memory, pod cpu, a cpu, b cpu"},
		{name: "only CPU of a", from: [3]Limits{l(2, 128), l(1, 64), l(1, 64)}, to: [3]Limits{l(3, 128), l(2, 64), l(1, 64)},
			want: "pod cpu, a cpu"},
		{name: "limits appear", from: [3]Limits{none, none, none}, to: [3]Limits{l(2, 64), l(1, 32), l(1, 32)},
			want: "a memory, b memory, pod memory, a cpu, b cpu, pod cpu"},
		{name: "limits go", from: [3]Limits{l(2, 64), l(1, 32), l(1, 32)}, to: [3]Limits{none, none, none},
			want: "pod memory, a memory, b memory, pod cpu, a cpu, b cpu"},
		{name: "the same", from: [3]Limits{l(2, 64), l(1, 32), l(1, 32)}, to: [3]Limits{l(2, 64), l(1, 32), l(1, 32)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, f *fake, h *Hierarchy) {
				p, cs := podOf(t, h, c.from[0], c.from[1:]...)
				f.writes = nil
				p.To, cs[0].To, cs[1].To = c.to[0], c.to[1], c.to[2]
				must(t, Resize(t.Context(), p, cs))
				if got := order(f.writes); got != c.want {
					t.Errorf("got  %s\nwant %s", got, c.want)
				}
				if c.want == "" && len(f.writes) != 0 {
					t.Errorf("nothing changes, but written was %q", f.writes)
				}
			})
		})
	}
}

// Whichever write fails, and with whatever the kernel refuses it, all is as it was; the error is the
// kernel's.
func TestResizeUndo(t *testing.T) {
	from := [3]Limits{{Shares: 2048, Quota: 200_000, Memory: 128 * mib}, {Shares: 1024, Quota: 150_000, Memory: 96 * mib}, {Shares: 1024, Quota: 50_000, Memory: 32 * mib}}
	for name, to := range map[string][3]Limits{
		"grow":   {{Shares: 4096, Quota: 400_000, Memory: 512 * mib}, {Shares: 2048, Quota: 200_000, Memory: 256 * mib}, {Shares: 2048, Quota: 200_000, Memory: 256 * mib}},
		"shrink": {{Shares: 512, Quota: 50_000, Memory: 32 * mib}, {Shares: 256, Quota: 25_000, Memory: 16 * mib}, {Shares: 256, Quota: 25_000, Memory: 16 * mib}},
		"give":   {{Shares: 2048, Quota: 200_000, Memory: 128 * mib}, {Shares: 512, Quota: 50_000, Memory: 32 * mib}, {Shares: 1536, Quota: 150_000, Memory: 96 * mib}},
		"mixed":  {{Shares: 4096, Quota: 400_000, Memory: 64 * mib}, {Shares: 1024, Quota: 100_000, Memory: 32 * mib}, {Shares: 3072, Quota: 300_000, Memory: 32 * mib}},
		"none":   {{Shares: 2, Quota: Unlimited, Memory: Unlimited}, {Shares: 2, Quota: Unlimited, Memory: Unlimited}, {Shares: 2, Quota: Unlimited, Memory: Unlimited}},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, f *fake, h *Hierarchy) {
				p, cs := podOf(t, h, from[0], from[1:]...)
				must(t, cs[0].Group.setInt(CPU, cs[0].Group.burstFile(), 120_000))
				was := f.state(t)
				p.To, cs[0].To, cs[1].To = to[0], to[1], to[2]
				ctx, cancel := context.WithCancel(t.Context())
				cancel() // an undo isn't cut short
				tried := 0
				for failing := 0; ; failing++ {
					f.writes, tried = nil, failing
					f.before = func(n int, write string) error {
						if n == failing {
							return syscall.EIO
						}
						return nil
					}
					err := Resize(ctx, p, cs)
					if len(f.writes) <= failing {
						must(t, err) // none was left to fail
						break
					}
					what := "after " + f.writes[failing] + " failed"
					if !errors.Is(err, syscall.EIO) {
						t.Errorf("%s: %v", what, err)
					}
					f.wantState(t, what, was)
					if t.Failed() {
						t.Fatalf("written: %q", f.writes)
					}
				}
				if tried < 6 {
					t.Errorf("only %d writes", tried)
				}
				for i, g := range []*Group{p.Group, cs[0].Group, cs[1].Group} {
					wantLimits(t, g, to[i])
				}
			})
		})
	}
}

// The kernel's rules never stand in the way of sizes of which each pod is the sum of its containers, from
// any sizes to any others.
func TestResizeIsNeverRefused(t *testing.T) {
	both(t, func(t *testing.T, f *fake, h *Hierarchy) {
		rnd := rand.New(rand.NewPCG(1, 2))
		sizes := func() (Limits, []Limits) {
			pod := Limits{}
			var cs []Limits
			for range 4 {
				l := Limits{Shares: rnd.Uint64N(4000) + 2, Quota: rnd.Int64N(400_000) + minQuota, Memory: (rnd.Int64N(1000) + 1) * mib}
				if rnd.IntN(12) == 0 {
					l.Quota = Unlimited
				}
				if rnd.IntN(12) == 0 {
					l.Memory = Unlimited
				}
				cs = append(cs, l)
			}
			for _, l := range cs {
				pod.Shares += l.Shares
				pod.Quota += l.Quota
				pod.Memory += l.Memory
			}
			if slices.ContainsFunc(cs, func(l Limits) bool { return l.Quota == Unlimited }) {
				pod.Quota = Unlimited
			}
			if slices.ContainsFunc(cs, func(l Limits) bool { return l.Memory == Unlimited }) {
				pod.Memory = Unlimited
			}
			return pod, cs
		}
		pod, limits := sizes()
		p, cs := podOf(t, h, pod, limits...)
		for i := range 150 {
			p.To, limits = sizes()
			for j := range cs {
				cs[j].To = limits[j]
			}
			f.writes = nil
			if err := Resize(t.Context(), p, cs); err != nil {
				t.Fatalf("resize %d: %v; written: %q", i, err, f.writes)
			}
			wantLimits(t, p.Group, p.To)
			for _, c := range cs {
				wantLimits(t, c.Group, c.To)
			}
		}
	})
}

// What is in use is found out before the CPU is touched, and the growth of others is taken back.
func TestResizeMemoryInUse(t *testing.T) {
	both(t, func(t *testing.T, f *fake, h *Hierarchy) {
		p, cs := podOf(t, h, Limits{Shares: 1024, Quota: 200_000, Memory: 128 * mib}, Limits{Shares: 512, Quota: 100_000, Memory: 64 * mib}, Limits{Shares: 512, Quota: 100_000, Memory: 64 * mib})
		f.use(t, cs[1].Group, 60*mib, 8*mib)
		was := f.state(t)
		f.writes = nil
		p.To = Limits{Shares: 1024, Quota: 500_000, Memory: 256 * mib}
		cs[0].To, cs[1].To = Limits{Shares: 512, Quota: 400_000, Memory: 224 * mib}, Limits{Shares: 512, Quota: 100_000, Memory: 32 * mib}
		err := Resize(t.Context(), p, cs)
		var inUse *MemoryInUseError
		if !errors.As(err, &inUse) || inUse.Path != "/s/pod/b" || inUse.Limit != 32*mib || inUse.Usage != 52*mib {
			t.Fatalf("got %v", err)
		}
		f.wantState(t, "after the refusal", was)
		if f.killed || strings.Contains(strings.Join(f.writes, " "), "cpu") {
			t.Errorf("written: %q", f.writes)
		}
	})
}

// An undo waits for memory that was taken meanwhile, although the context of the resize has ended.
func TestResizeUndoOutlivesTheContext(t *testing.T) {
	both(t, func(t *testing.T, f *fake, h *Hierarchy) {
		p, cs := podOf(t, h, Limits{Shares: 1024, Quota: 200_000, Memory: 64 * mib}, Limits{Shares: 1024, Quota: 200_000, Memory: 64 * mib})
		was := f.state(t)
		ctx, cancel := context.WithCancel(t.Context())
		p.To.Memory = 128 * mib
		cs[0].To = Limits{Shares: 512, Quota: 100_000, Memory: 128 * mib}
		f.before = func(_ int, write string) error {
			if ctx.Err() != nil || !strings.HasPrefix(write, "/s/pod/a cpu") {
				return nil
			}
			f.use(t, cs[0].Group, 100*mib, 0)
			time.AfterFunc(5*reclaimWait/2, func() { f.use(t, cs[0].Group, 10*mib, 0) })
			cancel()
			return syscall.EIO
		}
		if err := Resize(ctx, p, cs); !errors.Is(err, syscall.EIO) {
			t.Errorf("got %v", err)
		}
		f.wantState(t, "afterwards", was)
	})
}

func TestResizeOfAGroupThatIsGone(t *testing.T) {
	both(t, func(t *testing.T, f *fake, h *Hierarchy) {
		p, cs := podOf(t, h, Limits{Shares: 1024, Quota: 200_000, Memory: 128 * mib}, Limits{Shares: 512, Quota: 100_000, Memory: 64 * mib})
		was := f.state(t)
		cs = append(cs, Change{p.Group.Child("gone"), Limits{Shares: 512, Quota: 100_000, Memory: 64 * mib}})
		p.To.Memory = 256 * mib
		if err := Resize(t.Context(), p, cs); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("got %v", err)
		}
		f.wantState(t, "afterwards", was)
	})
}

// What a resize that was killed within a shrink left is lifted, whether or not the sizes change.
func TestResizeLiftsALeftStage(t *testing.T) {
	f, h := newFake(t, 2)
	p, cs := podOf(t, h, Limits{Shares: 1024, Quota: 200_000, Memory: 128 * mib}, Limits{Shares: 512, Quota: 100_000, Memory: 64 * mib})
	was := f.state(t)
	for _, g := range []*Group{p.Group, cs[0].Group} {
		must(t, g.setInt(Memory, "memory.high", mib))
	}
	must(t, Resize(t.Context(), p, cs))
	f.wantState(t, "afterwards", was)
}
