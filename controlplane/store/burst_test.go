package store

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/controlplane"
)

// TestBurst sends far more at once than the store takes, while etcd doesn't answer. Who finds no place is
// refused; whoever else is answered is stored, once, under a version of its own, and after a restart as well.
func TestBurst(t *testing.T) {
	server := startEtcd(t, t.TempDir())
	g := &gate{KV: server.Client().KV}
	server.Client().KV = g
	cfg := config(server.Client())
	cfg.MaxQueue, cfg.QueueWait, cfg.MaxBatchOps = 200, 1, 32
	s := open(t, cfg)
	sub := watch(t, s, "configmaps", s.Version())
	answer := g.shut()
	t.Cleanup(answer)

	const burst, names = 2000, 500
	var mu sync.Mutex
	answered := map[uint64]string{} // version → object
	last := map[string]uint64{}
	refused := 0
	var wg sync.WaitGroup
	for i := range burst {
		wg.Go(func() {
			name, value := fmt.Sprint(i%names), fmt.Sprint(i)
			o, err := s.Commit(t.Context(), controlplane.Mutation{Key: mapKey(name), Change: set(configMap(name, value))})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, controlplane.ErrOverloaded):
				refused++
			case err != nil:
				t.Error(err)
			default:
				v := versionOf(t, o)
				if was, ok := answered[v]; ok {
					t.Errorf("version %d is that of %s and of %s", v, was, name+"="+value)
				}
				answered[v] = name + "=" + value
				last[name] = max(last[name], v)
			}
		})
	}
	await(t, "all others are refused", func() bool { mu.Lock(); defer mu.Unlock(); return refused == burst-cfg.MaxQueue })
	answer()
	wg.Wait()
	if len(answered) != cfg.MaxQueue {
		t.Fatalf("%d answered, %d refused of %d", len(answered), refused, burst)
	}
	versions := map[string]uint64{}
	for _, e := range take(t, sub, len(answered)) {
		if got := e.Key.Name + "=" + e.Object.(*corev1.ConfigMap).Data["v"]; answered[e.Version] != got {
			t.Errorf("event %d says %s, answered was %q", e.Version, got, answered[e.Version])
		}
		if e.Version <= versions[e.Key.Name] {
			t.Errorf("%s: version %d after %d", e.Key.Name, e.Version, versions[e.Key.Name])
		}
		versions[e.Key.Name] = e.Version
	}
	put(t, s, "after", "x") // and it takes more at once

	s.Close()
	s = open(t, cfg)
	for name, v := range last {
		o, ok := s.Get(mapKey(name))
		if !ok || versionOf(t, o) != v || name+"="+o.(*corev1.ConfigMap).Data["v"] != answered[v] {
			t.Errorf("%s: %v, answered last was %s at %d", name, o, answered[v], v)
		}
	}
	if items, _ := s.Items("configmaps", ""); items.Len() != len(last)+1 {
		t.Errorf("%d objects, answered were %d", items.Len(), len(last)+1)
	}
}

// TestQueueIsBoundedByBytes: few large writes fill the queue as well.
func TestQueueIsBoundedByBytes(t *testing.T) {
	s, g := newGatedStore(t, func(c *Config) { c.MaxBatchBytes, c.MaxQueueBytes, c.QueueWait = 100_000, 250_000, 1 })
	open := g.shut()
	var wg sync.WaitGroup
	wg.Go(func() { put(t, s, "0", strings.Repeat("x", 90_000)) })
	await(t, "one is in a transaction", func() bool { return g.waiting.Load() == 1 })
	wg.Go(func() { put(t, s, "1", strings.Repeat("x", 90_000)) })
	await(t, "one is queued", func() bool { return len(s.queue) == 1 })
	_, err := s.Commit(t.Context(), controlplane.Mutation{Key: mapKey("late"), Change: set(configMap("late", strings.Repeat("x", 90_000)))})
	if !errors.Is(err, controlplane.ErrOverloaded) {
		t.Errorf("got %v", err)
	}
	open()
	wg.Wait()
	put(t, s, "late", strings.Repeat("x", 90_000))
	if !s.room.TryAcquire(250_000) {
		t.Error("room was not given back")
	}
}
