package cgroups

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
)

func TestKernelCPU(t *testing.T) {
	g := testGroup(t)
	for _, c := range []struct {
		shares uint64
		quota  int64
	}{
		{1024, 100_000}, {2, 1000}, {262144, 400_000}, {256, 25_000}, {102, Unlimited}, {3, 1001}, {512, 50_000},
	} {
		must(t, g.SetCPU(c.shares, c.quota))
		wantCPU(t, g, c.shares, c.quota)
		wantLimits(t, g, Limits{Shares: c.shares, Quota: c.quota, Memory: Unlimited})
	}
	if err := g.SetCPU(1024, 999); err == nil {
		t.Error("a quota below the kernel's least was taken")
	}
	wantCPU(t, g, 512, 50_000)
}

// Another period is read as what it stands for, and replaced without ever asking for more than the parent
// has.
func TestKernelForeignPeriod(t *testing.T) {
	g := testGroup(t)
	must(t, g.SetCPU(1024, 50_000))
	c := child(t, g, "c")
	if g.h.version == 2 {
		must(t, c.write(CPU, "cpu.max", "20000 50000"))
	} else {
		must(t, c.write(CPU, "cpu.cfs_period_us", "50000"))
		must(t, c.write(CPU, "cpu.cfs_quota_us", "20000"))
	}
	wantLimits(t, c, Limits{Shares: 1024, Quota: 40_000, Memory: Unlimited})
	if g.h.version == 1 {
		must(t, c.write(CPU, "cpu.cfs_period_us", "200000"))
		must(t, c.write(CPU, "cpu.cfs_quota_us", "90000")) // with a period of 100000: more than the parent
	}
	must(t, c.SetCPU(1024, 50_000))
	wantCPU(t, c, 1024, 50_000)
}

// What the order of a resize is for.
func TestKernelRefusesMoreThanTheParentHas(t *testing.T) {
	pod := testGroup(t)
	c := child(t, pod, "c")
	must(t, pod.SetCPU(1024, 50_000))
	must(t, c.SetCPU(512, Unlimited)) // is as much as the parent has
	must(t, c.SetCPU(512, 50_000))
	above, below := c.SetCPU(512, 60_000), pod.SetCPU(1024, 40_000)
	if pod.h.version == 2 { // takes the least on the way to the root
		must(t, errors.Join(above, below))
		return
	}
	if !errors.Is(above, syscall.EINVAL) || !errors.Is(below, syscall.EINVAL) {
		t.Errorf("a child above its parent: %v; a parent below its child: %v", above, below)
	}
	wantCPU(t, c, 512, 50_000)
	wantCPU(t, pod, 1024, 50_000)
}

func TestKernelResize(t *testing.T) {
	pod := testGroup(t)
	a, b := child(t, pod, "a"), child(t, pod, "b")
	limits := func(milli, memory int64) Limits {
		return Limits{Shares: SharesOf(milli), Quota: QuotaOf(milli), Memory: memory * mib}
	}
	unlimited := Limits{Shares: SharesOf(100), Quota: Unlimited, Memory: Unlimited}
	for i, c := range []struct {
		name      string
		pod, a, b Limits
	}{
		{"from none to some", limits(1000, 64), limits(500, 32), limits(500, 32)},
		{"one grows by what the other gives", limits(1000, 64), limits(900, 56), limits(100, 8)},
		{"and the other way round", limits(1000, 64), limits(100, 8), limits(900, 56)},
		{"both grow", limits(4000, 256), limits(1500, 128), limits(2500, 128)},
		{"one grows more than the other gives", limits(5000, 300), limits(4500, 280), limits(500, 20)},
		{"one gives more than the other takes", limits(1200, 80), limits(200, 16), limits(1000, 64)},
		{"both shrink to the least", limits(20, 8), limits(10, 4), limits(10, 4)},
		{"CPU grows, memory shrinks", limits(2000, 6), limits(1999, 3), limits(1, 3)},
		{"no limit", unlimited, unlimited, limits(100, 16)},
		{"limited again", limits(300, 64), limits(200, 48), limits(100, 16)},
		{"nothing changes", limits(300, 64), limits(200, 48), limits(100, 16)},
	} {
		changes := []Change{{a, c.a}, {b, c.b}}
		if i%2 == 1 { // their order doesn't matter
			changes[0], changes[1] = changes[1], changes[0]
		}
		if err := Resize(t.Context(), Change{pod, c.pod}, changes); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for g, want := range map[*Group]Limits{pod: c.pod, a: c.a, b: c.b} {
			wantLimits(t, g, want)
			wantCPU(t, g, want.Shares, want.Quota)
			if want.Memory != Unlimited {
				wantMemory(t, g, want.Memory)
			}
		}
	}
}

// The kernel refuses a burst above the quota, so it goes down first; a resize that fails gives it back.
func TestKernelBurst(t *testing.T) {
	pod := testGroup(t)
	c := child(t, pod, "c")
	must(t, Resize(t.Context(), Change{pod, Limits{Shares: 1024, Quota: 200_000, Memory: Unlimited}}, []Change{{c, Limits{Shares: 1024, Quota: 200_000, Memory: Unlimited}}}))
	if _, err := c.h.files.read(filepath.Join(c.dir(CPU), c.burstFile())); err != nil {
		t.Skip("burst needs a kernel of 5.14 or later: ", err)
	}
	must(t, c.setInt(CPU, c.burstFile(), 150_000))
	if err := c.setInt(CPU, c.burstFile(), 200_001); !errors.Is(err, syscall.EINVAL) {
		t.Fatalf("a burst above the quota: %v", err)
	}
	wantBurst := func(want int64) {
		t.Helper()
		wantFile(t, c, CPU, "cpu.cfs_burst_us", "cpu.max.burst", fmt.Sprint(want), fmt.Sprint(want))
	}
	// It fails at its last step, the pod's quota.
	if err := Resize(t.Context(), Change{pod, Limits{Shares: 1024, Quota: 999, Memory: Unlimited}}, []Change{{c, Limits{Shares: 512, Quota: 50_000, Memory: Unlimited}}}); err == nil {
		t.Fatal("a quota below the kernel's least was taken")
	}
	wantCPU(t, c, 1024, 200_000)
	wantBurst(150_000)
	must(t, Resize(t.Context(), Change{pod, Limits{Shares: 1024, Quota: 60_000, Memory: Unlimited}}, []Change{{c, Limits{Shares: 512, Quota: 50_000, Memory: Unlimited}}}))
	wantCPU(t, c, 512, 50_000)
	wantBurst(50_000)
	must(t, Resize(t.Context(), Change{pod, Limits{Shares: 1024, Quota: Unlimited, Memory: Unlimited}}, []Change{{c, Limits{Shares: 512, Quota: Unlimited, Memory: Unlimited}}}))
	wantCPU(t, c, 512, Unlimited)
}

// BenchmarkKernelResize changes CPU and memory of a pod and its one container, and checks them.
func BenchmarkKernelResize(b *testing.B) {
	pod := testGroup(b)
	c := child(b, pod, "c")
	sizes := []Limits{{Shares: 1024, Quota: 100_000, Memory: 64 * mib}, {Shares: 2048, Quota: 200_000, Memory: 128 * mib}}
	for i := 0; b.Loop(); i++ {
		l := sizes[i%2]
		must(b, Resize(b.Context(), Change{pod, l}, []Change{{c, l}}))
	}
}
