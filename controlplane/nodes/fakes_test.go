package nodes

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/controlplane"
)

// bell rings whenever one of the fakes has changed, so that tests wait for what they expect.
type bell struct {
	mu   sync.Mutex
	rung chan struct{}
}

func newBell() *bell { return &bell{rung: make(chan struct{})} }

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.rung)
	b.rung = make(chan struct{})
}

// patience is how long a test waits for what can't take long.
const patience = time.Minute

func (b *bell) until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	timeout := time.After(patience)
	for {
		b.mu.Lock()
		rung := b.rung
		b.mu.Unlock()
		if cond() {
			return
		}
		select {
		case <-rung:
		case <-timeout:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// fakeStore keeps objects and their history.
type fakeStore struct {
	*bell

	mu      sync.Mutex // guards what follows
	version uint64
	objects map[controlplane.Key]controlplane.Object
	history []controlplane.Event
	subs    map[*fakeSub]bool
	durable int   // commits of anything but events
	refuse  error // of commits
}

type fakeSub struct {
	resource string
	events   chan controlplane.Event
	err      error
}

func newFakeStore(b *bell) *fakeStore {
	return &fakeStore{bell: b, objects: map[controlplane.Key]controlplane.Object{}, subs: map[*fakeSub]bool{}}
}

func (s *fakeStore) Get(k controlplane.Key) (controlplane.Object, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[k]
	return o, ok
}

func (s *fakeStore) Items(resource, namespace string) (controlplane.Items, uint64) {
	objects, version := s.List(resource, namespace)
	return controlplane.ItemsOf(resource, objects), version
}

func (s *fakeStore) List(resource, _ string) ([]controlplane.Object, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []controlplane.Object
	for k, o := range s.objects {
		if k.Resource == resource {
			out = append(out, o)
		}
	}
	return out, s.version
}

func (s *fakeStore) Commit(ctx context.Context, m controlplane.Mutation) (controlplane.Object, error) {
	s.mu.Lock()
	refuse := s.refuse
	if m.Key.Resource != "events" {
		s.durable++
	}
	s.mu.Unlock()
	if refuse != nil {
		return nil, refuse
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.change(m.Key, m.Change)
}

func (s *fakeStore) Observe(k controlplane.Key, change func(controlplane.Object) controlplane.Object) (controlplane.Object, error) {
	return s.change(k, func(o controlplane.Object) (controlplane.Object, error) {
		if o == nil {
			return nil, controlplane.ErrNotFound
		}
		return change(o), nil
	})
}

// change gives up its lock while it asks: the hub takes its own in what it asks.
func (s *fakeStore) change(k controlplane.Key, change func(controlplane.Object) (controlplane.Object, error)) (controlplane.Object, error) {
	for {
		s.mu.Lock()
		current, version := s.objects[k], s.version
		s.mu.Unlock()
		next, err := change(current)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k, err)
		}
		if next == current {
			return current, nil
		}
		s.mu.Lock()
		if s.version == version {
			s.putLocked(k, current, next)
			s.mu.Unlock()
			s.ring()
			return next, nil
		}
		s.mu.Unlock()
	}
}

func (s *fakeStore) putLocked(k controlplane.Key, current, next controlplane.Object) {
	s.version++
	ev := controlplane.Event{Type: controlplane.Modified, Key: k, Version: s.version, Object: next, Previous: current}
	switch {
	case next == nil:
		ev.Type, ev.Object = controlplane.Deleted, current
		delete(s.objects, k)
	case current == nil:
		ev.Type = controlplane.Added
	}
	if next != nil {
		next.SetResourceVersion(fmt.Sprint(s.version))
		s.objects[k] = next
	}
	s.history = append(s.history, ev)
	for sub := range s.subs {
		if sub.resource == k.Resource {
			sub.events <- ev
		}
	}
}

func (s *fakeStore) Watch(resource, _ string, after uint64) (*controlplane.Subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := &fakeSub{resource: resource, events: make(chan controlplane.Event, 1<<16)}
	for _, ev := range s.history {
		if ev.Version > after && ev.Key.Resource == resource {
			sub.events <- ev
		}
	}
	s.subs[sub] = true
	return &controlplane.Subscription{
		Events: sub.events,
		Stop: func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.endLocked(sub, nil)
		},
		Err: func() error {
			s.mu.Lock()
			defer s.mu.Unlock()
			return sub.err
		},
	}, nil
}

func (s *fakeStore) endLocked(sub *fakeSub, err error) {
	if s.subs[sub] {
		delete(s.subs, sub)
		sub.err = err
		close(sub.events)
	}
}

// expire ends all watches, and changes objects before anybody watches again.
func (s *fakeStore) expire(meanwhile func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	meanwhile()
	for sub := range s.subs {
		s.endLocked(sub, controlplane.ErrExpired)
	}
}

// put stores an object as it is.
func (s *fakeStore) put(o controlplane.Object) {
	k := keyOf(o)
	s.mu.Lock()
	s.putLocked(k, s.objects[k], o)
	s.mu.Unlock()
	s.ring()
}

func (s *fakeStore) remove(o controlplane.Object) {
	k := keyOf(o)
	s.mu.Lock()
	s.putLocked(k, s.objects[k], nil)
	s.mu.Unlock()
	s.ring()
}

func keyOf(o controlplane.Object) controlplane.Key {
	resource := strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", o), "*v1.")) + "s"
	return controlplane.Key{Resource: resource, Namespace: o.GetNamespace(), Name: o.GetName()}
}

// pod answers a stored pod, nil if there is none.
func (s *fakeStore) pod(name string) *corev1.Pod {
	if o, ok := s.Get(podKey("default", name)); ok {
		return o.(*corev1.Pod)
	}
	return nil
}

// edit changes a copy of a stored pod.
func (s *fakeStore) edit(name string, change func(*corev1.Pod)) *corev1.Pod {
	next := s.pod(name).DeepCopy()
	change(next)
	s.put(next)
	return next
}

// ready answers a node's Ready condition.
func (s *fakeStore) ready(node string) corev1.ConditionStatus {
	if o, ok := s.Get(nodeKey(node)); ok {
		for _, c := range o.(*corev1.Node).Status.Conditions {
			if c.Type == corev1.NodeReady {
				return c.Status
			}
		}
	}
	return ""
}

// fakeLedger records each segment once.
type fakeLedger struct {
	*bell
	before func([]usagev1.Segment) error // runs in Record before anything is kept

	mu       sync.Mutex // guards what follows
	segments map[usagev1.ID]usagev1.Segment
	open     map[string][]usagev1.Segment
	calls    int
}

func newFakeLedger(b *bell) *fakeLedger {
	return &fakeLedger{bell: b, segments: map[usagev1.ID]usagev1.Segment{}, open: map[string][]usagev1.Segment{},
		before: func([]usagev1.Segment) error { return nil }}
}

func (l *fakeLedger) Record(_ context.Context, in []usagev1.Segment) error {
	defer l.ring()
	l.mu.Lock()
	l.calls++
	before := l.before
	l.mu.Unlock()
	if err := before(in); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range in {
		if _, ok := l.segments[s.ID]; !ok {
			l.segments[s.ID] = s
		}
	}
	return nil
}

// intercept sets what Record does first.
func (l *fakeLedger) intercept(f func([]usagev1.Segment) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.before = f
}

func (l *fakeLedger) SetOpen(_ context.Context, node string, in []usagev1.Segment) error {
	defer l.ring()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[node] = in
	return nil
}

func (l *fakeLedger) ids() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for id := range l.segments {
		out = append(out, id.String())
	}
	slices.Sort(out)
	return out
}

// fakeScheduler remembers what it was told.
type fakeScheduler struct {
	*bell
	mu        sync.Mutex // guards what follows
	nodes     map[string]controlplane.Node
	actuated  map[string]controlplane.Demand
	boosts    map[string]boosted
	refuses   bool // boosts
	pools     map[string]pooled
	onPool    func(string, *controlplane.PoolReport, bool)
	announced func() // called with the lock, when a node is
}

// boosted is what is known of a pod's boost.
type boosted struct{ ask, want, held, granted int64 }

func (s *fakeScheduler) Boost(uid string, ask, want, held int64) (int64, bool) {
	s.mu.Lock()
	b := s.boosts[uid]
	b = boosted{ask, want, held, min(b.granted, want)}
	if !s.refuses {
		b.granted = want
	}
	s.putLocked(uid, b)
	s.mu.Unlock()
	s.ring()
	return b.granted, true
}

func (s *fakeScheduler) putLocked(uid string, b boosted) {
	if s.boosts == nil {
		s.boosts = map[string]boosted{}
	}
	s.boosts[uid] = b
}

func (s *fakeScheduler) BoostOf(uid string) (ask, granted int64, decided bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.boosts[uid]
	return b.ask, b.granted, ok
}

func (s *fakeScheduler) boost(uid string, b boosted) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putLocked(uid, b)
}

func (s *fakeScheduler) boostOf(uid string) boosted {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.boosts[uid]
}

func (s *fakeScheduler) refuse(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses = yes
}

// pooled is what was told last of a node's pool.
type pooled struct {
	*controlplane.PoolReport
	connected bool
}

func (s *fakeScheduler) Pool(node string, r *controlplane.PoolReport, connected bool) {
	s.mu.Lock()
	if s.pools == nil {
		s.pools = map[string]pooled{}
	}
	s.pools[node] = pooled{r, connected}
	s.mu.Unlock()
	if s.onPool != nil {
		s.onPool(node, r, connected)
	}
	s.ring()
}

func (s *fakeScheduler) pool(node string) pooled {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pools[node]
}

func (s *fakeScheduler) SetNode(n controlplane.Node) {
	s.mu.Lock()
	s.nodes[n.Name] = n
	if s.announced != nil {
		s.announced()
	}
	s.mu.Unlock()
	s.ring()
}

func (s *fakeScheduler) RemoveNode(name string) {
	s.mu.Lock()
	delete(s.nodes, name)
	s.mu.Unlock()
	s.ring()
}

func (s *fakeScheduler) Actuated(uid string, d controlplane.Demand) {
	s.mu.Lock()
	s.actuated[uid] = d
	s.mu.Unlock()
	s.ring()
}

func (s *fakeScheduler) known() map[string]controlplane.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.nodes)
}

// logbook is what was logged.
type logbook struct {
	*bell
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	n, err := l.b.Write(p)
	l.mu.Unlock()
	l.ring()
	return n, err
}

func (l *logbook) has(parts ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) }) {
			return true
		}
	}
	return false
}
