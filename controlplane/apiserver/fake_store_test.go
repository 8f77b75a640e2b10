package apiserver

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/controlplane"
)

// memoryStore is a Store that keeps everything, with a window of events that can be shortened.
type memoryStore struct {
	mu      sync.Mutex
	version uint64
	objects map[controlplane.Key]controlplane.Object
	log     []controlplane.Event
	oldest  uint64 // events up to here are forgotten
	subs    map[*memorySub]bool
	fail    error // what Commit answers
}

type memorySub struct {
	resource, namespace string
	events              chan controlplane.Event
	err                 error
	done                bool
}

func newMemoryStore() *memoryStore {
	return &memoryStore{version: 100, objects: map[controlplane.Key]controlplane.Object{}, subs: map[*memorySub]bool{}}
}

func (m *memoryStore) Get(k controlplane.Key) (controlplane.Object, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[k]
	return o, ok
}

func (m *memoryStore) Items(resource, namespace string) (controlplane.Items, uint64) {
	objects, version := m.List(resource, namespace)
	return controlplane.ItemsOf(resource, objects), version
}

func (m *memoryStore) List(resource, namespace string) ([]controlplane.Object, uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []controlplane.Object
	for k, o := range m.objects {
		if k.Resource == resource && (namespace == "" || k.Namespace == namespace) {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b controlplane.Object) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return out, m.version
}

func (m *memoryStore) Version() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.version
}

func (m *memoryStore) Commit(ctx context.Context, mut controlplane.Mutation) (controlplane.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, fmt.Errorf("%s: %w", mut.Key, m.fail)
	}
	current := m.objects[mut.Key]
	next, err := mut.Change(current)
	if err != nil {
		return nil, err
	}
	return m.setLocked(mut.Key, current, next), nil
}

func (m *memoryStore) Observe(key controlplane.Key, change func(controlplane.Object) controlplane.Object) (controlplane.Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	current := m.objects[key]
	if current == nil {
		return nil, fmt.Errorf("%s: %w", key, controlplane.ErrNotFound)
	}
	return m.setLocked(key, current, change(current)), nil
}

func (m *memoryStore) setLocked(key controlplane.Key, current, next controlplane.Object) controlplane.Object {
	if next == current {
		return current
	}
	m.version++
	ev := controlplane.Event{Key: key, Version: m.version, Previous: current}
	if next == nil {
		last := current.DeepCopyObject().(controlplane.Object)
		last.SetResourceVersion(strconv.FormatUint(m.version, 10))
		delete(m.objects, key)
		ev.Type, ev.Object = controlplane.Deleted, last
	} else {
		next.SetResourceVersion(strconv.FormatUint(m.version, 10))
		m.objects[key] = next
		ev.Type, ev.Object = controlplane.Modified, next
		if current == nil {
			ev.Type = controlplane.Added
		}
	}
	m.log = append(m.log, ev)
	for s := range m.subs {
		m.sendLocked(s, ev)
	}
	return ev.Object
}

func (m *memoryStore) sendLocked(s *memorySub, ev controlplane.Event) {
	if s.done || ev.Key.Resource != s.resource || s.namespace != "" && ev.Key.Namespace != s.namespace {
		return
	}
	select {
	case s.events <- ev:
	default:
		m.endLocked(s, controlplane.ErrExpired)
	}
}

func (m *memoryStore) endLocked(s *memorySub, err error) {
	if !s.done {
		s.done, s.err = true, err
		close(s.events)
		delete(m.subs, s)
	}
}

func (m *memoryStore) Watch(resource, namespace string, after uint64) (*controlplane.Subscription, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if after < m.oldest {
		return nil, fmt.Errorf("%s after %d: %w", resource, after, controlplane.ErrExpired)
	}
	s := &memorySub{resource: resource, namespace: namespace, events: make(chan controlplane.Event, 1024)}
	m.subs[s] = true
	for _, ev := range m.log {
		if ev.Version > after {
			m.sendLocked(s, ev)
		}
	}
	return &controlplane.Subscription{
		Events: s.events,
		Stop:   func() { m.mu.Lock(); defer m.mu.Unlock(); m.endLocked(s, nil) },
		Err:    func() error { m.mu.Lock(); defer m.mu.Unlock(); return s.err },
	}, nil
}

// forget drops the window of events and ends the watches, as when a reader falls behind.
func (m *memoryStore) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.oldest, m.log = m.version, nil
	for s := range m.subs {
		m.endLocked(s, controlplane.ErrExpired)
	}
}

// observe changes a pod as its nodelet's report would.
func (m *memoryStore) observe(namespace, name string, change func(*corev1.Pod)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := controlplane.Key{Resource: "pods", Namespace: namespace, Name: name}
	current := m.objects[key]
	if current == nil {
		panic("no pod " + name)
	}
	next := current.(*corev1.Pod).DeepCopy()
	change(next)
	m.setLocked(key, current, next)
}

func (m *memoryStore) put(key controlplane.Key, o controlplane.Object) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setLocked(key, m.objects[key], o)
}

func (m *memoryStore) drop(key controlplane.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setLocked(key, m.objects[key], nil)
}

func (m *memoryStore) failWith(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

// memoryLedger is a Scheduler with one node.
type memoryLedger struct {
	mu       sync.Mutex
	node     string
	capacity controlplane.Demand
	held     map[string]controlplane.Demand
	pending  map[string]controlplane.PlaceRequest
	wishes   map[string]controlplane.Demand
	undo     map[string]undo
	asked    map[string]controlplane.ResizeRequest // last
	stored   []string                              // uids whose wish was
	slots    map[controlplane.Workload][]string    // uids
	fail     error                                 // what Place answers
}

// undo is what a pod had before its last resize.
type undo struct {
	held   controlplane.Demand
	wish   controlplane.Demand
	wished bool
}

func newMemoryLedger(node string, capacity controlplane.Demand) *memoryLedger {
	return &memoryLedger{node: node, capacity: capacity, held: map[string]controlplane.Demand{},
		pending: map[string]controlplane.PlaceRequest{}, wishes: map[string]controlplane.Demand{}, slots: map[controlplane.Workload][]string{}, undo: map[string]undo{}, asked: map[string]controlplane.ResizeRequest{}}
}

func (l *memoryLedger) freeLocked(but string) controlplane.Demand {
	free := l.capacity
	for uid, d := range l.held {
		if uid != but {
			free.CPUMilli -= d.CPUMilli
			free.MemoryBytes -= d.MemoryBytes
		}
	}
	return free
}

func (l *memoryLedger) Place(_ context.Context, req controlplane.PlaceRequest) (controlplane.Placement, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return controlplane.Placement{}, l.fail
	}
	if uids := l.slots[req.Workload()]; len(uids) > 0 && req.Template != 0 {
		l.slots[req.Workload()] = uids[1:]
		l.held[uids[0]] = req.Demand
		return controlplane.Placement{Node: l.node, Slot: uids[0], Depth: controlplane.SlotContainer}, nil
	}
	if !req.Demand.Fits(l.freeLocked("")) {
		return controlplane.Placement{}, fmt.Errorf("0/1 nodes are available: %w", controlplane.ErrNoCapacity)
	}
	l.held[req.UID] = req.Demand
	return controlplane.Placement{Node: l.node}, nil
}

func (l *memoryLedger) Pend(req controlplane.PlaceRequest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending[req.UID] = req
}

func (l *memoryLedger) Release(uid string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, uid)
	delete(l.pending, uid)
	delete(l.wishes, uid)
}

func (l *memoryLedger) Resize(_ context.Context, uid string, q controlplane.ResizeRequest) (controlplane.ResizeAnswer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := q.Demand
	l.asked[uid] = q
	wish, wished := l.wishes[uid]
	l.undo[uid] = undo{held: l.held[uid], wish: wish, wished: wished}
	delete(l.wishes, uid)
	switch {
	case !d.Fits(l.capacity):
		return controlplane.ResizeAnswer{Verdict: controlplane.ResizeInfeasible, Message: "too large"}, nil
	case !d.Fits(l.freeLocked(uid)):
		l.wishes[uid] = d
		return controlplane.ResizeAnswer{Verdict: controlplane.ResizeDeferred, Message: "no room"}, nil
	}
	l.held[uid] = d
	return controlplane.ResizeAnswer{Verdict: controlplane.ResizeAdmitted}, nil
}

func (l *memoryLedger) Stored(uid string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stored = append(l.stored, uid)
}

func (l *memoryLedger) Revert(uid string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before, ok := l.undo[uid]
	if !ok {
		return
	}
	delete(l.undo, uid)
	delete(l.wishes, uid)
	l.held[uid] = before.held
	if before.wished {
		l.wishes[uid] = before.wish
	}
}

// lastAsked is the pod's last resize, and how many of its wishes were stored.
func (l *memoryLedger) lastAsked(uid string) (q controlplane.ResizeRequest, stored int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.stored {
		if s == uid {
			stored++
		}
	}
	return l.asked[uid], stored
}

func (l *memoryLedger) holds(uid string) controlplane.Demand {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[uid]
}

func (l *memoryLedger) isPending(uid string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.pending[uid]
	return ok
}

func (l *memoryLedger) failWith(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}
