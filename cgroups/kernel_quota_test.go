package cgroups

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"
)

func TestKernelQuotaAndCounters(t *testing.T) {
	g := child(t, testGroup(t), "quota")
	must(t, g.SetCPU(512, 20_000))
	q, err := g.OpenQuota()
	must(t, err)
	defer q.Close() //nolint:errcheck // of a test
	for _, quota := range []int64{5000, 123_456, Unlimited, minQuota, 20_000} {
		must(t, q.Set(quota))
		wantCPU(t, g, 512, quota)
	}
	weight, err := g.OpenWeight()
	must(t, err)
	defer weight.Close() //nolint:errcheck // of a test
	for _, shares := range []uint64{0, 1 << 30, 2048, 512} {
		must(t, weight.Set(shares))
		wantCPU(t, g, min(max(shares, minShares), maxShares), 20_000)
	}
	used, err := g.CPUTime()
	must(t, err)
	defer used.Close() //nolint:errcheck // of a test
	throttles, err := g.Throttles()
	must(t, err)
	defer throttles.Close() //nolint:errcheck // of a test
	before, err := used.Read()
	must(t, err)
	if n, err := throttles.Read(); err != nil || n != 0 {
		t.Errorf("%d throttles, %v, of a group in which nothing ran", n, err)
	}
	must(t, q.Set(minQuota))
	h := startHelper(t, g)
	h.do("burn")
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		n, err := throttles.Read()
		must(t, err)
		after, err := used.Read()
		must(t, err)
		if n > 0 && after > before {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("stopped %d times, CPU time was %d and is %d", n, before, after)
		}
	}
	must(t, q.Set(Unlimited))
	h.end()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, g.Delete(ctx))
	if err := q.Set(5000); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a quota of a group that is gone: %v", err)
	}
	if err := weight.Set(512); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a weight of a group that is gone: %v", err)
	}
	if _, err := used.Read(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a counter of a group that is gone: %v", err)
	}
	if _, err := g.OpenQuota(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opening it: %v", err)
	}
}

func TestKernelID(t *testing.T) {
	g := testGroup(t)
	ids := map[uint64]string{}
	for i := range 3 {
		c := child(t, g, fmt.Sprint(i))
		id, err := c.ID()
		must(t, err)
		if again, err := c.ID(); err != nil || again != id || id == 0 || ids[id] != "" {
			t.Errorf("%s has the ID %d, then %d, %v; %s has it too", c.Path(), id, again, err, ids[id])
		}
		ids[id] = c.Path()
	}
	if _, err := g.Child("none").ID(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a group that isn't there: %v", err)
	}
}
