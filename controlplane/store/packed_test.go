package store

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/controlplane"
)

// packNothing leaves the packing to the test.
func packNothing(c *Config) { c.PackAfter = time.Hour }

// packAll packs whatever is there, as if it had been left alone for long enough.
func packAll(s *Store) {
	s.mark()
	s.mark()
	for s.packSome() { //nolint:revive // until nothing is left
	}
}

func isPacked(t *testing.T, s *Store, key controlplane.Key) bool {
	t.Helper()
	s.mu.RLock()
	defer s.mu.RUnlock()
	r := s.tables[key.Resource].current(key)
	if r == nil {
		t.Fatalf("%s isn't there", key)
	}
	return r.object == nil
}

func keyOf(o controlplane.Object) controlplane.Key {
	resource := "pods"
	if _, ok := o.(*corev1.ConfigMap); ok {
		resource = "configmaps"
	}
	return controlplane.Key{Resource: resource, Namespace: o.GetNamespace(), Name: o.GetName()}
}

// variedPod is one of many pods that differ in what they have at all.
func variedPod(random *rand.Rand, i int) *corev1.Pod {
	pod := runningPod(i)
	if random.IntN(3) == 0 {
		pod.Status = corev1.PodStatus{Phase: corev1.PodPending}
	}
	if random.IntN(3) == 0 {
		pod.Labels, pod.Annotations = nil, map[string]string{}
	}
	if random.IntN(3) == 0 {
		pod.Spec.Containers = nil
	}
	if random.IntN(3) == 0 {
		pod.Annotations = map[string]string{"large": strings.Repeat(fmt.Sprint(random.Int()), random.IntN(6000))}
	}
	if random.IntN(3) == 0 {
		pod.Spec.Containers = slices.Repeat(pod.Spec.Containers, random.IntN(5))
	}
	if random.IntN(3) == 0 {
		at, grace := metav1.NewTime(time.Unix(random.Int64N(1<<31), 0)), random.Int64N(100)
		pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds, pod.Finalizers = &at, &grace, []string{"a/b"}
	}
	return pod
}

// TestPackedIsEqual compares objects of many kinds with what they are after they were packed.
func TestPackedIsEqual(t *testing.T) {
	s, _ := newGatedStore(t, packNothing)
	random := rand.New(rand.NewPCG(1, 2))
	var want []controlplane.Object
	for i := range 300 {
		pod := variedPod(random, i)
		want = append(want, commit(t, s, keyOf(pod), set(pod)))
	}
	for i := range 20 {
		m := configMap(fmt.Sprint(i), strings.Repeat("x", i*1000))
		want = append(want, commit(t, s, keyOf(m), set(m)))
	}
	for i, o := range want {
		want[i] = o.DeepCopyObject().(controlplane.Object)
	}
	packAll(s)
	for _, o := range want {
		key := keyOf(o)
		if !isPacked(t, s, key) {
			t.Fatalf("%s isn't packed", key)
		}
		got, _ := s.Get(key)
		if !equality.Semantic.DeepEqual(got, o) {
			t.Errorf("%s was changed by packing:\n%v\nwas\n%v", key, got, o)
		}
	}
	items, _ := s.Items("pods", "")
	for i := range items.Len() {
		data, err := items.Protobuf(i)
		if err != nil {
			t.Fatal(err)
		}
		var pod corev1.Pod
		if err := pod.Unmarshal(data); err != nil || !equality.Semantic.DeepEqual(&pod, items.Object(i)) {
			t.Errorf("%s is another in protobuf: %v", items.Key(i), err)
		}
	}
	list, _ := s.List("pods", "")
	if len(list) != 300 {
		t.Fatalf("%d pods", len(list))
	}
	for _, o := range list {
		if got, _ := s.Get(keyOf(o)); !equality.Semantic.DeepEqual(got, o) {
			t.Errorf("%s is another in a list", o.GetName())
		}
	}
}

func TestPackedObjectsAreSmall(t *testing.T) {
	s, _ := newGatedStore(t, packNothing)
	const pods = 400
	for i := range pods {
		pod := runningPod(i)
		commit(t, s, keyOf(pod), set(pod))
	}
	packAll(s)
	plain, size := 0, 0
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, r := range s.tables["pods"].list("") {
		size += len(r.packed.data)
	}
	for i := range pods {
		plain += runningPod(i).Size()
	}
	t.Logf("%d bytes encoded, %d packed", plain/pods, size/pods)
	if size*3 > plain {
		t.Error("little is saved")
	}
}

// TestWatchResumesOverPackedObjects compares the events of a watch from before and after the objects were packed.
func TestWatchResumesOverPackedObjects(t *testing.T) {
	s, _ := newGatedStore(t, packNothing)
	start := s.Version()
	for i := range 40 {
		put(t, s, fmt.Sprint(i%9), fmt.Sprint(i))
		if i%7 == 6 {
			commit(t, s, mapKey(fmt.Sprint(i%9)), remove)
		}
	}
	before := show(take(t, watch(t, s, "configmaps", start), 45))
	packAll(s)
	if after := show(take(t, watch(t, s, "configmaps", start), 45)); !slices.Equal(before, after) {
		t.Errorf("events:\n%s\nwere\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	w := &s.tables["configmaps"].window
	for i := range w.n {
		if c := w.at(i); c.is.object != nil || c.was != nil && c.was.object != nil {
			t.Fatalf("change %d isn't packed", i)
		}
	}
}

func TestPackedObjectsAreChanged(t *testing.T) {
	s, _ := newGatedStore(t, packNothing)
	put(t, s, "n", "1")
	packAll(s)
	commit(t, s, mapKey("n"), increment)
	packAll(s)
	if _, err := s.Observe(mapKey("n"), func(c controlplane.Object) controlplane.Object { next, _ := increment(c); return next }); err != nil {
		t.Fatal(err)
	}
	before := s.Version()
	packAll(s)
	commit(t, s, mapKey("n"), func(c controlplane.Object) (controlplane.Object, error) { return c, nil })
	if s.Version() != before {
		t.Error("answering the same object changed something")
	}
	gone := commit(t, s, mapKey("n"), remove)
	if got := gone.(*corev1.ConfigMap).Data["v"]; got != "3" {
		t.Errorf("counted to %s", got)
	}
}

// TestOnlyWhatIsLeftAloneIsPacked marks as the packer does, and changes one object in between.
func TestOnlyWhatIsLeftAloneIsPacked(t *testing.T) {
	s, _ := newGatedStore(t, packNothing)
	put(t, s, "idle", "1")
	put(t, s, "busy", "1")
	s.mark()
	put(t, s, "busy", "2")
	s.mark()
	for s.packSome() { //nolint:revive // until nothing is left
	}
	if !isPacked(t, s, mapKey("idle")) || isPacked(t, s, mapKey("busy")) {
		t.Errorf("idle packed %v, busy packed %v", isPacked(t, s, mapKey("idle")), isPacked(t, s, mapKey("busy")))
	}
}

// TestWhatLeavesTheWindowIsPacked needs no mark: the window is what is kept decoded at most.
func TestWhatLeavesTheWindowIsPacked(t *testing.T) {
	s, _ := newGatedStore(t, func(c *Config) { packNothing(c); c.Window = 10 })
	for i := range 30 {
		put(t, s, fmt.Sprint(i), "x")
	}
	for s.packSome() { //nolint:revive // until nothing is left
	}
	for i := range 30 {
		if got, want := isPacked(t, s, mapKey(fmt.Sprint(i))), i < 20; got != want {
			t.Errorf("%d packed: %v", i, got)
		}
	}
}

func TestWindowIsBoundedByBytes(t *testing.T) {
	s, _ := newGatedStore(t, func(c *Config) { c.WindowBytes = 100_000 })
	start := s.Version()
	for i := range 30 {
		put(t, s, fmt.Sprint(i), strings.Repeat("x", 10_000))
	}
	s.mu.RLock()
	w := s.tables["configmaps"].window
	s.mu.RUnlock()
	if w.n == 0 || w.n >= 10 || w.bytes > 100_000 || w.floor <= start {
		t.Errorf("%d changes of %d bytes, after %d", w.n, w.bytes, w.floor)
	}
	put(t, s, "huge", strings.Repeat("x", 200_000)) // alone is more than the window holds
	if sub := watch(t, s, "configmaps", s.Version()-1); len(take(t, sub, 1)) != 1 {
		t.Error("the last change isn't there")
	}
}

// TestWatchIsTheTruthWhilePacking changes, reads and watches objects that are packed all the time.
func TestWatchIsTheTruthWhilePacking(t *testing.T) {
	s, _ := newGatedStore(t, func(c *Config) { c.PackAfter = time.Millisecond; c.Window = 4096 })
	start := s.Version()
	var wg sync.WaitGroup
	for w := range 8 {
		random := rand.New(rand.NewPCG(uint64(w), 3))
		wg.Go(func() {
			for range 150 {
				name := fmt.Sprint(random.IntN(20))
				switch random.IntN(6) {
				case 0:
					commit(t, s, mapKey(name), remove)
				case 1:
					_, _ = s.Observe(mapKey(name), func(controlplane.Object) controlplane.Object { return configMap(name, fmt.Sprint(random.Int())) })
				case 2:
					if o, ok := s.Get(mapKey(name)); ok && o.GetName() != name {
						t.Errorf("%s is %s", name, o.GetName())
					}
				case 3:
					last := ""
					items, _ := s.Items("configmaps", "default")
					for i := range items.Len() {
						if n := items.Object(i).GetName(); n <= last || items.Key(i) != mapKey(n) {
							t.Errorf("%s after %s", n, last)
						} else {
							last = n
						}
					}
				default:
					commit(t, s, mapKey(name), set(configMap(name, fmt.Sprint(random.Int()))))
				}
				if random.IntN(8) == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	wg.Wait()
	want, end := s.List("configmaps", "")
	model := map[string]controlplane.Object{}
	sub := watch(t, s, "configmaps", start)
	for at := start; at < end; {
		e := take(t, sub, 1)[0]
		if was := model[e.Key.Name]; (e.Previous == nil) != (was == nil) || was != nil && !equality.Semantic.DeepEqual(e.Previous, was) {
			t.Fatalf("event %v: the previous object isn't the one before", show([]controlplane.Event{e}))
		}
		if model[e.Key.Name] = e.Object; e.Type == controlplane.Deleted {
			delete(model, e.Key.Name)
		}
		at = e.Version
	}
	if len(model) != len(want) {
		t.Errorf("%d objects from events, %d in the store", len(model), len(want))
	}
	for _, o := range want {
		if !equality.Semantic.DeepEqual(model[o.GetName()], o) {
			t.Errorf("%s differs", o.GetName())
		}
	}
}

// TestSiblingsGo keeps a sibling no longer than what is packed against it.
func TestSiblingsGo(t *testing.T) {
	f := newFamily()
	var packs []packed
	for i := range 10 {
		body, err := runningPod(templates * i).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		packs = append(packs, f.pack("a", formWhole, body))
		if got := packs[i].sibling != nil; got != (i+1 >= kinSize) {
			t.Errorf("object %d has a sibling: %v", i, got)
		}
		if got, err := packs[i].body(); err != nil || string(got) != string(body) {
			t.Errorf("object %d: %v", i, err)
		}
	}
	if packs[9].sibling != packs[5].sibling {
		t.Error("two siblings for one kin")
	}
	packs = nil
	clear(f.encoders)
	runtime.GC()
	if f.kins[kin{"a", formWhole}].sibling.Value() != nil {
		t.Error("nothing needs the sibling, and it is there")
	}
	for i := range maxKins + 1 {
		f.pack(fmt.Sprint(i), formWhole, []byte("x"))
	}
	if len(f.kins) > maxKins {
		t.Errorf("%d kins", len(f.kins))
	}
}
