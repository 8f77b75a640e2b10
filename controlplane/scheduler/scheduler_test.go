package scheduler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/controlplane"
)

func gib(n int64) controlplane.Demand {
	return controlplane.Demand{CPUMilli: n * 1000, MemoryBytes: n << 30}
}

func resizeTo(n int64) controlplane.ResizeRequest { return controlplane.ResizeRequest{Demand: gib(n)} }

func host(name string, n int64) controlplane.Node {
	return controlplane.Node{Name: name, Capacity: gib(n), MaxPods: 1000, Ready: true}
}

func request1(uid string, n int64) controlplane.PlaceRequest {
	return controlplane.PlaceRequest{Key: controlplane.Key{Resource: "pods", Namespace: "default", Name: uid}, UID: uid, Demand: gib(n)}
}

func start(t testing.TB, cfg Config) *Scheduler {
	t.Helper()
	if cfg.Bound == nil {
		cfg.Bound = func(controlplane.PlaceRequest, string) { t.Error("bound") }
	}
	if cfg.Resized == nil {
		cfg.Resized = func(d controlplane.ResizeDecision) { t.Error("resized", d) }
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestErrors(t *testing.T) {
	s := start(t, Config{})
	_, err := s.Place(t.Context(), request1("p", 1))
	if !errors.Is(err, controlplane.ErrNoCapacity) || errors.Is(err, controlplane.ErrInfeasible) {
		t.Errorf("without nodes: %v", err)
	}
	s.SetNode(host("a", 2))
	if p, err := s.Place(t.Context(), request1("p", 2)); p.Node != "a" || err != nil {
		t.Errorf("got %+v, %v", p, err)
	}
	if _, err = s.Place(t.Context(), request1("q", 1)); !errors.Is(err, controlplane.ErrNoCapacity) || errors.Is(err, controlplane.ErrInfeasible) {
		t.Errorf("full: %v", err)
	}
	_, err = s.Place(t.Context(), request1("q", 3))
	var why *Unschedulable
	if !errors.Is(err, controlplane.ErrNoCapacity) || !errors.Is(err, controlplane.ErrInfeasible) || !errors.As(err, &why) {
		t.Errorf("too large: %v", err)
	}
	if _, err := s.Resize(t.Context(), "nobody", resizeTo(1)); !errors.Is(err, controlplane.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Place(t.Context(), controlplane.PlaceRequest{Demand: gib(1)}); err == nil {
		t.Error("a pod without uid was placed")
	}
	s.Close()
	s.Close()
	if _, err := s.Place(t.Context(), request1("q", 1)); !errors.Is(err, controlplane.ErrUnavailable) {
		t.Errorf("closed: %v", err)
	}
	s.Release("p") // and the like return
	if _, err := New(Config{}); err == nil {
		t.Error("a scheduler without callbacks")
	}
}

func TestConcurrentPlacementsNeverOverbook(t *testing.T) {
	s := start(t, Config{})
	for i := range 10 {
		s.SetNode(host(fmt.Sprint("n", i), 8))
	}
	var mu sync.Mutex
	perNode := map[string]int{}
	refused := 0
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			p, err := s.Place(t.Context(), request1(fmt.Sprint("p", i), 1))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				refused++
				return
			}
			perNode[p.Node]++
		})
	}
	wg.Wait()
	for node, n := range perNode {
		if n != 8 {
			t.Errorf("%s has %d pods, room is for 8", node, n)
		}
	}
	if refused != 20 {
		t.Errorf("%d were refused", refused)
	}
}

// TestCallbacksMayCallBack lets every decision come while the callbacks use the scheduler themselves.
func TestCallbacksMayCallBack(t *testing.T) {
	const n = 300
	var s *Scheduler
	bound := make(chan string, n)
	var mu sync.Mutex
	running := map[string]bool{}
	s = start(t, Config{Workers: 4, Bound: func(req controlplane.PlaceRequest, node string) {
		mu.Lock()
		if running[req.UID] {
			t.Errorf("two calls for %s at once", req.UID)
		}
		running[req.UID] = true
		mu.Unlock()
		s.Actuated(req.UID, req.Demand)
		s.Release(req.UID) // which makes room for another
		mu.Lock()
		running[req.UID] = false
		mu.Unlock()
		bound <- req.UID
	}})
	for i := range n {
		s.Pend(request1(fmt.Sprint(i), 1))
	}
	s.SetNode(host("a", 2))
	seen := map[string]bool{}
	for range n {
		select {
		case uid := <-bound:
			if seen[uid] {
				t.Errorf("%s was bound twice", uid)
			}
			seen[uid] = true
		case <-time.After(20 * time.Second):
			t.Fatalf("only %d of %d were bound", len(seen), n)
		}
	}
}

func TestDeferredResizeIsTold(t *testing.T) {
	type told struct {
		uid string
		d   controlplane.Demand
	}
	admitted := make(chan told, 1)
	s := start(t, Config{Resized: func(d controlplane.ResizeDecision) { admitted <- told{d.UID, d.Demand} }})
	s.SetNode(host("a", 2))
	for _, uid := range []string{"p", "q"} {
		if _, err := s.Place(t.Context(), request1(uid, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := s.Resize(t.Context(), "p", resizeTo(2)); v.Verdict != controlplane.ResizeDeferred || err != nil {
		t.Fatalf("got %v, %v", v, err)
	}
	s.Release("q")
	if got := <-admitted; got != (told{"p", gib(2)}) {
		t.Errorf("got %v", got)
	}
}

// TestWhatIsStaleIsNotTold releases pods whose binding nobody was told yet.
func TestWhatIsStaleIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		var mu sync.Mutex
		var got []string
		s := start(t, Config{
			Workers: 1,
			Bound: func(req controlplane.PlaceRequest, _ string) {
				<-hold
				mu.Lock()
				got = append(got, "bound "+req.UID)
				mu.Unlock()
			},
			Resized: func(d controlplane.ResizeDecision) {
				mu.Lock()
				got = append(got, "resized "+d.UID+" "+size(d.Demand))
				mu.Unlock()
			},
		})
		s.SetNode(host("a", 4))
		_, _ = s.Place(context.Background(), request1("r", 2))
		_, _ = s.Place(context.Background(), request1("x", 2))
		for i, uid := range []string{"first", "gone", "last"} {
			req := request1(uid, 0)
			req.NodeSelector = map[string]string{"zone": "1"}
			req.Created = time.Unix(int64(i), 0)
			s.Pend(req)
		}
		n := host("a", 4)
		n.Labels = map[string]string{"zone": "1"}
		s.SetNode(n) // all are bound; the only worker is held by the first
		synctest.Wait()
		_, _ = s.Resize(context.Background(), "r", resizeTo(4))
		s.Release("x") // admits r's resize
		if v, _ := s.Resize(context.Background(), "r", resizeTo(3)); v.Verdict != controlplane.ResizeAdmitted {
			t.Errorf("got %v", v)
		}
		s.Release("gone")
		close(hold)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if fmt.Sprint(got) != "[bound first bound last]" {
			t.Errorf("told %v", got)
		}
		s.Close()
	})
}

func BenchmarkSchedulerPlace(b *testing.B) {
	s := start(b, Config{})
	for i := range 1000 {
		s.SetNode(host(fmt.Sprint("n", i), 64))
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Place(context.Background(), request1("p", 1)); err != nil {
			b.Fatal(err)
		}
		s.Release("p")
	}
}

// TestExpelledInTime lets pods stay on a tainted node for as long as they tolerate it.
func TestExpelledInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var gone []string
		began := time.Now()
		s := start(t, Config{Evict: func(e controlplane.Eviction) {
			mu.Lock()
			defer mu.Unlock()
			gone = append(gone, fmt.Sprintf("%s after %s: %s", e.Key.Name, time.Since(began), e.Reason))
		}})
		s.SetNode(host("a", 8))
		for uid, seconds := range map[string]*int64{"never": nil, "soon": new(int64(5)), "late": new(int64(50)), "released": new(int64(7))} {
			req := request1(uid, 1)
			req.Rules = &controlplane.Rules{Tolerations: []corev1.Toleration{{Key: "k", Operator: corev1.TolerationOpExists, TolerationSeconds: seconds}}}
			_, _ = s.Place(context.Background(), req)
		}
		_, _ = s.Place(context.Background(), request1("at once", 1))
		tainted := host("a", 8)
		tainted.Taints = []corev1.Taint{{Key: "k", Effect: corev1.TaintEffectNoExecute}}
		s.SetNode(tainted)
		s.Release("released")
		time.Sleep(10 * time.Second)
		s.SetNode(host("a", 8)) // the taint goes, and with it what was to come
		time.Sleep(time.Hour)
		s.SetNode(tainted)
		s.SetNode(host("a", 8))
		time.Sleep(time.Hour)
		mu.Lock()
		defer mu.Unlock()
		if want := "[at once after 0s: DeletionByTaintManager soon after 5s: DeletionByTaintManager]"; fmt.Sprint(gone) != want {
			t.Errorf("%v, want %s", gone, want)
		}
		s.Close()
	})
}

// TestWaitsIsToldOnce: why a pod waits is told soon, and again when something else is against it.
func TestWaitsIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		s := start(t, Config{Waits: func(req controlplane.PlaceRequest, why string) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, req.Key.Name+": "+why)
		}})
		for i := range 3 * toldAtOnce {
			s.Pend(request1(fmt.Sprint(i), 2))
		}
		time.Sleep(1500 * time.Millisecond)
		mu.Lock()
		if len(told) != toldAtOnce {
			t.Errorf("%d were told at once", len(told))
		}
		mu.Unlock()
		time.Sleep(time.Minute)
		s.SetNode(host("a", 1))
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		counts := map[string]int{}
		for _, line := range told {
			_, why, _ := strings.Cut(line, ": ")
			counts[why]++
		}
		want := map[string]int{
			"no nodes available to schedule pods": 3 * toldAtOnce,
			"0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. No node could hold it, even empty.": 3 * toldAtOnce,
		}
		if !maps.Equal(counts, want) {
			t.Errorf("told %v", counts)
		}
		s.Close()
	})
}
