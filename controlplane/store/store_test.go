package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/controlplane"
)

func TestCommit(t *testing.T) {
	s := newStore(t)
	sub := watch(t, s, "configmaps", s.Version())
	v1 := put(t, s, "a", "1")
	v2 := put(t, s, "a", "2")

	before := s.Version()
	same := commit(t, s, mapKey("a"), func(c controlplane.Object) (controlplane.Object, error) { return c, nil })
	if versionOf(t, same) != v2 || s.Version() != before {
		t.Error("answering the same object changed something")
	}
	if none := commit(t, s, mapKey("missing"), remove); none != nil {
		t.Errorf("deleting what isn't there answered %v", none)
	}
	boom := errors.New("boom")
	if _, err := s.Commit(t.Context(), controlplane.Mutation{Key: mapKey("a"), Change: func(controlplane.Object) (controlplane.Object, error) {
		return nil, boom
	}}); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	gone := commit(t, s, mapKey("a"), remove)
	v3 := versionOf(t, gone)
	if gone.(*corev1.ConfigMap).Data["v"] != "2" {
		t.Errorf("the deletion answered %v", gone)
	}
	if _, ok := s.Get(mapKey("a")); ok {
		t.Error("it is still there")
	}
	want := []string{
		fmt.Sprintf("%d added a 1<--", v1), fmt.Sprintf("%d modified a 2<-1", v2), fmt.Sprintf("%d deleted a 2<-2", v3),
	}
	if got := show(take(t, sub, 3)); !slices.Equal(got, want) {
		t.Errorf("events:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if v1 >= v2 || v2 >= v3 {
		t.Errorf("versions %d %d %d", v1, v2, v3)
	}
}

func TestListIsSorted(t *testing.T) {
	s := newStore(t)
	for _, n := range []string{"b/2", "a/9", "b/1", "ab/5", "a/1"} {
		ns, name, _ := strings.Cut(n, "/")
		o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
		commit(t, s, controlplane.Key{Resource: "configmaps", Namespace: ns, Name: name}, set(o))
	}
	commit(t, s, controlplane.Key{Resource: "configmaps", Namespace: "b", Name: "1"}, remove)
	for ns, want := range map[string]string{"": "a/1 a/9 ab/5 b/2", "a": "a/1 a/9", "b": "b/2", "none": ""} {
		items, version := s.List("configmaps", ns)
		var got []string
		for _, o := range items {
			got = append(got, o.GetNamespace()+"/"+o.GetName())
		}
		if strings.Join(got, " ") != want || version != s.Version() {
			t.Errorf("namespace %q: %v at %d, want %s at %d", ns, got, version, want, s.Version())
		}
	}
}

func TestBadChangesAreContained(t *testing.T) {
	s := newStore(t)
	for name, m := range map[string]controlplane.Mutation{
		"panic":     {Key: mapKey("a"), Change: func(controlplane.Object) (controlplane.Object, error) { panic("boom") }},
		"typed nil": {Key: mapKey("a"), Change: set((*corev1.ConfigMap)(nil))},
		"misnamed":  {Key: mapKey("a"), Change: set(configMap("b", ""))},
		"slash":     {Key: mapKey("a/b"), Change: set(configMap("a/b", ""))},
		"no name":   {Key: mapKey(""), Change: set(configMap("", ""))},
		"too large": {Key: mapKey("a"), Change: set(configMap("a", strings.Repeat("x", 2<<20)))},
	} {
		if o, err := s.Commit(t.Context(), m); err == nil {
			t.Errorf("%s: stored %v", name, o)
		}
	}
	put(t, s, "a", "1") // neither the key nor a place is left taken
	if _, err := s.Observe(mapKey("a"), func(controlplane.Object) controlplane.Object { panic("boom") }); err == nil {
		t.Error("a panic in an observation went unnoticed")
	}
	if _, err := s.Observe(mapKey("a"), func(controlplane.Object) controlplane.Object { return nil }); err == nil {
		t.Error("an observation deleted")
	}
	put(t, s, "a", "2")
	if n := len(s.places); n != 0 {
		t.Errorf("%d places are still taken", n)
	}
}

func TestWritableRefuses(t *testing.T) {
	full := errors.New("make room")
	client := startEtcd(t, t.TempDir()).Client()
	cfg := config(client)
	var refuse error
	cfg.Writable = func() error { return refuse }
	s := open(t, cfg)
	put(t, s, "a", "1")
	refuse = full
	_, err := s.Commit(t.Context(), controlplane.Mutation{Key: mapKey("a"), Change: set(configMap("a", "2"))})
	if !errors.Is(err, full) || !errors.Is(err, controlplane.ErrNoStorage) {
		t.Errorf("got %v", err)
	}
	commit(t, s, mapKey("a"), remove) // which makes room
}

func TestObserve(t *testing.T) {
	s := newStore(t)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p"}}
	v1 := versionOf(t, commit(t, s, podKey("p"), set(pod)))
	written := s.Stats().Transactions
	running := func(c controlplane.Object) controlplane.Object {
		if c.(*corev1.Pod).Status.Phase == corev1.PodRunning {
			return c
		}
		next := c.DeepCopyObject().(*corev1.Pod)
		next.Status.Phase = corev1.PodRunning
		return next
	}
	sub := watch(t, s, "pods", v1)
	o, err := s.Observe(podKey("p"), running)
	if err != nil || versionOf(t, o) <= v1 {
		t.Fatalf("got %v, %v", o, err)
	}
	if e := take(t, sub, 1)[0]; e.Type != controlplane.Modified || e.Object != o || e.Version != versionOf(t, o) {
		t.Errorf("event %+v", e)
	}
	if again, err := s.Observe(podKey("p"), running); err != nil || again != o {
		t.Errorf("an observation of nothing new answered %v, %v", again, err)
	}
	if _, err := s.Observe(podKey("q"), running); !errors.Is(err, controlplane.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if n := s.Stats().Transactions; n != written {
		t.Errorf("%d transactions for observations", n-written)
	}
	// A commit keeps what was observed in memory and strips it from what is written.
	o = commit(t, s, podKey("p"), func(c controlplane.Object) (controlplane.Object, error) {
		next := c.DeepCopyObject().(*corev1.Pod)
		next.Labels = map[string]string{"a": "b"}
		return next, nil
	})
	if o.(*corev1.Pod).Status.Phase != corev1.PodRunning {
		t.Error("the commit lost what was observed")
	}
	resp, err := s.cfg.Client.Get(context.Background(), s.keys.object(podKey("p")))
	if err != nil {
		t.Fatal(err)
	}
	var stored corev1.Pod
	if err := decode(resp.Kvs[0].Value, resp.Kvs[0].ModRevision, &stored); err != nil {
		t.Fatal(err)
	}
	if stored.Status.Phase != "" || stored.Labels["a"] != "b" || stored.ResourceVersion != o.GetResourceVersion() {
		t.Errorf("stored %+v", stored)
	}
}

func TestOrdinalsRunOut(t *testing.T) {
	s := newStore(t)
	s.limit = 4
	sub := watch(t, s, "pods", s.Version())
	commit(t, s, podKey("p"), set(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p"}}))
	const n = 20
	for range n {
		if _, err := s.Observe(podKey("p"), func(c controlplane.Object) controlplane.Object { return c.DeepCopyObject().(*corev1.Pod) }); err != nil {
			t.Fatal(err)
		}
	}
	last := uint64(0)
	for _, e := range take(t, sub, n+1) {
		if e.Version <= last || e.Version&maxOrdinal > s.limit {
			t.Fatalf("version %d after %d", e.Version, last)
		}
		last = e.Version
	}
	if s.Stats().Transactions < n/4 {
		t.Errorf("%d transactions", s.Stats().Transactions)
	}
}

func TestVolatile(t *testing.T) {
	dir := t.TempDir()
	etcd := startEtcd(t, dir)
	cfg := config(etcd.Client())
	cfg.VolatileLimit = 3
	s := open(t, cfg)
	start := s.Version()
	sub := watch(t, s, "events", start)
	for i := range 5 {
		name := fmt.Sprint(i)
		commit(t, s, controlplane.Key{Resource: "events", Namespace: "default", Name: name},
			set(&corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}))
	}
	var got []string
	for _, e := range take(t, sub, 7) {
		got = append(got, fmt.Sprint(e.Type, e.Key.Name))
	}
	if want := "10 11 12 13 30 14 31"; strings.Join(got, " ") != want {
		t.Errorf("events %v, want %s", got, want)
	}
	if items, _ := s.List("events", ""); len(items) != 3 {
		t.Errorf("%d are kept", len(items))
	}
	if n := s.Stats().Transactions; n != 0 {
		t.Errorf("%d transactions", n)
	}
	s.Close()
	s = open(t, cfg)
	if items, _ := s.List("events", ""); len(items) != 0 {
		t.Errorf("%d were written", len(items))
	}
	if _, err := s.Watch("events", "", start); !errors.Is(err, controlplane.ErrExpired) {
		t.Errorf("a watch from before the restart: %v", err)
	}
}

func TestClosedStoreRefuses(t *testing.T) {
	s := newStore(t)
	sub := watch(t, s, "pods", s.Version())
	s.Close()
	s.Close()
	_, err := s.Commit(t.Context(), controlplane.Mutation{Key: mapKey("a"), Change: set(configMap("a", ""))})
	if !errors.Is(err, controlplane.ErrUnavailable) {
		t.Errorf("commit: %v", err)
	}
	if _, err := s.Watch("pods", "", s.Version()); !errors.Is(err, controlplane.ErrUnavailable) {
		t.Errorf("watch: %v", err)
	}
	if _, ok := <-sub.Events; ok || !errors.Is(sub.Err(), controlplane.ErrUnavailable) {
		t.Errorf("subscription: %v", sub.Err())
	}
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := Open(t.Context(), Config{}); err == nil {
		t.Error("no error")
	}
}
