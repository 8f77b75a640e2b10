package cgroups

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// Shared memory and files of a tmpfs can't be reclaimed without swap, and count for whoever touched them first.
func TestKernelShrinkSharedMemory(t *testing.T) {
	g := testGroup(t)
	must(t, g.SetMemory(t.Context(), 128*mib))
	h := startHelper(t, g)
	h.do("share", 48)
	switch err := shrink(t, g, 32*mib); {
	case err == nil: // it lies in swap now
		wantMemory(t, g, 32*mib)
	default:
		wantInUse(t, err, 32*mib, 48*mib)
		wantMemory(t, g, 128*mib)
	}
	wantNoKill(t, g)
	h.do("touch")
	h.do("release")
	must(t, shrink(t, g, 32*mib))
	wantMemory(t, g, 32*mib)
	wantNoKill(t, g)
}

// A pod is resized up and down while processes in all of its containers take and give back memory: each resize is
// either done or leaves all as it was, and nobody is killed.
func TestKernelResizeUnderAllocation(t *testing.T) {
	pod := testGroup(t)
	a, b := child(t, pod, "a"), child(t, pod, "b")
	of := func(mem int64) Limits { return Limits{Shares: 1024, Quota: Unlimited, Memory: mem * mib} }
	resize := func(each int64) error {
		return within(t, 60*time.Second, "the resize", func() error {
			return Resize(t.Context(), Change{pod, of(2 * each)}, []Change{{a, of(each)}, {b, of(each)}})
		})
	}
	want := func(each int64) {
		t.Helper()
		wantMemory(t, pod, 2*each*mib)
		wantMemory(t, a, each*mib)
		wantMemory(t, b, each*mib)
	}
	must(t, resize(64))
	helpers := []*helper{startHelper(t, a), startHelper(t, b)}
	for _, h := range helpers {
		h.do("churn", 12)
	}
	taken, refused := 0, 0
	for range 15 {
		must(t, resize(64))
		want(64)
		var inUse *MemoryInUseError
		switch err := resize(24); {
		case errors.As(err, &inUse):
			refused++
			want(64)
		case err != nil:
			t.Fatal(err)
		default:
			taken++
			want(24)
		}
	}
	t.Logf("%d resizes taken, %d refused", taken, refused)
	if taken == 0 {
		t.Error("no resize was ever taken")
	}
	for _, g := range []*Group{pod, a, b} {
		wantNoKill(t, g)
	}
	for _, h := range helpers {
		h.do("touch")
	}
}

func wantQoS(t *testing.T, g *Group, want MemoryQoS) {
	t.Helper()
	high := "max"
	if want.High != 0 {
		high = fmt.Sprint(want.High)
	}
	wantFile(t, g, Memory, "", "memory.min", "", fmt.Sprint(want.Min))
	wantFile(t, g, Memory, "", "memory.low", "", fmt.Sprint(want.Low))
	wantFile(t, g, Memory, "", "memory.high", "", high)
}

// Protection and throttling of memory go along with the limits, up and down, and come back when a resize is refused.
func TestKernelMemoryQoS(t *testing.T) {
	pod := testGroup(t)
	c := child(t, pod, "c")
	of := func(mem, high int64) Limits {
		return Limits{Shares: 1024, Quota: Unlimited, Memory: mem * mib, MemoryQoS: MemoryQoS{Min: mem / 2 * mib, Low: mem * mib, High: high * mib}}
	}
	resize := func(mem int64) error {
		return within(t, 60*time.Second, "the resize", func() error {
			return Resize(t.Context(), Change{pod, of(mem, 0)}, []Change{{c, of(mem, mem*9/10)}})
		})
	}
	want := func(mem int64) {
		t.Helper()
		wantFile(t, c, Memory, "memory.limit_in_bytes", "memory.max", fmt.Sprint(mem*mib), fmt.Sprint(mem*mib))
		if pod.h.version == 1 {
			return // which has none of it, and ignores it
		}
		wantQoS(t, pod, of(mem, 0).MemoryQoS)
		wantQoS(t, c, of(mem, mem*9/10).MemoryQoS)
	}
	for _, mem := range []int64{64, 200, 40, 128} {
		must(t, resize(mem))
		want(mem)
	}
	h := startHelper(t, c)
	h.do("hold", 48)
	var inUse *MemoryInUseError
	if err := resize(32); !errors.As(err, &inUse) {
		t.Errorf("got %v", err)
	}
	want(128)
	wantNoKill(t, c)
	h.do("touch")
	h.do("release")
	must(t, resize(32))
	want(32)
}
