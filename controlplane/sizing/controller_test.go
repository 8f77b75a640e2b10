package sizing

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
	"swell.dev/swell/internal/histogram"
)

// shelf is a store, and the path that resizes take.
type shelf struct {
	mu      sync.Mutex // guards what follows
	objects map[controlplane.Key]controlplane.Object
	events  chan controlplane.Event // of policies
	usage   []*nodev1.PodUsage
	refuse  error    // of resizes
	told    []string // events of pods
	resizes int
}

func newShelf() *shelf {
	s := &shelf{objects: map[controlplane.Key]controlplane.Object{}, events: make(chan controlplane.Event, 10)}
	s.put("namespaces", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ns"}})
	return s
}

func keyIn(resource string, o controlplane.Object) controlplane.Key {
	return controlplane.Key{Resource: resource, Namespace: o.GetNamespace(), Name: o.GetName()}
}

func (s *shelf) put(resource string, o controlplane.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[keyIn(resource, o)] = o
}

func (s *shelf) Get(k controlplane.Key) (controlplane.Object, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[k]
	return o, ok
}

func (s *shelf) List(resource, namespace string) (out []controlplane.Object, _ uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, o := range s.objects {
		if k.Resource == resource && (namespace == "" || k.Namespace == namespace) {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b controlplane.Object) int { return strings.Compare(a.GetName(), b.GetName()) })
	return out, 1
}

func (s *shelf) Items(resource, namespace string) (controlplane.Items, uint64) {
	list, v := s.List(resource, namespace)
	return controlplane.ItemsOf(resource, list), v
}

func (s *shelf) Watch(string, string, uint64) (*controlplane.Subscription, error) {
	return &controlplane.Subscription{Events: s.events, Stop: func() {}, Err: func() error { return nil }}, nil
}

func (s *shelf) Observe(k controlplane.Key, f func(controlplane.Object) controlplane.Object) (controlplane.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[k]
	if !ok {
		return nil, controlplane.ErrNotFound
	}
	s.objects[k] = f(o)
	return s.objects[k], nil
}

func (s *shelf) Commit(_ context.Context, m controlplane.Mutation) (controlplane.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, err := m.Change(s.objects[m.Key])
	if err != nil {
		return nil, err
	}
	if next == nil {
		delete(s.objects, m.Key)
		return nil, nil
	}
	s.objects[m.Key] = next
	return next, nil
}

func (s *shelf) resize(_ context.Context, key controlplane.Key, uid string, f func(*corev1.Pod) error) (*corev1.Pod, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.objects[key].(*corev1.Pod)
	if !ok || string(old.UID) != uid {
		return nil, controlplane.ErrNotFound
	}
	next := old.DeepCopy()
	if err := f(next); err != nil {
		return nil, err
	}
	s.resizes++
	if s.refuse != nil {
		return nil, s.refuse
	}
	next.Generation++
	s.objects[key] = next
	return next, nil
}

func (s *shelf) record(_ context.Context, pod *corev1.Pod, kind, reason, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, fmt.Sprintf("%s %s %s: %s", pod.Name, kind, reason, message))
}

func (s *shelf) takeTold() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.told
	s.told = nil
	return out
}

func (s *shelf) pod(name string) *corev1.Pod {
	o, _ := s.Get(controlplane.Key{Resource: "pods", Namespace: "ns", Name: name})
	return o.(*corev1.Pod)
}

// set is a user's resize.
func (s *shelf) set(name, cpu, memory string) {
	next := s.pod(name).DeepCopy()
	next.Spec.Containers[0].Resources = resourcesOf(cpu, memory)
	next.Generation++
	s.put("pods", next)
}

func resourcesOf(cpu, memory string) corev1.ResourceRequirements {
	list := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	return corev1.ResourceRequirements{Requests: list, Limits: list.DeepCopy()}
}

func podOf(name, cpu, memory string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID("uid-" + name), Generation: 1, CreationTimestamp: metav1.Now(), Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "main", Resources: resourcesOf(cpu, memory)}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
}

func policyOf(name string, f func(*v1alpha1.AutosizeSpec)) *v1alpha1.Autosize {
	p := &v1alpha1.Autosize{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID("uid-" + name), Generation: 1}}
	p.Spec.Mode = v1alpha1.AutosizeAuto
	if f != nil {
		f(&p.Spec)
	}
	return p
}

// minuteOf is what a node tells of a minute.
func minuteOf(cores, memory float64, window time.Time) *nodev1.ContainerHistory {
	var counts histogram.Counts
	counts.Add(histogram.CPU.Of(cores), 600)
	h := &nodev1.ContainerHistory{Name: "main", UntilUnixMilli: time.Now().UnixMilli(), ObservedMillis: 60_000, Readings: 6, Cpu: counts.Wire()}
	if memory > 0 {
		h.Peaks = []*nodev1.MemoryPeak{{WindowEndUnix: window.Unix(), Is: uint32(histogram.Memory.Of(memory) + 1)}}
	}
	return h
}

type bench struct {
	*Controller
	t     *testing.T
	shelf *shelf
	stop  func()
}

// open runs a controller in a bubble of synctest.
func open(t *testing.T, s *shelf) *bench {
	t.Helper()
	c, err := New(Config{Store: s, Resize: s.resize, Record: s.record, Usage: func() []*nodev1.PodUsage { return s.usage }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	synctest.Wait()
	return &bench{Controller: c, t: t, shelf: s, stop: func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}}
}

// live lets minutes pass in which a pod of that name uses so much.
func (b *bench) live(minutes int, name string, cores, memory float64) {
	b.t.Helper()
	owner := controlplane.Owner{Namespace: "ns", Kind: "Pod", Name: name}
	for i := range minutes {
		time.Sleep(time.Minute) // in the bubble
		peak := 0.0
		if i == 0 {
			peak = memory
		}
		b.Told(owner, minuteOf(cores, peak, time.Now().Add(24*time.Hour)))
	}
	time.Sleep(15 * time.Second)
	synctest.Wait()
}

func (b *bench) size(name string) string {
	size := sizeOf(&b.shelf.pod(name).Spec.Containers[0].Resources)
	return fmt.Sprintf("%dm %dMi", size.cpu, size.memory/mib)
}

func TestGrowsAndExplains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.put("pods", podOf("web", "250m", "1Gi"))
		s.put("autosizes", policyOf("p", nil))
		b := open(t, s)
		defer b.stop()
		b.live(9, "web", 0.35, 300e6)
		if got := b.size("web"); got != "250m 1024Mi" {
			t.Errorf("resized after nine minutes to %s", got)
		}
		b.live(2, "web", 0.35, 0)
		if got := b.size("web"); got != "411m 1024Mi" {
			t.Errorf("size is %s", got)
		}
		if got, want := fmt.Sprint(s.takeTold()), "[web Normal Autosized: cpu 250m → 411m: p90 of 10m is 358m, margin 15 %]"; got != want {
			t.Errorf("told %s, want %s", got, want)
		}
		o, _ := s.Get(controlplane.Key{Resource: "autosizes", Namespace: "ns", Name: "p"})
		st := o.(*v1alpha1.Autosize).Status
		if st.Pods != 1 || st.WorkloadsInAll != 1 || st.Resizes != 1 || !strings.Contains(st.LastExplanation, "250m → 411m") ||
			len(st.Workloads) != 1 || st.Workloads[0].Containers[0].Target.Cpu().String() != "411m" || st.Message != "" {
			t.Errorf("status %+v", st)
		}
		if n := b.Stats(); n.CPUUp != 1 || n.CPUDown+n.MemoryUp+n.MemoryDown+n.RefusedResizes != 0 || n.Workloads != 1 || n.Samples != 66 {
			t.Errorf("stats %+v", n)
		}
	})
}

// TestCooldown: a pod isn't resized twice within one, nor soon after its user has resized it, nor by a control plane
// that starts anew.
func TestCooldown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.put("pods", podOf("web", "100m", "1Gi"))
		s.put("autosizes", policyOf("p", func(spec *v1alpha1.AutosizeSpec) { spec.CooldownSeconds = ptr(int32(1200)) }))
		b := open(t, s)
		b.live(19, "web", 2, 300e6)
		if got := b.size("web"); got != "100m 1024Mi" {
			t.Errorf("resized %s after it was created", got)
		}
		b.live(2, "web", 2, 0)
		if got := b.size("web"); got != "200m 1024Mi" {
			t.Errorf("size is %s, want a step", got)
		}
		b.live(10, "web", 2, 0)
		b.stop()
		b = open(t, s) // it reads when the last one was
		b.live(7, "web", 2, 0)
		if got := b.size("web"); got != "200m 1024Mi" {
			t.Errorf("size is %s within the cooldown", got)
		}
		b.live(4, "web", 2, 0)
		if got := b.size("web"); got != "400m 1024Mi" {
			t.Errorf("size is %s, want another step", got)
		}
		b.live(19, "web", 2, 0)
		s.set("web", "300m", "512Mi")
		b.live(19, "web", 2, 0)
		if got := b.size("web"); got != "300m 512Mi" {
			t.Errorf("a user's resize is undone: %s", got)
		}
		b.live(3, "web", 2, 0)
		if got := b.size("web"); got != "600m 512Mi" {
			t.Errorf("size is %s, want a step again", got)
		}
		b.stop()
	})
}

func ptr[T any](v T) *T { return &v }

// TestShrinks: with days of history what is too large shrinks in steps, memory not below what is in use.
func TestShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.put("pods", podOf("web", "8", "8Gi"))
		s.put("autosizes", policyOf("p", func(spec *v1alpha1.AutosizeSpec) {
			spec.Containers = []v1alpha1.AutosizeContainer{{Name: "*", Min: corev1.ResourceList{"cpu": resource.MustParse("300m")}}}
		}))
		s.usage = []*nodev1.PodUsage{{Uid: "uid-web", Containers: []*nodev1.ContainerUsage{{Name: "main", MemoryWorkingSetBytes: 1 << 30}}}}
		b := open(t, s)
		defer b.stop()
		b.live(12*60, "web", 0.1, 200e6)
		if got := b.size("web"); !strings.HasSuffix(got, " 8192Mi") {
			t.Errorf("memory shrinks within half a day: %s", got)
		}
		b.live(2*24*60, "web", 0.1, 200e6)
		if got := b.size("web"); got != "300m 1178Mi" { // 1.15 GiB are needed, whatever the peaks say
			t.Errorf("size is %s", got)
		}
		told := s.takeTold()
		if all := strings.Join(told, "\n"); !strings.Contains(all, ", min 300m") || !strings.Contains(all, "→ 1178Mi: p98 of the peaks of ") || !strings.Contains(all, ", more is in use now") || !strings.Contains(all, ", in steps") {
			t.Errorf("told %s", all)
		}
		if len(told) > 12 {
			t.Errorf("%d resizes: %q", len(told), told)
		}
	})
}

// TestRefused: a resize that is refused is told once, and tried again after a cooldown.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.put("pods", podOf("web", "250m", "1Gi"))
		s.put("autosizes", policyOf("p", nil))
		s.refuse = errors.New("no node could ever hold it")
		b := open(t, s)
		defer b.stop()
		b.live(20, "web", 0.35, 300e6)
		if got := s.takeTold(); len(got) != 1 || got[0] != "web Warning AutosizeRefused: main: cpu 250m → 411m: p90 of 10m is 358m, margin 15 %: no node could ever hold it" {
			t.Errorf("told %q", got)
		}
		if s.resizes < 2 || s.resizes > 4 {
			t.Errorf("tried %d times in 20 minutes", s.resizes)
		}
		o, _ := s.Get(controlplane.Key{Resource: "autosizes", Namespace: "ns", Name: "p"})
		if st := o.(*v1alpha1.Autosize).Status; st.Resizes != 0 {
			t.Errorf("status %+v", st)
		}
	})
}

// TestLeftAlone: what no policy selects, what another policy holds for, what is off, ends, waits, or would restart.
func TestLeftAlone(t *testing.T) {
	for name, c := range map[string]struct {
		spec func(*v1alpha1.AutosizeSpec)
		pod  func(*corev1.Pod)
	}{
		"another label": {func(s *v1alpha1.AutosizeSpec) {
			s.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}}
		}, nil},
		"another workload": {func(s *v1alpha1.AutosizeSpec) {
			s.Workload = &v1alpha1.WorkloadReference{Kind: "Deployment", Name: "web"}
		}, nil},
		"mode Off":     {func(s *v1alpha1.AutosizeSpec) { s.Mode = v1alpha1.AutosizeOff }, nil},
		"mode Initial": {func(s *v1alpha1.AutosizeSpec) { s.Mode = v1alpha1.AutosizeInitial }, nil},
		"the container is off": {func(s *v1alpha1.AutosizeSpec) {
			s.Containers = []v1alpha1.AutosizeContainer{{Name: "main", Mode: v1alpha1.AutosizeContainerOff}, {Name: "*"}}
		}, nil},
		"memory only": {func(s *v1alpha1.AutosizeSpec) {
			s.Containers = []v1alpha1.AutosizeContainer{{Name: "*", Resources: []corev1.ResourceName{corev1.ResourceMemory}}}
		}, nil},
		"it would restart": {nil, func(p *corev1.Pod) {
			p.Spec.Containers[0].ResizePolicy = []corev1.ContainerResizePolicy{{ResourceName: corev1.ResourceCPU, RestartPolicy: corev1.RestartContainer}}
		}},
		"it has ended":        {nil, func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }},
		"it is being deleted": {nil, func(p *corev1.Pod) { p.DeletionTimestamp = ptr(metav1.Now()) }},
		"it has no node":      {nil, func(p *corev1.Pod) { p.Spec.NodeName = "" }},
		"the same resize waits for room": {nil, func(p *corev1.Pod) {
			p.Annotations = map[string]string{v1alpha1.AnnotationAllocated: `{"main":{"limits":{"cpu":"250m","memory":"1Gi"},"requests":{"cpu":"250m","memory":"1Gi"}}}`}
			p.Spec.Containers[0].Resources = resourcesOf("411m", "1Gi")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShelf()
				p := podOf("web", "250m", "1Gi")
				if c.pod != nil {
					c.pod(p)
				}
				s.put("pods", p)
				s.put("autosizes", policyOf("p", c.spec))
				b := open(t, s)
				defer b.stop()
				b.live(15, "web", 0.35, 300e6)
				if s.resizes != 0 {
					t.Errorf("resized to %s: %q", b.size("web"), s.takeTold())
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // with AllowRestart it is resized; the first policy by name holds
		s := newShelf()
		p := podOf("web", "250m", "1Gi")
		p.Spec.Containers[0].ResizePolicy = []corev1.ContainerResizePolicy{{ResourceName: corev1.ResourceCPU, RestartPolicy: corev1.RestartContainer}}
		s.put("pods", p)
		s.put("autosizes", policyOf("z", func(s *v1alpha1.AutosizeSpec) { s.Mode = v1alpha1.AutosizeOff }))
		b := open(t, s)
		defer b.stop()
		first := policyOf("a", func(s *v1alpha1.AutosizeSpec) { s.AllowRestart = true })
		s.put("autosizes", first)
		s.events <- controlplane.Event{Type: controlplane.Added, Object: first}
		b.live(15, "web", 0.35, 300e6)
		if got := b.size("web"); got != "411m 1024Mi" {
			t.Errorf("size is %s", got)
		}
		s.events <- controlplane.Event{Type: controlplane.Deleted, Object: first}
		s.set("web", "100m", "1Gi")
		b.live(15, "web", 0.35, 0)
		if got := b.size("web"); got != "100m 1024Mi" {
			t.Errorf("size is %s by a policy that is gone", got)
		}
	})
}

// TestRestart: what was learned outlives a restart, but for what came since the last checkpoint; and what nobody
// asks for any more goes.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		b := open(t, s)
		b.live(25, "web", 0.35, 300e6)
		before := b.Recommendations("ns", "pod-web")
		checkpoints, _ := s.List(checkpointsResource, "")
		if len(before) != 1 || len(checkpoints) != 1 {
			t.Fatalf("%d recommendations, %d checkpoints", len(before), len(checkpoints))
		}
		// The other control plane was killed: it reads the last checkpoint, of five minutes ago.
		killed := open(t, s)
		after := killed.Recommendations("", "")
		if len(after) != 1 || after[0].Containers[0].Target.Cpu().Cmp(*before[0].Containers[0].Target.Cpu()) != 0 ||
			after[0].Containers[0].ObservedSeconds != 20*60 {
			t.Errorf("after the restart %+v", after)
		}
		killed.stop()
		b.stop() // which saves
		b = open(t, s)
		if again := b.Recommendations("ns", ""); len(again) != 1 || again[0].Containers[0].ObservedSeconds != 25*60 {
			t.Errorf("after a restart in order %+v", again)
		}
		// The namespace is deleted.
		s.mu.Lock()
		delete(s.objects, controlplane.Key{Resource: "namespaces", Name: "ns"})
		s.mu.Unlock()
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if checkpoints, _ = s.List(checkpointsResource, ""); len(checkpoints) != 0 || len(b.Recommendations("", "")) != 0 {
			t.Errorf("%d checkpoints are left", len(checkpoints))
		}
		b.stop()
	})
}

func TestInitial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.put("autosizes", policyOf("p", func(spec *v1alpha1.AutosizeSpec) { spec.Mode = v1alpha1.AutosizeInitial }))
		b := open(t, s)
		defer b.stop()
		shared := []corev1.Container{{Name: "main", Resources: resourcesOf("100m", "4Gi")}, {Name: "other", Resources: resourcesOf("100m", "4Gi")}}
		fresh := func() *corev1.Pod {
			p := podOf("web", "1", "1")
			p.Spec.Containers = shared
			return p
		}
		if p := fresh(); b.Initial(p) {
			t.Error("sized by a history of nothing")
		}
		b.live(11, "web", 1, 300e6)
		p := fresh()
		if !b.Initial(p) {
			t.Fatal("not sized")
		}
		if got := sizeOf(&p.Spec.Containers[0].Resources); got.cpu < 1150 || got.cpu > 1250 || got.memory < 300e6 || got.memory > 400e6 {
			t.Errorf("size is %+v", got)
		}
		if got := sizeOf(&p.Spec.Containers[1].Resources); got != (amounts{100, 4 << 30}) {
			t.Errorf("a container of which nothing is known is %+v", got)
		}
		if got := sizeOf(&shared[0].Resources); got != (amounts{100, 4 << 30}) {
			t.Errorf("another pod's container is %+v now", got)
		}
		if n, ok := noteOf(p); !ok || n.Sizes != sizesOf(p) {
			t.Errorf("note %+v", n)
		}
		elsewhere := fresh()
		elsewhere.Namespace = "other"
		if b.Initial(elsewhere) {
			t.Error("sized in a namespace without policies")
		}
		if n := testing.AllocsPerRun(100, func() { b.Initial(elsewhere) }); n != 0 {
			t.Errorf("%g allocations where there are no policies", n)
		}
	})
}

func TestRecommendations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.put("namespaces", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "other"}})
		for i, cpu := range []string{"100m", "300m"} {
			p := podOf(fmt.Sprint("web-", i), cpu, "1Gi")
			p.GenerateName = "web-"
			s.put("pods", p)
		}
		s.put("autosizes", policyOf("p", func(spec *v1alpha1.AutosizeSpec) {
			spec.Mode = v1alpha1.AutosizeOff
			spec.Containers = []v1alpha1.AutosizeContainer{{Name: "main", Max: corev1.ResourceList{"cpu": resource.MustParse("200m")}}}
		}))
		b := open(t, s)
		defer b.stop()
		b.live(11, "web", 0.35, 300e6)
		b.Told(controlplane.Owner{Namespace: "other", Kind: "Deployment", Name: "db"}, minuteOf(1, 1e9, time.Now()))
		if got := b.Recommendations("", ""); len(got) != 2 {
			t.Fatalf("%d recommendations", len(got))
		}
		got := b.Recommendations("ns", "")
		if len(got) != 1 || got[0].Name != "pod-web" || got[0].Pods != 2 || got[0].Autosize != "p (Off)" {
			t.Fatalf("%+v", got)
		}
		cur := got[0].Current[0]
		if cur.Size.Cpu().String() != "100m" || cur.Largest.Cpu().String() != "300m" {
			t.Errorf("now %+v", cur)
		}
		c := got[0].Containers[0]
		if c.Target.Cpu().String() != "200m" || c.Uncapped.Cpu().String() != "411m" || c.Samples != 66 || c.CPU.P90.String() != "358m" {
			t.Errorf("container %+v", c)
		}
		db := b.Recommendations("other", "deployment-db")
		if len(db) != 1 || db[0].Pods != 0 || db[0].Autosize != "" {
			t.Errorf("%+v", db)
		}
	})
}

// TestAtOnce: nodes tell, pods are created and people ask, all at the same time as pods are looked at and saved.
func TestAtOnce(t *testing.T) {
	s := newShelf()
	for i := range 5 {
		s.put("pods", podOf(fmt.Sprint("p", i), "250m", "1Gi"))
	}
	s.put("autosizes", policyOf("p", func(spec *v1alpha1.AutosizeSpec) {
		spec.HistorySeconds, spec.CooldownSeconds = ptr(int32(0)), ptr(int32(0))
	}))
	c, err := New(Config{Store: s, Resize: s.resize, Record: s.record, Usage: func() []*nodev1.PodUsage { return nil }, Interval: time.Millisecond, Checkpoint: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	var work sync.WaitGroup
	for w := range 4 {
		work.Go(func() {
			for i := range 200 {
				name := fmt.Sprint("p", (w+i)%5)
				c.Told(controlplane.Owner{Namespace: "ns", Kind: "Pod", Name: name}, minuteOf(0.5, 300e6, time.Now()))
				c.Initial(podOf(name, "100m", "1Gi"))
				if i%20 == 0 {
					c.Recommendations("", "")
					c.Stats()
				}
			}
		})
	}
	work.Wait()
	cancel()
	all.Wait()
	if n := c.Stats(); n.Samples != 4*200*6 || n.Workloads != 5 {
		t.Errorf("%+v", n)
	}
	if list, _ := s.List(checkpointsResource, ""); len(list) != 5 {
		t.Errorf("%d checkpoints", len(list))
	}
}

func TestWorkloadsAreBounded(t *testing.T) {
	c := newCore(24*time.Hour, 100)
	for i := range 1000 {
		if err := c.told(controlplane.Owner{Namespace: "ns", Kind: "Pod", Name: fmt.Sprint("p", i)}, minuteOfAt(epoch.Add(time.Duration(i)*time.Minute)), epoch.Add(time.Duration(i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.workloads) != 100 || len(c.dropped) != 900 {
		t.Errorf("%d workloads are kept, %d dropped", len(c.workloads), len(c.dropped))
	}
	newest := controlplane.Owner{Namespace: "ns", Kind: "Pod", Name: "p999"}
	if c.workloads[newest] == nil {
		t.Error("the newest isn't kept")
	}
	// Where all are heard of, a single pod is left out, and makes room for what isn't one.
	busy := newCore(24*time.Hour, 100)
	for i := range 150 {
		if err := busy.told(controlplane.Owner{Namespace: "ns", Kind: "Pod", Name: fmt.Sprint("p", i)}, minuteOfAt(epoch), epoch); err != nil {
			t.Fatal(err)
		}
	}
	if err := busy.told(controlplane.Owner{Namespace: "ns", Kind: "App", Name: "shop"}, minuteOfAt(epoch), epoch); err != nil {
		t.Fatal(err)
	}
	if len(busy.workloads) != 100 || busy.leftOut != 50 || len(busy.dropped) != 1 || busy.workloads[controlplane.Owner{Namespace: "ns", Kind: "App", Name: "shop"}] == nil {
		t.Errorf("%d workloads, %d left out, %d dropped", len(busy.workloads), busy.leftOut, len(busy.dropped))
	}
	for i := range 100 {
		h := minuteOfAt(epoch)
		h.Name = fmt.Sprint("c", i)
		if err := c.told(newest, h, epoch); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(c.workloads[newest].containers); n != maxContainers {
		t.Errorf("%d containers", n)
	}
	// Single pods that were there shortly go after an hour, the others when their histograms are empty.
	app := controlplane.Owner{Namespace: "ns", Kind: "App", Name: "shop"}
	if err := c.told(app, minuteOfAt(epoch.Add(1000*time.Minute)), epoch.Add(1000*time.Minute)); err != nil {
		t.Fatal(err)
	}
	here := func(string) bool { return true }
	c.expire(epoch.Add(1000*time.Minute+2*time.Hour), here)
	if len(c.workloads) != 1 || c.workloads[app] == nil {
		t.Errorf("left: %v", slices.Collect(maps.Keys(c.workloads)))
	}
	c.expire(epoch.Add(1000*time.Minute+9*24*time.Hour), here)
	if len(c.workloads) != 0 {
		t.Errorf("left: %v", slices.Collect(maps.Keys(c.workloads)))
	}
}

func minuteOfAt(at time.Time) *nodev1.ContainerHistory {
	var counts histogram.Counts
	counts.Add(50, 600)
	return &nodev1.ContainerHistory{Name: "main", UntilUnixMilli: at.UnixMilli(), ObservedMillis: 60_000, Readings: 6, Cpu: counts.Wire(),
		Peaks: []*nodev1.MemoryPeak{{WindowEndUnix: at.Unix(), Is: 40}}}
}

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range []controlplane.Owner{
		{Kind: "Deployment", Name: "web"}, {Kind: "App", Name: "My_App"}, {Kind: "App", Name: "my-app"}, {Kind: "App", Name: "my.app"},
		{Kind: "App", Name: "My-App"}, {Kind: "App", Name: "a..b"}, {Kind: "Pod", Name: strings.Repeat("x", 253)}, {Kind: "Ünicode", Name: "web"},
	} {
		name := nameOf(o)
		if seen[name] || len(name) > 253 || strings.ToLower(name) != name {
			t.Errorf("%+v is called %q", o, name)
		}
		seen[name] = true
	}
	if nameOf(controlplane.Owner{Kind: "Deployment", Name: "web"}) != "deployment-web" {
		t.Error("a plain name isn't")
	}
}

func TestCheckpointsThatCannotBeRead(t *testing.T) {
	c := newCore(24*time.Hour, 10)
	for name, f := range map[string]func(*v1alpha1.UsageCheckpoint){
		"no kind":      func(p *v1alpha1.UsageCheckpoint) { p.Workload.Kind = "" },
		"another name": func(p *v1alpha1.UsageCheckpoint) { p.Workload.Name = "db" },
		"buckets":      func(p *v1alpha1.UsageCheckpoint) { p.Containers[0].CPU.Low = 176 },
	} {
		source := newCore(24*time.Hour, 10)
		owner := controlplane.Owner{Namespace: "ns", Kind: "App", Name: "web"}
		if err := source.told(owner, minuteOfAt(epoch), epoch); err != nil {
			t.Fatal(err)
		}
		p := source.workloads[owner].checkpoint(epoch)
		f(p)
		if err := c.restore(p, epoch); err == nil {
			t.Errorf("%s: restored", name)
		}
	}
}

func BenchmarkTold(b *testing.B) {
	c := newCore(24*time.Hour, 20_000)
	owners := make([]controlplane.Owner, 1000)
	for i := range owners {
		owners[i] = controlplane.Owner{Namespace: "ns", Kind: "Deployment", Name: fmt.Sprint("web-", i)}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		at := epoch.Add(time.Duration(i/1000) * time.Minute)
		if err := c.told(owners[i%1000], minuteOfAt(at), at); err != nil {
			b.Fatal(err)
		}
	}
}
