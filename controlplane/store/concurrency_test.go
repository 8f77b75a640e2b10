package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/controlplane"
)

func TestConcurrentWritersAreOrdered(t *testing.T) {
	s := newStore(t)
	sub := watch(t, s, "configmaps", s.Version())
	const writers, each = 64, 20
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				put(t, s, fmt.Sprintf("%d-%d", w, i), "x")
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	last := uint64(0)
	for _, e := range take(t, sub, writers*each) {
		if e.Version <= last || e.Type != controlplane.Added || seen[e.Key.Name] {
			t.Fatalf("event %+v after %d", e, last)
		}
		last, seen[e.Key.Name] = e.Version, true
	}
	st := s.Stats()
	if st.Mutations != writers*each {
		t.Errorf("%d mutations", st.Mutations)
	}
	t.Logf("%d mutations in %d transactions, the largest of %d", st.Mutations, st.Transactions, st.LargestBatch)
}

// TestWhatWaitsSharesATransaction queues writes while a transaction is under way: all go into the next.
func TestWhatWaitsSharesATransaction(t *testing.T) {
	s, g := newGatedStore(t, nil)
	open := g.shut()
	first := &write{done: make(chan error, 1)}
	s.queue <- first
	await(t, "the committer is busy", func() bool { return g.waiting.Load() == 1 })
	const writers = 64
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() { put(t, s, fmt.Sprint(i), "x") })
	}
	await(t, "all are queued", func() bool { return len(s.queue) == writers })
	open()
	wg.Wait()
	if st := s.Stats(); st.Transactions != 2 || st.Mutations != writers || st.LargestBatch != writers {
		t.Errorf("%+v", st)
	}
}

func TestBatchesAreBounded(t *testing.T) {
	s, g := newGatedStore(t, func(c *Config) { c.MaxBatchOps, c.MaxBatchBytes = 8, 4096 })
	open := g.shut()
	first := &write{done: make(chan error, 1)}
	s.queue <- first
	await(t, "the committer is busy", func() bool { return g.waiting.Load() == 1 })
	var wg sync.WaitGroup
	for i := range 20 { // of which three fit into 4 KiB
		wg.Go(func() { put(t, s, fmt.Sprint("large", i), strings.Repeat("x", 1200)) })
	}
	await(t, "all are queued", func() bool { return len(s.queue) == 20 })
	open()
	wg.Wait()
	if st := s.Stats(); st.LargestBatch != 3 || st.Mutations != 20 {
		t.Errorf("by bytes: %+v", st)
	}
	for i := range 40 {
		wg.Go(func() { put(t, s, fmt.Sprint("small", i), "x") })
	}
	wg.Wait()
	if st := s.Stats(); st.LargestBatch > 8 || st.Mutations != 60 {
		t.Errorf("by number: %+v", st)
	}
}

func increment(c controlplane.Object) (controlplane.Object, error) {
	if c == nil {
		return configMap("n", "1"), nil
	}
	n, err := strconv.Atoi(c.(*corev1.ConfigMap).Data["v"])
	if err != nil {
		return nil, err
	}
	return configMap("n", strconv.Itoa(n+1)), nil
}

func TestChangesOfOneKeyDontLoseEachOther(t *testing.T) {
	s := newStore(t)
	sub := watch(t, s, "configmaps", s.Version())
	const writers, each = 16, 10
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range each {
				if w%4 != 0 {
					commit(t, s, mapKey("n"), increment)
					continue
				}
				for { // an observation needs somebody's commit before it
					_, err := s.Observe(mapKey("n"), func(c controlplane.Object) controlplane.Object {
						next, _ := increment(c)
						return next
					})
					if err == nil {
						break
					}
					if !errors.Is(err, controlplane.ErrNotFound) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	o, _ := s.Get(mapKey("n"))
	if got := o.(*corev1.ConfigMap).Data["v"]; got != strconv.Itoa(writers*each) {
		t.Errorf("counted %s of %d", got, writers*each)
	}
	for i, e := range take(t, sub, writers*each) {
		if got := e.Object.(*corev1.ConfigMap).Data["v"]; got != strconv.Itoa(i+1) {
			t.Fatalf("event %d counts %s", i, got)
		}
	}
}

func TestObservationWaitsForTheCommitUnderWay(t *testing.T) {
	s, g := newGatedStore(t, nil)
	put(t, s, "n", "1")
	open := g.shut()
	var wg sync.WaitGroup
	wg.Go(func() { commit(t, s, mapKey("n"), increment) })
	await(t, "the commit holds the key", func() bool { s.locks.mu.Lock(); defer s.locks.mu.Unlock(); return len(s.locks.held) == 1 })
	wg.Go(func() {
		if _, err := s.Observe(mapKey("n"), func(c controlplane.Object) controlplane.Object { next, _ := increment(c); return next }); err != nil {
			t.Error(err)
		}
	})
	if o, _ := s.Get(mapKey("n")); o.(*corev1.ConfigMap).Data["v"] != "1" {
		t.Error("what isn't durable yet is shown")
	}
	open()
	wg.Wait()
	if o, _ := s.Get(mapKey("n")); o.(*corev1.ConfigMap).Data["v"] != "3" {
		t.Errorf("got %v", o)
	}
}

func TestLostAnswersAreResolved(t *testing.T) {
	s, g := newGatedStore(t, nil)
	g.err = rpctypes.ErrTimeout
	before := s.Version()
	sub := watch(t, s, "configmaps", before)
	for i := range 5 {
		g.mu.Lock()
		g.lose = i % 3
		g.mu.Unlock()
		commit(t, s, mapKey("n"), increment)
	}
	for i, e := range take(t, sub, 5) {
		resp, err := s.cfg.Client.Get(context.Background(), s.keys.object(mapKey("n")))
		if err != nil {
			t.Fatal(err)
		}
		if resp.Kvs[0].Version != 5 {
			t.Fatalf("the key was written %d times, not 5", resp.Kvs[0].Version)
		}
		if got := e.Object.(*corev1.ConfigMap).Data["v"]; got != strconv.Itoa(i+1) || e.Version <= before {
			t.Errorf("event %d: %s at %d after %d", i, got, e.Version, before)
		}
		before = e.Version
	}
	if s.Stats().Retries == 0 {
		t.Error("nothing was retried")
	}
}

func TestRefusedTransactionFails(t *testing.T) {
	s, g := newGatedStore(t, nil)
	g.mu.Lock()
	g.lose, g.err = 1, rpctypes.ErrNoSpace
	g.mu.Unlock()
	_, err := s.Commit(t.Context(), controlplane.Mutation{Key: mapKey("a"), Change: set(configMap("a", "1"))})
	if !errors.Is(err, controlplane.ErrUnavailable) || !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Errorf("got %v", err)
	}
}

func TestFullQueueRefuses(t *testing.T) {
	s, g := newGatedStore(t, func(c *Config) { c.MaxQueue, c.QueueWait = 3, 1 })
	open := g.shut()
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() { put(t, s, fmt.Sprint(i), "x") })
	}
	await(t, "the queue is full", func() bool { return len(s.places) == 3 })
	_, err := s.Commit(t.Context(), controlplane.Mutation{Key: mapKey("late"), Change: set(configMap("late", ""))})
	if !errors.Is(err, controlplane.ErrOverloaded) {
		t.Errorf("got %v", err)
	}
	if st := s.Stats(); st.Refused != 1 || st.Waiting != 3 {
		t.Errorf("%d refused, %d waiting", st.Refused, st.Waiting)
	}
	open()
	wg.Wait()
	put(t, s, "late", "x")
}

func TestCancelledWaitLeavesNothingBehind(t *testing.T) {
	s, g := newGatedStore(t, nil)
	open := g.shut()
	var wg sync.WaitGroup
	wg.Go(func() { put(t, s, "a", "1") })
	await(t, "the commit holds the key", func() bool { s.locks.mu.Lock(); defer s.locks.mu.Unlock(); return len(s.locks.held) == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		_, err := s.Commit(ctx, controlplane.Mutation{Key: mapKey("a"), Change: set(configMap("a", "cancelled"))})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	await(t, "the second waits", func() bool { return len(s.places) == 2 })
	cancel()
	await(t, "the second has left", func() bool { return len(s.places) == 1 })
	open()
	wg.Wait()
	put(t, s, "a", "2")
	if o, _ := s.Get(mapKey("a")); o.(*corev1.ConfigMap).Data["v"] != "2" || len(s.locks.held) != 0 {
		t.Errorf("got %v, %d keys held", o, len(s.locks.held))
	}
}

// TestWatchIsTheTruth replays random changes from the events alone, from a random point on.
func TestWatchIsTheTruth(t *testing.T) {
	s := newStore(t)
	base, start := s.List("configmaps", "")
	sub := watch(t, s, "configmaps", start)
	var wg sync.WaitGroup
	for w := range 8 {
		random := rand.New(rand.NewPCG(uint64(w), 1))
		wg.Go(func() {
			for range 60 {
				name := fmt.Sprint(random.IntN(10))
				switch random.IntN(4) {
				case 0:
					commit(t, s, mapKey(name), remove)
				case 1:
					_, _ = s.Observe(mapKey(name), func(controlplane.Object) controlplane.Object { return configMap(name, fmt.Sprint(random.Int())) })
				default:
					commit(t, s, mapKey(name), set(configMap(name, fmt.Sprint(random.Int()))))
				}
			}
		})
	}
	wg.Wait()
	model := map[string]controlplane.Object{}
	for _, o := range base {
		model[o.GetName()] = o
	}
	want, end := s.List("configmaps", "")
	for at := start; at < end; {
		e := take(t, sub, 1)[0]
		if e.Previous != model[e.Key.Name] {
			t.Fatalf("event %v: the previous object isn't the one before", show([]controlplane.Event{e}))
		}
		if model[e.Key.Name] = e.Object; e.Type == controlplane.Deleted {
			delete(model, e.Key.Name)
		}
		at = e.Version
	}
	if len(model) != len(want) {
		t.Errorf("%d objects from events, %d in the store", len(model), len(want))
	}
	for _, o := range want {
		if model[o.GetName()] != o {
			t.Errorf("%s differs", o.GetName())
		}
	}
}
