package slots

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// fleet is a scheduler and a hub with one node.
type fleet struct {
	mu      sync.Mutex // guards what follows
	room    int        // slots that fit
	ledger  map[string]controlplane.PlaceRequest
	depths  map[string]controlplane.SlotDepth
	pushed  map[string]*corev1.Pod
	dropped []string
	onAdd   func(uid string) // while a slot is being added
}

func (f *fleet) AddSlot(_ context.Context, req controlplane.PlaceRequest) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.ledger) >= f.room {
		return "", controlplane.ErrNoCapacity
	}
	f.ledger[req.UID] = req
	if f.onAdd != nil {
		f.mu.Unlock()
		f.onAdd(req.UID)
		f.mu.Lock()
	}
	return "n1", nil
}

func (f *fleet) DeepenSlot(uid string, depth controlplane.SlotDepth) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.depths[uid] = depth
}

func (f *fleet) RemoveSlot(uid string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.ledger[uid]
	delete(f.ledger, uid)
	return ok
}

func (f *fleet) Room() (free, slots controlplane.Demand) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return controlplane.Demand{CPUMilli: 1e6, MemoryBytes: 1 << 40}, controlplane.Demand{}
}

func (f *fleet) PushSlot(pod *corev1.Pod, _ controlplane.SlotDepth) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pushed[string(pod.UID)] = pod
}

func (f *fleet) DropSlot(uid string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pushed[uid] != nil {
		delete(f.pushed, uid)
		f.dropped = append(f.dropped, uid)
	}
}

func (f *fleet) slots() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.pushed))
}

// shelf is a store of namespaces and policies.
type shelf struct {
	mu      sync.Mutex // guards what follows
	objects map[controlplane.Key]controlplane.Object
	events  chan controlplane.Event
	written int // statuses
}

func (s *shelf) Get(k controlplane.Key) (controlplane.Object, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[k]
	return o, ok
}

func (s *shelf) List(resource, _ string) (out []controlplane.Object, _ uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, o := range s.objects {
		if k.Resource == resource {
			out = append(out, o)
		}
	}
	return out, 1
}

func (s *shelf) Watch(string, string, uint64) (*controlplane.Subscription, error) {
	return &controlplane.Subscription{Events: s.events, Stop: func() {}, Err: func() error { return nil }}, nil
}

func (s *shelf) Observe(k controlplane.Key, change func(controlplane.Object) controlplane.Object) (controlplane.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[k]
	if !ok {
		return nil, controlplane.ErrNotFound
	}
	if s.objects[k] = change(o); s.objects[k] != o {
		s.written++
	}
	return s.objects[k], nil
}

// statuses is how many were written.
func (s *shelf) statuses() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written
}

func (s *shelf) set(kind controlplane.EventType, p *v1alpha1.SlotPolicy) {
	k := controlplane.Key{Resource: policiesResource, Namespace: p.Namespace, Name: p.Name}
	s.mu.Lock()
	if s.objects[k] = p; kind == controlplane.Deleted {
		delete(s.objects, k)
	}
	s.mu.Unlock()
	s.events <- controlplane.Event{Type: kind, Key: k, Object: p}
}

type bench struct {
	*Controller
	fleet *fleet
	store *shelf

	closed atomic.Bool // for pods of shop
}

// run runs a controller in a bubble of fake time.
func run(t *testing.T, room int, f func(*bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{
			fleet: &fleet{room: room, ledger: map[string]controlplane.PlaceRequest{}, depths: map[string]controlplane.SlotDepth{}, pushed: map[string]*corev1.Pod{}},
			store: &shelf{objects: map[controlplane.Key]controlplane.Object{}, events: make(chan controlplane.Event)},
		}
		b.store.objects[controlplane.Key{Resource: "namespaces", Name: "shop"}] = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}
		var err error
		b.Controller, err = New(Config{Store: b.store, Scheduler: b.fleet, Hub: b.fleet, Default: func(p *corev1.Pod) { p.Spec.RestartPolicy = corev1.RestartPolicyAlways },
			Closed: func(namespace string) bool { return namespace == "shop" && b.closed.Load() }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		f(b)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// seconds lets that many looks happen.
func (b *bench) seconds(n int) {
	time.Sleep(time.Duration(n) * time.Second) // fake
	synctest.Wait()
}

func fixed(n int32) *v1alpha1.SlotPolicy {
	p := policyFor("p", "", func(s *v1alpha1.SlotPolicySpec) {
		s.Min, s.Max = n, &n
		pod := podOf("", "cart")
		s.Template = &corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: pod.Spec}
	})
	p.UID, p.Generation = "policy", 1
	return p
}

// TestTemplateBringsSlots: a policy with a template has slots before any pod came, and without it none.
func TestTemplateBringsSlots(t *testing.T) {
	run(t, 10, func(b *bench) {
		b.store.set(controlplane.Added, fixed(3))
		b.seconds(2)
		uids := b.fleet.slots()
		if len(uids) != 3 {
			t.Fatalf("%d slots", len(uids))
		}
		pod := b.fleet.pushed[uids[0]]
		if string(pod.UID) != uids[0] || pod.Namespace != "shop" || pod.Spec.NodeName != "n1" || pod.Name == "" {
			t.Errorf("pushed %s/%s, uid %s, on %q", pod.Namespace, pod.Name, pod.UID, pod.Spec.NodeName)
		}
		real := podOf("shop", "cart")
		real.Spec.RestartPolicy = corev1.RestartPolicyAlways
		if got := b.fleet.ledger[uids[0]]; got.Workload() != keyOf(real) || got.Demand.CPUMilli != 100 || got.NodeName != "" {
			t.Errorf("asked for %+v", got)
		}
		b.Reported(uids[0], controlplane.SlotSandbox, "")
		b.Reported(uids[1], controlplane.SlotContainer, "")
		if b.fleet.depths[uids[0]] != controlplane.SlotSandbox || b.fleet.depths[uids[1]] != controlplane.SlotContainer {
			t.Errorf("the scheduler knows %v", b.fleet.depths)
		}
		b.seconds(6)
		o, _ := b.store.Get(controlplane.Key{Resource: policiesResource, Namespace: "shop", Name: "p"})
		if got, want := o.(*v1alpha1.SlotPolicy).Status.Slots, (v1alpha1.SlotCounts{Wanted: 3, Capacity: 1, Sandbox: 1, Container: 1}); got != want {
			t.Errorf("status %+v, want %+v", got, want)
		}

		// What is gone is made again; what failed, later.
		b.GivenUp(uids[0], "n1")
		b.fleet.RemoveSlot(uids[0])
		b.seconds(1)
		if n := len(b.fleet.slots()); n != 3 || !slices.Contains(b.fleet.dropped, uids[0]) {
			t.Errorf("%d slots, dropped %v", n, b.fleet.dropped)
		}
		b.Reported(uids[2], controlplane.SlotNone, "no such image")
		if b.fleet.RemoveSlot(uids[2]) {
			t.Error("a failed slot still holds room")
		}
		b.seconds(1)
		if b.core.slots[uids[2]] != nil || len(b.core.slots) != 2 {
			t.Errorf("%d slots right after a failure", len(b.core.slots))
		}

		b.store.set(controlplane.Deleted, fixed(3))
		b.seconds(2)
		if got := b.fleet.slots(); len(b.fleet.ledger) != 0 || len(b.core.slots) != 0 {
			t.Errorf("without the policy: %v, %v", got, b.fleet.ledger)
		}
	})
}

// TestTakenAndSpoiltSlots: one that a pod took isn't dropped, one that a pod spoilt is.
func TestTakenAndSpoiltSlots(t *testing.T) {
	run(t, 10, func(b *bench) {
		b.store.set(controlplane.Added, fixed(2))
		b.seconds(2)
		uids := b.fleet.slots()
		take := func(uid string) {
			b.fleet.mu.Lock()
			defer b.fleet.mu.Unlock()
			delete(b.fleet.ledger, uid) // it is the pod's
		}
		take(uids[0])
		pod := podOf("shop", "cart")
		pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
		b.Created(pod, keyOf(pod), controlplane.Placement{Node: "n1", Slot: uids[0], Depth: controlplane.SlotContainer})
		take(uids[1])
		b.Spoilt(uids[1])
		if !slices.Equal(b.fleet.dropped, uids[1:]) {
			t.Errorf("dropped %v", b.fleet.dropped)
		}
		b.seconds(1)
		if len(b.core.slots) != 2 || b.core.slots[uids[0]] != nil || b.core.slots[uids[1]] != nil {
			t.Errorf("the controller knows %v", b.core.slots)
		}
		// One that a pod takes while it is being added isn't pushed.
		b.fleet.onAdd = func(uid string) {
			take(uid)
			b.Created(pod, keyOf(pod), controlplane.Placement{Node: "n1", Slot: uid, Depth: controlplane.SlotCapacity})
			b.fleet.onAdd = nil
		}
		before := len(b.fleet.slots())
		b.GivenUp(b.fleet.slots()[0], "n1")
		b.seconds(1)
		for _, uid := range b.fleet.slots() {
			if b.core.slots[uid] == nil && uid != uids[0] {
				t.Errorf("%s was pushed, though a pod has it", uid)
			}
		}
		if len(b.fleet.slots()) > before {
			t.Errorf("%d slots on hosts", len(b.fleet.slots()))
		}
	})
}

func TestFullFleetAndClosedNamespace(t *testing.T) {
	run(t, 2, func(b *bench) {
		b.store.set(controlplane.Added, fixed(5))
		b.seconds(3)
		if n := len(b.fleet.slots()); n != 2 || len(b.core.slots) != 2 {
			t.Errorf("%d slots pushed, %d known, room is for 2", n, len(b.core.slots))
		}
		b.store.mu.Lock()
		key := controlplane.Key{Resource: "namespaces", Name: "shop"}
		b.store.objects[key] = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", DeletionTimestamp: &metav1.Time{Time: time.Now()}}}
		b.store.mu.Unlock()
		b.seconds(1)
		if n := len(b.fleet.slots()); n != 0 {
			t.Errorf("%d slots of a namespace that is being deleted", n)
		}
	})
}

// TestClosedForPods: a namespace whose pods would be refused gets no slots for as long.
func TestClosedForPods(t *testing.T) {
	run(t, 2, func(b *bench) {
		b.store.set(controlplane.Added, fixed(5))
		b.seconds(3)
		for _, c := range []struct {
			closed bool
			slots  int
		}{{true, 0}, {false, 2}} {
			b.closed.Store(c.closed)
			b.seconds(3)
			if n := len(b.fleet.slots()); n != c.slots {
				t.Errorf("closed %v: %d slots, want %d", c.closed, n, c.slots)
			}
		}
	})
}

// TestPoliciesAreListedAgain: a watch that fell behind begins anew.
func TestPoliciesAreListedAgain(t *testing.T) {
	run(t, 10, func(b *bench) {
		b.store.set(controlplane.Added, fixed(2))
		b.seconds(1)
		b.store.mu.Lock()
		old := b.store.events
		b.store.events = make(chan controlplane.Event)
		clear(b.store.objects)
		b.store.objects[controlplane.Key{Resource: "namespaces", Name: "shop"}] = &corev1.Namespace{}
		b.store.mu.Unlock()
		close(old)
		b.seconds(10)
		if n := len(b.fleet.slots()); n != 0 {
			t.Errorf("%d slots of a policy that is gone", n)
		}
	})
}

// TestSlotSaysNothingOfAPod: what a slot is made of is the template, not the pod that it was learned from.
func TestSlotSaysNothingOfAPod(t *testing.T) {
	pod := podOf("shop", "cart")
	pod.UID, pod.Spec.NodeName, pod.Spec.Hostname = "u", "n7", "mine"
	pod.OwnerReferences = []metav1.OwnerReference{{Name: "owner"}}
	pod.Annotations = map[string]string{"secret": "mine", v1alpha1.AnnotationQoS: v1alpha1.QoSBestEffort}
	pod.Status.PodIP = "192.0.2.1"
	got := slotPod(pod, "slot")
	if s := fmt.Sprint(got); strings.Contains(s, "mine") || strings.Contains(s, "n7") || strings.Contains(s, "192.0.2.1") || strings.Contains(s, "owner") {
		t.Errorf("the slot is %s", s)
	}
	if len(validation.IsDNS1123Subdomain(got.Name)) == 0 || len(got.Name) > 63 {
		t.Errorf("a pod could be called %q, too, or its host can't", got.Name)
	}
	if controlplane.PodTemplate(got) != controlplane.PodTemplate(pod) || pod.Spec.NodeName != "n7" {
		t.Error("the slot isn't of the pod's template, or the pod was changed")
	}
}

func TestConfig(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("a controller of nothing")
	}
}
