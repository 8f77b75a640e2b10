package store

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/controlplane"
	"swell.dev/swell/internal/etcd"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

func startEtcd(t testing.TB, dir string) *etcd.Server {
	t.Helper()
	s, err := etcd.Start(context.Background(), etcd.Config{Dir: dir, MinFreeBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newObject(resource string) controlplane.Object {
	switch resource {
	case "pods":
		return &corev1.Pod{}
	case "configmaps":
		return &corev1.ConfigMap{}
	case "namespaces":
		return &corev1.Namespace{}
	case "events":
		return &corev1.Event{}
	}
	return nil
}

// stripStatus keeps the phase of pods that ended.
func stripStatus(o controlplane.Object) controlplane.Object {
	pod, ok := o.(*corev1.Pod)
	if !ok || pod.Status.Phase == corev1.PodSucceeded {
		return o
	}
	out := *pod
	out.Status = corev1.PodStatus{}
	return &out
}

func config(client *clientv3.Client) Config {
	return Config{
		Client: client, Identity: "test", New: newObject, Durable: stripStatus,
		Volatile: map[string]bool{"events": true},
		Pack:     map[string]func(controlplane.Object) string{"pods": controlplane.Object.GetNamespace, "configmaps": controlplane.Object.GetNamespace},
		Log:      slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

func open(t testing.TB, cfg Config) *Store {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newStore(t testing.TB) *Store {
	t.Helper()
	return open(t, config(startEtcd(t, t.TempDir()).Client()))
}

func mapKey(name string) controlplane.Key {
	return controlplane.Key{Resource: "configmaps", Namespace: "default", Name: name}
}

func podKey(name string) controlplane.Key {
	return controlplane.Key{Resource: "pods", Namespace: "default", Name: name}
}

func configMap(name, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Data: map[string]string{"v": value}}
}

func set(o controlplane.Object) func(controlplane.Object) (controlplane.Object, error) {
	return func(controlplane.Object) (controlplane.Object, error) { return o, nil }
}

func remove(controlplane.Object) (controlplane.Object, error) { return nil, nil }

func commit(t testing.TB, s *Store, key controlplane.Key, change func(controlplane.Object) (controlplane.Object, error)) controlplane.Object {
	t.Helper()
	o, err := s.Commit(context.Background(), controlplane.Mutation{Key: key, Change: change})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func put(t testing.TB, s *Store, name, value string) uint64 {
	t.Helper()
	return versionOf(t, commit(t, s, mapKey(name), set(configMap(name, value))))
}

func versionOf(t testing.TB, o controlplane.Object) uint64 {
	t.Helper()
	v, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func watch(t testing.TB, s *Store, resource string, after uint64) *controlplane.Subscription {
	t.Helper()
	sub, err := s.Watch(resource, "", after)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sub.Stop)
	return sub
}

func take(t testing.TB, sub *controlplane.Subscription, n int) []controlplane.Event {
	t.Helper()
	var out []controlplane.Event
	deadline := time.After(patience)
	for len(out) < n {
		select {
		case e, ok := <-sub.Events:
			if !ok {
				t.Fatalf("after %d of %d events: ended: %v", len(out), n, sub.Err())
			}
			out = append(out, e)
		case <-deadline:
			t.Fatalf("only %d of %d events came", len(out), n)
		}
	}
	return out
}

func show(events []controlplane.Event) []string {
	out := make([]string, len(events))
	for i, e := range events {
		kind := map[controlplane.EventType]string{controlplane.Added: "added", controlplane.Modified: "modified", controlplane.Deleted: "deleted"}[e.Type]
		value := func(o controlplane.Object) string {
			if m, ok := o.(*corev1.ConfigMap); ok {
				return m.Data["v"]
			}
			return "-"
		}
		out[i] = fmt.Sprintf("%d %s %s %s<-%s", e.Version, kind, e.Key.Name, value(e.Object), value(e.Previous))
		if e.Object.GetResourceVersion() != formatVersion(e.Version) {
			out[i] += " with version " + e.Object.GetResourceVersion()
		}
	}
	return out
}

// gate is a KV whose transactions a test can hold back or whose answers it can lose.
type gate struct {
	clientv3.KV
	waiting atomic.Int32 // transactions that are held back
	mu      sync.Mutex
	closed  chan struct{} // non-nil: transactions wait for it
	lose    int           // answers to lose
	err     error
}

func (g *gate) Txn(ctx context.Context) clientv3.Txn { return &gatedTxn{Txn: g.KV.Txn(ctx), gate: g} }

type gatedTxn struct {
	clientv3.Txn
	gate *gate
}

func (t *gatedTxn) If(cs ...clientv3.Cmp) clientv3.Txn   { t.Txn = t.Txn.If(cs...); return t }
func (t *gatedTxn) Then(ops ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Then(ops...); return t }
func (t *gatedTxn) Else(ops ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Else(ops...); return t }

func (t *gatedTxn) Commit() (*clientv3.TxnResponse, error) {
	t.gate.mu.Lock()
	closed := t.gate.closed
	t.gate.mu.Unlock()
	if closed != nil {
		t.gate.waiting.Add(1)
		<-closed
		t.gate.waiting.Add(-1)
	}
	resp, err := t.Txn.Commit()
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	if t.gate.lose > 0 {
		t.gate.lose--
		return nil, t.gate.err
	}
	return resp, err
}

func (g *gate) shut() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := make(chan struct{})
	g.closed = c
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.closed = nil
		close(c)
	})
}

func newGatedStore(t testing.TB, change func(*Config)) (*Store, *gate) {
	t.Helper()
	client := startEtcd(t, t.TempDir()).Client()
	g := &gate{KV: client.KV}
	client.KV = g
	cfg := config(client)
	if change != nil {
		change(&cfg)
	}
	s := open(t, cfg)
	t.Cleanup(func() { // before the store's: a test that failed early has left the gate shut
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.closed != nil {
			close(g.closed)
			g.closed = nil
		}
	})
	return s, g
}

// await waits until a condition holds that no channel tells.
func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not in time: %s", what)
		}
	}
}
