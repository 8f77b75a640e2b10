package store

import (
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/controlplane"
)

func TestWatchFilters(t *testing.T) {
	s := newStore(t)
	start := s.Version()
	for _, ns := range []string{"a", "b", "a"} {
		commit(t, s, controlplane.Key{Resource: "configmaps", Namespace: ns, Name: "x"},
			set(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "x"}}))
	}
	commit(t, s, podKey("p"), set(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p"}}))
	sub, err := s.Watch("configmaps", "a", start)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Stop()
	for i, e := range take(t, sub, 2) {
		if e.Key.Namespace != "a" || e.Type != []controlplane.EventType{controlplane.Added, controlplane.Modified}[i] {
			t.Errorf("event %d: %+v", i, e)
		}
	}
	sub.Stop()
	sub.Stop()
	for range sub.Events { //nolint:revive // until it ends
	}
	if sub.Err() != nil {
		t.Errorf("a stopped subscription ended with %v", sub.Err())
	}
}

func TestWatchExpires(t *testing.T) {
	cfg := config(startEtcd(t, t.TempDir()).Client())
	cfg.Window = 100
	s := open(t, cfg)
	start := s.Version()
	slow := watch(t, s, "configmaps", start)
	put(t, s, "n", "0")
	const n = 400 // more than the window, the channel and what is read ahead hold
	for i := range n {
		if _, err := s.Observe(mapKey("n"), func(controlplane.Object) controlplane.Object { return configMap("n", fmt.Sprint(i)) }); err != nil {
			t.Fatal(err)
		}
	}
	last := uint64(0)
	for e := range slow.Events {
		if e.Version <= last {
			t.Fatalf("version %d after %d", e.Version, last)
		}
		last = e.Version
	}
	if !errors.Is(slow.Err(), controlplane.ErrExpired) || last == s.Version() {
		t.Errorf("the slow reader ended with %v at %d of %d", slow.Err(), last, s.Version())
	}
	if _, err := s.Watch("configmaps", "", start); !errors.Is(err, controlplane.ErrExpired) {
		t.Errorf("from before the window: %v", err)
	}
	if _, err := s.Watch("configmaps", "", s.Version()+1); !errors.Is(err, controlplane.ErrExpired) {
		t.Errorf("from the future: %v", err)
	}
	take(t, watch(t, s, "configmaps", s.Version()-99), 99)
	if _, err := s.Watch("pods", "", start); err != nil {
		t.Errorf("another resource's window: %v", err)
	}
}

func TestWindowRing(t *testing.T) {
	for _, limit := range []int{1, 3, 64, 100, 1000} {
		w := window{limit: limit, byteLimit: 1 << 20}
		for v := uint64(1); v <= 300; v++ {
			w.append(change{is: &record{version: v, size: 1, entry: &entry{}}}, func(change) {})
			for _, after := range []uint64{0, v / 2, v - 1, v} {
				got, at, ok := w.readLocked(after, "", make([]glimpse, 0, 1000))
				want := v - after
				if inside := want <= uint64(limit); ok != inside || (ok && (uint64(len(got)) != want || at != v)) {
					t.Fatalf("limit %d, %d events, after %d: %d events, at %d, %v", limit, v, after, len(got), at, ok)
				}
				for i, e := range got {
					if e.is.version != after+1+uint64(i) {
						t.Fatalf("limit %d: event %d after %d is %d", limit, i, after, e.is.version)
					}
				}
			}
		}
	}
}
