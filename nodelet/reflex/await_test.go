package reflex

import (
	"fmt"
	"testing"
	"time"

	nodev1 "swell.dev/swell/api/node/v1"
	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/nodelet"
)

// TestKernelMemoryAwaitsThePool: what comes to its limit before the pool is known waits for it, at the start and after
// a session was lost; one that is known to have nothing more is none to wait for.
func TestKernelMemoryAwaitsThePool(t *testing.T) {
	o := newPods(t)
	k := o.taker(t, "waits")
	r := New(Config{Tree: o, Meter: func(string, usagev1.Burst) error { return nil }, Tell: func(string, *nodelet.BurstState) {}})
	defer r.Close()
	must(t, r.Set("waits", v1alpha1.Burst{MemoryBytes: 256 * mib, Budget: time.Minute}, nodelet.RankDefault))
	taken := func(n int, meanwhile func()) bool {
		t.Helper()
		_, err := fmt.Fprintln(k.in, n)
		must(t, err)
		awaitNoFree(t, o, "waits")
		meanwhile()
		_, err = k.out.ReadString('\n')
		return err == nil
	}
	if !taken(48, func() { r.Grant(&nodev1.Pool{MemoryBytes: 64 * mib}) }) {
		t.Fatal("killed before the pool was known")
	}
	r.Await()
	if !taken(160, func() { r.Grant(&nodev1.Pool{MemoryBytes: 224 * mib}) }) {
		t.Fatal("killed while a new session had said nothing yet")
	}
	r.Await()
	if taken(250, func() {}) {
		t.Error("lives beyond what there is when that has been waited for")
	}
}

// awaitNoFree waits until a process needs more than its pod can have.
func awaitNoFree(t *testing.T, o *onePod, uid string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		free, err := o.MemoryFree(uid)
		must(t, err)
		if free < minRoom {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are free", free)
		}
	}
}
