package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/controlplane"
)

// TestUnfollowedEvents: what nobody follows leaves no history, and whoever lists can go on from there.
func TestUnfollowedEvents(t *testing.T) {
	cfg := config(startEtcd(t, t.TempDir()).Client())
	cfg.VolatileLimit = 3
	s := open(t, cfg)
	note := func(name string) uint64 {
		key := controlplane.Key{Resource: "events", Namespace: "default", Name: name}
		return versionOf(t, commit(t, s, key, set(&corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}})))
	}
	first := note("a")
	for _, name := range []string{"d", "c", "b"} {
		note(name)
	}
	if _, err := s.Watch("events", "", first); !errors.Is(err, controlplane.ErrExpired) {
		t.Errorf("a watch from before anybody listed: %v, want expired", err)
	}
	items, listed := s.List("events", "")
	var names []string
	for _, o := range items {
		names = append(names, o.GetName())
	}
	if len(names) != 3 || names[0] != "b" || names[1] != "c" || names[2] != "d" {
		t.Fatalf("%v are there, want the last three in order", names)
	}
	note("e") // before the lister watches
	sub := watch(t, s, "events", listed)
	note("f")
	var got []string
	for _, e := range take(t, sub, 4) {
		got = append(got, fmt.Sprint(e.Type, e.Key.Name))
	}
	if want := "1e 3d 1f 3c"; strings.Join(got, " ") != want {
		t.Errorf("who has listed sees %v, want %s", got, want)
	}
}
