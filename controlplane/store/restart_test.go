package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/controlplane"
	"swell.dev/swell/internal/etcd"
)

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	server := startEtcd(t, dir)
	s := open(t, config(server.Client()))
	start := s.Version()

	// One batch of several writes: a watch is resumed in the middle of it.
	put(t, s, "a", "1")
	put(t, s, "gone", "1")
	put(t, s, "a", "2")
	commit(t, s, mapKey("gone"), remove)
	w := []*write{}
	for i := range 4 {
		name := fmt.Sprintf("batch%d", i)
		x, err := s.prepare(mapKey(name), nil, configMap(name, "x"))
		if err != nil {
			t.Fatal(err)
		}
		w = append(w, x)
	}
	commitTogether(t, s, w)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p"}, Spec: corev1.PodSpec{NodeName: "n"}}
	commit(t, s, podKey("p"), set(pod))
	if _, err := s.Observe(podKey("p"), func(c controlplane.Object) controlplane.Object {
		next := c.DeepCopyObject().(*corev1.Pod)
		next.Status.Phase = corev1.PodRunning
		return next
	}); err != nil {
		t.Fatal(err)
	}
	before := show(take(t, watch(t, s, "configmaps", start), 8))
	last := s.Version()
	s.Close()
	server.Close()

	began := time.Now()
	cfg := config(startEtcd(t, dir).Client())
	cfg.Restored = func(o controlplane.Object) controlplane.Object {
		p, ok := o.(*corev1.Pod)
		if !ok {
			return o
		}
		next := p.DeepCopy()
		next.Status.Phase = corev1.PodUnknown
		return next
	}
	s = open(t, cfg)
	t.Logf("etcd and store were back after %v", time.Since(began))

	for at, want := range before {
		var v uint64
		if _, err := fmt.Sscan(want, &v); err != nil {
			t.Fatal(err)
		}
		rest := before[at+1:]
		if got := show(take(t, watch(t, s, "configmaps", v), len(rest))); !slices.Equal(got, rest) {
			t.Errorf("resumed after %d:\n%s\nwant\n%s", v, strings.Join(got, "\n"), strings.Join(rest, "\n"))
		}
	}
	if got := show(take(t, watch(t, s, "configmaps", start), len(before))); !slices.Equal(got, before) {
		t.Errorf("from the start:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(before, "\n"))
	}
	items, _ := s.List("configmaps", "")
	if len(items) != 5 || items[0].(*corev1.ConfigMap).Data["v"] != "2" {
		t.Errorf("items %v", items)
	}
	e := take(t, watch(t, s, "pods", last), 1)[0]
	if e.Type != controlplane.Modified || e.Version <= last || e.Object.(*corev1.Pod).Status.Phase != corev1.PodUnknown {
		t.Errorf("what was observed was lost without a word: %+v", e)
	}
	if v := put(t, s, "a", "3"); v <= last {
		t.Errorf("version %d after %d", v, last)
	}
}

// commitTogether commits writes in one transaction.
func commitTogether(t *testing.T, s *Store, writes []*write) {
	t.Helper()
	held := s.cfg.Client.KV
	g := &gate{KV: held}
	s.cfg.Client.KV = g
	open := g.shut()
	first := &write{done: make(chan error, 1)}
	s.queue <- first
	await(t, "the committer is busy", func() bool { return g.waiting.Load() == 1 })
	for _, w := range writes {
		s.queue <- w
	}
	open()
	for _, w := range append(writes, first) {
		if err := <-w.done; err != nil {
			t.Fatal(err)
		}
	}
	base := versionOf(t, writes[0].next)
	for i, w := range writes {
		if versionOf(t, w.next) != base+uint64(i) {
			t.Fatalf("not one transaction: %s is write %d after %d", w.next.GetResourceVersion(), i, base)
		}
	}
}

func TestHistoryIsBounded(t *testing.T) {
	server := startEtcd(t, t.TempDir())
	cfg := config(server.Client())
	cfg.History = 10
	s := open(t, cfg)
	versions := []uint64{}
	for i := range 30 {
		versions = append(versions, put(t, s, fmt.Sprint(i%7), fmt.Sprint(i)))
	}
	s.Close()
	s = open(t, cfg)
	if got := take(t, watch(t, s, "configmaps", versions[19]), 10); got[0].Version != versions[20] || got[9].Version != versions[29] {
		t.Errorf("got %v", show(got))
	}
	if _, err := s.Watch("configmaps", "", versions[18]); !errors.Is(err, controlplane.ErrExpired) {
		t.Errorf("older: %v", err)
	}
}

func TestCompactedHistoryHasExpired(t *testing.T) {
	t.Run("in process", func(t *testing.T) { testCompactedHistory(t, startEtcd(t, t.TempDir()).Client()) })
	t.Run("over gRPC", func(t *testing.T) {
		dir := t.TempDir()
		server, err := etcd.Start(t.Context(), etcd.Config{Dir: dir, MinFreeBytes: 1, Socket: dir + "/s"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{"unix://" + dir + "/s"}, DialTimeout: patience, Logger: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		testCompactedHistory(t, client)
	})
}

func testCompactedHistory(t *testing.T, client *clientv3.Client) {
	s := open(t, config(client))
	v1 := put(t, s, "a", "1")
	v2 := put(t, s, "a", "2")
	v3 := put(t, s, "a", "3")
	if _, err := client.Compact(context.Background(), int64(v2>>ordinalBits), clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, config(client))
	if _, err := s.Watch("configmaps", "", v1); !errors.Is(err, controlplane.ErrExpired) {
		t.Errorf("before the compaction: %v", err)
	}
	if got := take(t, watch(t, s, "configmaps", v2), 1); got[0].Version != v3 {
		t.Errorf("got %v", show(got))
	}
}

func TestSecondLeaderDeposesItsFormerSelf(t *testing.T) {
	client := startEtcd(t, t.TempDir()).Client()
	first := open(t, config(client))
	put(t, first, "a", "1")
	sub := watch(t, first, "configmaps", first.Version())
	began := time.Now()
	second := open(t, config(client))
	if d := time.Since(began); d > first.cfg.LeaseTTL/2 {
		t.Errorf("taking over took %v", d)
	}
	put(t, second, "a", "2")
	_, err := first.Commit(t.Context(), controlplane.Mutation{Key: mapKey("a"), Change: set(configMap("a", "stale"))})
	if !errors.Is(err, controlplane.ErrNotLeader) {
		t.Fatalf("the deposed leader's commit: %v", err)
	}
	<-first.Lost()
	if _, err := first.Observe(mapKey("a"), func(c controlplane.Object) controlplane.Object { return c }); !errors.Is(err, controlplane.ErrNotLeader) {
		t.Errorf("the deposed leader's observation: %v", err)
	}
	for range sub.Events { //nolint:revive // until it ends
	}
	if !errors.Is(sub.Err(), controlplane.ErrNotLeader) {
		t.Errorf("the deposed leader's subscription: %v", sub.Err())
	}
	first.Close() // gives back nothing of the second's
	put(t, second, "a", "3")
	if o, _ := second.Get(mapKey("a")); o.(*corev1.ConfigMap).Data["v"] != "3" {
		t.Errorf("got %v", o)
	}
}

func TestIdleLeaderLearnsThatItIsDeposed(t *testing.T) {
	client := startEtcd(t, t.TempDir()).Client()
	cfg := config(client)
	cfg.LeaseTTL = 2 * time.Second
	first := open(t, cfg)
	open(t, cfg)
	select {
	case <-first.Lost():
	case <-time.After(patience):
		t.Error("it still believes that it leads")
	}
}

func TestAnotherControlPlaneWaits(t *testing.T) {
	client := startEtcd(t, t.TempDir()).Client()
	first := open(t, config(client))
	put(t, first, "a", "1")
	cfg := config(client)
	cfg.Identity = "other"
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := Open(short, cfg); err == nil {
		s.Close()
		t.Fatal("two lead")
	}
	opened := make(chan *Store, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		s, err := Open(context.Background(), cfg)
		if err != nil {
			t.Error(err)
		}
		opened <- s
	})
	put(t, first, "a", "2") // it doesn't disturb
	select {
	case <-opened:
		t.Fatal("two lead")
	default:
	}
	first.Close()
	wg.Wait()
	second := <-opened
	defer second.Close()
	if o, _ := second.Get(mapKey("a")); o.(*corev1.ConfigMap).Data["v"] != "2" {
		t.Errorf("got %v", o)
	}
}
