package quota

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// world is a store and a counter to which anything may happen, in any order that it may happen in.
type world struct {
	t       *testing.T
	random  *rand.Rand
	store   *memory
	counter *Counter
	told    int      // of the store's events
	writes  []*write // that are under way
	names   int      // that there have been
	removed []func() // words of removals that are late
	busy    map[string]bool
}

// write is a create or a resize between its charge and its settlement.
type write struct {
	pod    *corev1.Pod
	resize bool
	settle func(controlplane.Object)
	done   bool                // the commit was made …
	stored controlplane.Object // … with this
}

func (w *world) pods() []controlplane.Key {
	var out []controlplane.Key
	for key := range w.store.all(podsResource) {
		out = append(out, key)
	}
	slices.SortFunc(out, func(a, b controlplane.Key) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (w *world) anyPod() (controlplane.Key, *corev1.Pod) {
	keys := w.pods()
	if len(keys) == 0 {
		return controlplane.Key{}, nil
	}
	key := keys[w.random.IntN(len(keys))]
	return key, w.store.all(podsResource)[key].(*corev1.Pod).DeepCopy()
}

func (w *world) charge(p *corev1.Pod, resize bool) {
	settle, err := w.counter.Charge(podKey(p.Name), p)
	if err != nil {
		return
	}
	w.writes = append(w.writes, &write{pod: p, resize: resize, settle: settle})
	w.busy[p.Name] = true
}

// step does one thing.
func (w *world) step() {
	switch n := w.random.IntN(100); {
	case n < 25: // a create, some of a name that there was before
		name := fmt.Sprint("p", w.random.IntN(w.names+1))
		if name == fmt.Sprint("p", w.names) {
			w.names++
		}
		if _, there := w.store.all(podsResource)[podKey(name)]; there || w.busy[name] {
			return
		}
		p := pod(name, 1+w.random.Int64N(400), 1+w.random.Int64N(100))
		if w.random.IntN(3) == 0 {
			p.Annotations = map[string]string{v1alpha1.AnnotationQoS: v1alpha1.QoSBestEffort}
		}
		if w.random.IntN(3) == 0 {
			p.Spec.ActiveDeadlineSeconds = ptr.To(int64(1))
		}
		w.charge(p, false)
	case n < 40: // a resize, up or down; or it gets a deadline
		_, p := w.anyPod()
		if p == nil || w.busy[p.Name] || p.Status.Phase != "" {
			return
		}
		if w.random.IntN(5) == 0 {
			p.Spec.ActiveDeadlineSeconds = ptr.To(int64(1))
		} else {
			p.Spec.Containers[0].Resources = sizes(1+w.random.Int64N(400), 1+w.random.Int64N(100))
		}
		w.charge(p, true)
	case n < 65: // a commit is made or fails, or is told
		if len(w.writes) == 0 {
			return
		}
		i := w.random.IntN(len(w.writes))
		w.finish(i, w.random.IntN(4) > 0)
	case n < 72: // a pod is removed, which is told at once or by its event alone
		key, p := w.anyPod()
		if p == nil {
			return
		}
		last := w.store.put(key, nil)
		switch w.random.IntN(3) {
		case 0:
			w.counter.Removed(key, last)
		case 1:
			counter := w.counter
			w.removed = append(w.removed, func() { counter.Removed(key, last) })
		}
	case n < 79: // a pod ends
		if key, p := w.anyPod(); p != nil {
			p.Status.Phase = corev1.PodFailed
			w.store.put(key, p)
		}
	case n < 86: // its node says what it has
		if key, p := w.anyPod(); p != nil {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", Resources: p.Spec.Containers[0].Resources.DeepCopy()}}
			w.store.put(key, p)
		}
	case n < 93: // events come
		w.tell(1 + w.random.IntN(8))
	case n < 96 && len(w.removed) > 0:
		w.removed[0]()
		w.removed = w.removed[1:]
	case n < 99: // the reader fell behind; it may see again what the list has told
		w.counter.relist(podsResource)
		if w.random.IntN(2) == 0 {
			w.told = len(w.store.log)
		}
	default: // the control plane starts anew; what was under way is lost, or was made
		for len(w.writes) > 0 {
			w.finish(0, false)
		}
		w.counter = counterOf(w.t, w.store)
		w.told = len(w.store.log)
	}
}

// finish takes a write one step further. What is computed from a state that is gone can't be stored.
func (w *world) finish(i int, commit bool) {
	wr := w.writes[i]
	key := podKey(wr.pod.Name)
	if !wr.done && commit {
		current, there := w.store.all(podsResource)[key]
		if wr.resize == there && (!there || current.GetResourceVersion() == wr.pod.ResourceVersion) {
			wr.done, wr.stored = true, w.store.put(key, wr.pod)
			if w.random.IntN(2) == 0 {
				return // the answer comes later
			}
		}
	}
	wr.settle(wr.stored)
	delete(w.busy, wr.pod.Name)
	w.writes = slices.Delete(w.writes, i, i+1)
}

func (w *world) tell(n int) {
	for ; n > 0 && w.told < len(w.store.log); n-- {
		if ev := w.store.log[w.told]; ev.Key.Resource == podsResource {
			w.counter.take(ev)
		}
		w.told++
	}
}

// recount adds up what a quota is about, the plain way.
func (w *world) recount(q *corev1.ResourceQuota) (cpu, limit, memory, pods, objects int64) {
	for _, o := range w.store.all(podsResource) {
		p := o.(*corev1.Pod)
		deadline, cheap := p.Spec.ActiveDeadlineSeconds != nil, p.Annotations != nil
		if slices.Contains(q.Spec.Scopes, corev1.ResourceQuotaScopeTerminating) && !deadline || slices.Contains(q.Spec.Scopes, corev1.ResourceQuotaScopeNotBestEffort) && cheap {
			continue
		}
		objects++
		if p.Status.Phase != "" {
			continue
		}
		pods++
		r := p.Spec.Containers[0].Resources
		c, l, m := r.Requests.Cpu().MilliValue(), r.Limits.Cpu().MilliValue(), r.Requests.Memory().Value()
		for _, s := range p.Status.ContainerStatuses {
			c, l, m = max(c, s.Resources.Requests.Cpu().MilliValue()), max(l, s.Resources.Limits.Cpu().MilliValue()), max(m, s.Resources.Requests.Memory().Value())
		}
		cpu, limit, memory = cpu+c, limit+l, memory+m
	}
	return cpu, limit, memory, pods, objects
}

// check compares every quota with a recount: never less is counted than is stored, and never more is stored than may
// be; and when all is told, just what is stored.
func (w *world) check(all bool) {
	for _, o := range w.store.all(quotasResource) {
		q := o.(*corev1.ResourceQuota)
		used := w.counter.usedOf("ns", q.Name)
		cpu, limit, memory, pods, objects := w.recount(q)
		for name, n := range map[corev1.ResourceName]int64{"cpu": cpu, "limits.cpu": limit, "memory": memory * 1000, "pods": pods * 1000, "count/pods": objects * 1000} {
			counted, hard := used[name], q.Spec.Hard[name]
			if counted.MilliValue() < n || all && counted.MilliValue() != n {
				w.t.Fatalf("quota %s counts %s of %s; %d thousandths are stored", q.Name, counted.String(), name, n)
			}
			if n > hard.MilliValue() {
				w.t.Fatalf("quota %s: %d thousandths of %s are stored, of at most %s", q.Name, n, name, hard.String())
			}
		}
	}
}

// TestCountsWhatIsStored does anything in any order, with events late and commits that fail.
func TestCountsWhatIsStored(t *testing.T) {
	for seed := range uint64(80) {
		w := &world{t: t, random: rand.New(rand.NewPCG(seed, 1)), store: newMemory(), busy: map[string]bool{}}
		w.store.put(quotaKey("all"), quotaOf(t, "all", "hard: {cpu: 2, limits.cpu: 4500m, memory: 500, pods: 10, count/pods: 14}"))
		w.store.put(quotaKey("some"), quotaOf(t, "some", "{hard: {cpu: 700m, limits.cpu: 3, memory: 300, pods: 5, count/pods: 9}, scopes: [Terminating, NotBestEffort]}"))
		w.counter = counterOf(t, w.store)
		for range 600 {
			w.step()
			w.check(false)
		}
		for len(w.writes) > 0 {
			w.finish(0, true)
		}
		w.tell(len(w.store.log))
		for _, late := range w.removed {
			late()
		}
		w.check(true)
		if n, stored := len(w.counter.tally("ns").objects[podsResource]), len(w.pods()); n != stored {
			t.Fatalf("seed %d: %d pods are remembered, %d are stored", seed, n, stored)
		}
	}
}
