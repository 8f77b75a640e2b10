package quota

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"swell.dev/swell/controlplane"
)

// memory is a store of which the tests see the events.
type memory struct {
	mu      sync.Mutex // guards what follows
	version uint64
	objects map[controlplane.Key]controlplane.Object
	log     []controlplane.Event
	subs    map[chan controlplane.Event]*subscriber
}

type subscriber struct {
	resource string
	err      error
}

func newMemory() *memory {
	return &memory{version: 10, objects: map[controlplane.Key]controlplane.Object{}, subs: map[chan controlplane.Event]*subscriber{}}
}

func (m *memory) Version() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.version
}

func (m *memory) List(res, namespace string) ([]controlplane.Object, uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []controlplane.Object
	for k, o := range m.objects {
		if k.Resource == res && (namespace == "" || k.Namespace == namespace) {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b controlplane.Object) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return out, m.version
}

func (m *memory) Items(res, namespace string) (controlplane.Items, uint64) {
	list, version := m.List(res, namespace)
	return controlplane.ItemsOf(res, list), version
}

// put stores an object, or removes it where next is nil, and answers it as it then is.
func (m *memory) put(key controlplane.Key, next controlplane.Object) controlplane.Object {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.putLocked(key, next)
}

func (m *memory) putLocked(key controlplane.Key, next controlplane.Object) controlplane.Object {
	current := m.objects[key]
	m.version++
	ev := controlplane.Event{Type: controlplane.Modified, Key: key, Version: m.version, Object: next, Previous: current}
	if next == nil {
		ev.Type, ev.Object = controlplane.Deleted, current.DeepCopyObject().(controlplane.Object)
		delete(m.objects, key)
	} else {
		ev.Object = next.DeepCopyObject().(controlplane.Object)
		m.objects[key] = ev.Object
	}
	ev.Object.SetResourceVersion(strconv.FormatUint(m.version, 10))
	m.log = append(m.log, ev)
	for events, s := range m.subs {
		if s.resource != key.Resource {
			continue
		}
		select {
		case events <- ev:
		default:
			s.err = controlplane.ErrExpired
			close(events)
			delete(m.subs, events)
		}
	}
	return ev.Object
}

func (m *memory) Observe(key controlplane.Key, change func(controlplane.Object) controlplane.Object) (controlplane.Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	current := m.objects[key]
	if current == nil {
		return nil, fmt.Errorf("%s: %w", key, controlplane.ErrNotFound)
	}
	next := change(current)
	if next == current {
		return current, nil
	}
	return m.putLocked(key, next), nil
}

func (m *memory) Watch(res, _ string, after uint64) (*controlplane.Subscription, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	events, s := make(chan controlplane.Event, 64), &subscriber{resource: res}
	for _, ev := range m.log {
		if ev.Version > after && ev.Key.Resource == res {
			events <- ev
		}
	}
	m.subs[events] = s
	return &controlplane.Subscription{
		Events: events,
		Stop: func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.subs[events] != nil {
				close(events)
				delete(m.subs, events)
			}
		},
		Err: func() error { m.mu.Lock(); defer m.mu.Unlock(); return s.err },
	}, nil
}

func (m *memory) all(res string) map[controlplane.Key]controlplane.Object {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := maps.Clone(m.objects)
	maps.DeleteFunc(out, func(k controlplane.Key, _ controlplane.Object) bool { return k.Resource != res })
	return out
}

func podKey(name string) controlplane.Key {
	return controlplane.Key{Resource: podsResource, Namespace: "ns", Name: name}
}

func quotaKey(name string) controlplane.Key {
	return controlplane.Key{Resource: quotasResource, Namespace: "ns", Name: name}
}

func sizes(milli, bytes int64) corev1.ResourceRequirements {
	list := corev1.ResourceList{
		corev1.ResourceCPU: *resource.NewMilliQuantity(milli, resource.DecimalSI), corev1.ResourceMemory: *resource.NewQuantity(bytes, resource.BinarySI),
	}
	limits := list.DeepCopy()
	limits[corev1.ResourceCPU] = *resource.NewMilliQuantity(2*milli, resource.DecimalSI)
	return corev1.ResourceRequirements{Requests: list, Limits: limits}
}

// pod asks for CPU in thousandths, may have twice as much, and has memory in bytes.
func pod(name string, milli, bytes int64) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name)},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Resources: sizes(milli, bytes)}}},
	}
}

// quotaOf reads the spec of a quota in YAML.
func quotaOf(t testing.TB, name, spec string) *corev1.ResourceQuota {
	t.Helper()
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name)}}
	if err := yaml.UnmarshalStrict([]byte(spec), &q.Spec); err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	return q
}

func counterOf(t testing.TB, m *memory) *Counter {
	t.Helper()
	c, err := New(Config{Store: m})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// used is what a quota's lines are at.
func (c *Counter) usedOf(namespace, name string) corev1.ResourceList {
	t := c.tally(namespace)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range t.bounds {
		if b.name == name {
			return b.status().Used
		}
	}
	return nil
}
