package projects

import (
	"context"
	"maps"
	"sync"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// memory is a store whose one watch is fed by put and remove.
type memory struct {
	mu      sync.Mutex
	objects map[controlplane.Key]controlplane.Object
	events  chan controlplane.Event
	commits int
	fails   error
}

func newMemory() *memory {
	return &memory{objects: map[controlplane.Key]controlplane.Object{}, events: make(chan controlplane.Event, 10)}
}

func (m *memory) Get(key controlplane.Key) (controlplane.Object, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[key]
	return o, ok
}

func (m *memory) List(resource, _ string) ([]controlplane.Object, uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []controlplane.Object
	for k, o := range m.objects {
		if k.Resource == resource {
			out = append(out, o)
		}
	}
	return out, 1
}

func (m *memory) Watch(string, string, uint64) (*controlplane.Subscription, error) {
	return &controlplane.Subscription{Events: m.events, Stop: func() {}, Err: func() error { return nil }}, nil
}

func (m *memory) Commit(_ context.Context, mu controlplane.Mutation) (controlplane.Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fails; err != nil {
		m.fails = nil
		return nil, err
	}
	next, err := mu.Change(m.objects[mu.Key])
	m.objects[mu.Key] = next
	m.commits++
	return next, err
}

func (m *memory) put(name string, labels map[string]string) {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: maps.Clone(labels)}}
	key := controlplane.Key{Resource: namespacesResource, Name: name}
	m.mu.Lock()
	m.objects[key] = ns
	m.mu.Unlock()
	m.events <- controlplane.Event{Type: controlplane.Modified, Key: key, Object: ns}
}

func (m *memory) remove(name string) {
	key := controlplane.Key{Resource: namespacesResource, Name: name}
	m.mu.Lock()
	ns := m.objects[key]
	delete(m.objects, key)
	m.mu.Unlock()
	m.events <- controlplane.Event{Type: controlplane.Deleted, Key: key, Object: ns}
}

func TestAccountsOutliveNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		a := New(m)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.Run(ctx) }()
		synctest.Wait() // it has listed what there is
		acme := map[string]string{v1alpha1.LabelAccount: "acme"}
		m.put("shop", acme)
		m.put("blog", nil)
		m.put("brief", acme)
		m.remove("brief")
		m.put("moved", acme)
		m.put("moved", map[string]string{v1alpha1.LabelAccount: "other"})
		synctest.Wait()
		m.fails = controlplane.ErrOverloaded // and is tried again
		m.put("late", acme)
		synctest.Wait()
		want := map[string]string{"shop": "acme", "blog": "default", "brief": "acme", "moved": "other", "late": "acme", "never": "default"}
		check := func(a *Accounts) {
			t.Helper()
			for project, account := range want {
				if got := a.Of(project); got != account {
					t.Errorf("%s is %s's, want %s", project, got, account)
				}
			}
		}
		check(a)
		if m.commits != 6 {
			t.Errorf("%d commits, want one for each, and one more for the one that moved", m.commits)
		}
		if _, known := a.Known("never"); known {
			t.Error("one that never was is known")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		// After a restart, with all namespaces gone.
		m.mu.Lock()
		for k := range m.objects {
			if k.Resource == namespacesResource {
				delete(m.objects, k)
			}
		}
		m.mu.Unlock()
		check(New(m))
	})
}

func TestANamespaceSaysItself(t *testing.T) {
	m := newMemory()
	m.objects[controlplane.Key{Resource: projectsResource, Name: "shop"}] = &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Account: "old"}
	a := New(m)
	if got := a.Of("shop"); got != "old" {
		t.Error(got)
	}
	m.put("shop", nil) // made anew, and names none: that is what it says now
	if got := a.Of("shop"); got != "default" {
		t.Error(got)
	}
}
