package slots

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// trial is a core whose orders are obeyed at once, and whose slots are ready when their lead is over.
type trial struct {
	*core
	t       *testing.T
	now     time.Time
	lead    time.Duration
	free    controlplane.Demand
	made    int
	hits    int
	misses  int
	idle    float64 // slot-intervals
	serving map[string]time.Time
}

func newTrial(t *testing.T, change ...func(*limits)) *trial {
	l := limits{automatic: true, interval: time.Second, day: 24 * time.Hour, workloads: 100, each: 1000, share: 0.25}
	for _, c := range change {
		c(&l)
	}
	return &trial{
		core: newCore(l), t: t, now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), lead: 500 * time.Millisecond,
		free: controlplane.Demand{CPUMilli: 1e6, MemoryBytes: 1 << 40}, serving: map[string]time.Time{},
	}
}

func podOf(namespace, app string) *corev1.Pod {
	size := corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("64Mi")}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "p", Labels: map[string]string{"app": app}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: app, Resources: corev1.ResourceRequirements{Limits: size, Requests: size}}}},
	}
}

func keyOf(pod *corev1.Pod) controlplane.Workload {
	return controlplane.Workload{Namespace: pod.Namespace, Template: controlplane.PodTemplate(pod)}
}

// create has n pods come; each takes a slot if there is one.
func (y *trial) create(pod *corev1.Pod, n int) {
	for range n {
		var at controlplane.Placement
		if w := y.workloads[keyOf(pod)]; w != nil {
			for uid, s := range w.slots {
				if at.Slot == "" || s.depth > at.Depth || s.depth == at.Depth && uid < at.Slot {
					at = controlplane.Placement{Node: "n", Slot: uid, Depth: s.depth}
				}
			}
		}
		if at.Slot != "" {
			y.hits++
		} else {
			y.misses++
		}
		y.created(pod, keyOf(pod), at, y.now)
	}
}

// pass lets an interval pass.
func (y *trial) pass() {
	y.now = y.now.Add(y.interval)
	for uid, at := range y.serving {
		if !y.now.Before(at) {
			delete(y.serving, uid)
			if s := y.slots[uid]; s != nil {
				y.reported(uid, s.goal, "", at)
			}
		}
	}
	var held controlplane.Demand
	for _, s := range y.slots {
		held = held.Add(s.of.demand)
	}
	for _, o := range y.look(y.now, y.free.Add(held), nil) {
		for _, uid := range o.drop {
			y.drop(uid)
		}
		for range o.add {
			y.made++
			uid := fmt.Sprintf("slot-%06d", y.made)
			y.ask(o.of, uid, y.now)
			y.serving[uid] = y.now.Add(y.lead)
		}
	}
	y.idle += float64(len(y.slots))
}

func (y *trial) slotsOf(pod *corev1.Pod) int {
	if w := y.workloads[keyOf(pod)]; w != nil {
		return len(w.slots)
	}
	return 0
}

func (y *trial) policy(p *v1alpha1.SlotPolicy) *policy {
	y.t.Helper()
	read, err := y.policies.set(p)
	if err != nil {
		y.t.Fatal(err)
	}
	return read
}

func policyFor(name, app string, change func(*v1alpha1.SlotPolicySpec)) *v1alpha1.SlotPolicy {
	p := &v1alpha1.SlotPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	if app != "" {
		p.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}
	}
	change(&p.Spec)
	return p
}

// TestSteadyArrivalsHit: pods that come at random at a steady rate find slots, and few of these wait.
func TestSteadyArrivalsHit(t *testing.T) {
	y := newTrial(t)
	random := rand.New(rand.NewPCG(1, 2))
	cart := podOf("shop", "cart")
	const rate, warm, long = 20, 60, 600
	for i := range long {
		if i == warm {
			y.hits, y.misses, y.idle = 0, 0, 0
		}
		n := 0
		for range 10 * rate {
			if random.IntN(10) == 0 {
				n++
			}
		}
		y.create(cart, n)
		y.pass()
	}
	hit := float64(y.hits) / float64(y.hits+y.misses)
	idle := y.idle / (long - warm)
	t.Logf("%.3f hit, %.1f slots on average", hit, idle)
	if hit < 0.97 {
		t.Errorf("%.3f of all pods found a slot", hit)
	}
	if idle > 3*rate { // a lead and an interval take 1.5 s; what the noise needs comes on top
		t.Errorf("%.1f slots are there on average, of %d pods a second", idle, rate)
	}

	// When nobody comes any more, they go.
	for range 120 {
		y.pass()
	}
	if n := y.slotsOf(cart); n != 0 {
		t.Errorf("%d slots are left two minutes after the last pod", n)
	}
}

func TestOnePodIsNoWorkload(t *testing.T) {
	y := newTrial(t)
	y.create(podOf("shop", "job"), 1)
	for range 10 {
		y.pass()
		if len(y.slots) > 0 {
			t.Fatal("a single pod was expected again")
		}
	}
}

func TestPoliciesBound(t *testing.T) {
	cart := podOf("shop", "cart")
	three := int32(3)
	for _, c := range []struct {
		name    string
		change  func(*v1alpha1.SlotPolicySpec)
		rate    int
		min     int // slots in the end
		max     int
		without bool // policy-only
	}{
		{"none", nil, 10, 12, 60, false},
		{"none, and only policies count", nil, 10, 0, 0, true},
		{"any, where only policies count", func(*v1alpha1.SlotPolicySpec) {}, 10, 12, 60, true},
		{"off", func(s *v1alpha1.SlotPolicySpec) { s.Mode = v1alpha1.SlotModeOff; s.Min = 5 }, 10, 0, 0, false},
		{"a maximum", func(s *v1alpha1.SlotPolicySpec) { s.Max = &three }, 10, 3, 3, false},
		{"a minimum", func(s *v1alpha1.SlotPolicySpec) { s.Min = 100 }, 10, 100, 100, false},
		{"a fixed number without demand", func(s *v1alpha1.SlotPolicySpec) { s.Min = 3; s.Max = &three }, 0, 3, 3, false},
		{"a maximum of none", func(s *v1alpha1.SlotPolicySpec) { s.Max = new(int32) }, 10, 0, 0, false},
		{"dear slots", func(s *v1alpha1.SlotPolicySpec) { s.IdleCost, s.ColdStartCost = 100, 1 }, 10, 1, 11, false},
		{"a window that is open", func(s *v1alpha1.SlotPolicySpec) {
			s.Schedule = []v1alpha1.SlotWindow{{Days: []string{"Monday"}, From: "11:00", To: "13:00", Min: 80}}
		}, 10, 80, 80, false},
		{"a window that is closed", func(s *v1alpha1.SlotPolicySpec) {
			s.Schedule = []v1alpha1.SlotWindow{{Days: []string{"Tuesday"}, From: "11:00", To: "13:00", Min: 80}}
		}, 10, 12, 60, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			y := newTrial(t, func(l *limits) { l.automatic = !c.without })
			if c.change != nil {
				y.policy(policyFor("p", "cart", c.change))
			}
			y.create(cart, 2)
			for range 60 {
				y.create(cart, c.rate)
				y.pass()
			}
			if n := y.slotsOf(cart); n < c.min || n > c.max {
				t.Errorf("%d slots, want %d to %d", n, c.min, c.max)
			}
		})
	}
}

// TestMinimumGoesToTheSuccessor: after a new version was rolled out, the old template's slots go.
func TestMinimumGoesToTheSuccessor(t *testing.T) {
	y := newTrial(t)
	y.policy(policyFor("p", "", func(s *v1alpha1.SlotPolicySpec) { s.Min = 5 }))
	old, next := podOf("shop", "cart:v1"), podOf("shop", "cart:v2")
	y.create(old, 1)
	for range 1200 {
		y.pass()
	}
	if y.slotsOf(old) != 5 {
		t.Fatalf("%d slots after twenty quiet minutes", y.slotsOf(old))
	}
	y.create(next, 1)
	for range 30 {
		y.pass()
	}
	if y.slotsOf(old) != 0 || y.slotsOf(next) != 5 {
		t.Errorf("%d slots of the old version, %d of the new", y.slotsOf(old), y.slotsOf(next))
	}
}

func TestPolicyOrderAndTenants(t *testing.T) {
	y := newTrial(t)
	y.policy(policyFor("b", "", func(s *v1alpha1.SlotPolicySpec) { s.Min = 7 }))
	y.policy(policyFor("a", "cart", func(s *v1alpha1.SlotPolicySpec) { s.Min = 2 }))
	cart, other, foreign := podOf("shop", "cart"), podOf("shop", "other"), podOf("bank", "cart")
	for _, p := range []*corev1.Pod{cart, other, foreign} {
		y.create(p, 1)
	}
	y.pass()
	if y.slotsOf(cart) != 2 || y.slotsOf(other) != 7 || y.slotsOf(foreign) != 0 {
		t.Errorf("%d, %d, %d slots; want 2 (the first by name), 7, and none of another tenant's", y.slotsOf(cart), y.slotsOf(other), y.slotsOf(foreign))
	}
	y.policies.remove("shop", "a")
	y.pass()
	if y.slotsOf(cart) != 7 {
		t.Errorf("%d slots once the first policy is gone", y.slotsOf(cart))
	}
}

// TestShareOfRoom: all slots together hold no more than their share; minimums are cut last.
func TestShareOfRoom(t *testing.T) {
	y := newTrial(t)
	y.free = controlplane.Demand{CPUMilli: 4000, MemoryBytes: 1 << 40} // room for 10 slots of 100m
	y.policy(policyFor("p", "cart", func(s *v1alpha1.SlotPolicySpec) { s.Min = 4 }))
	cart, other := podOf("shop", "cart"), podOf("shop", "other")
	for range 30 {
		y.create(cart, 1)
		y.create(other, 50)
		y.pass()
		y.free.CPUMilli = 4000 - 100*int64(len(y.slots))
	}
	if len(y.slots) > 10 || len(y.slots) < 8 {
		t.Errorf("%d slots in a fleet with room for 40 pods", len(y.slots))
	}
	if y.slotsOf(cart) < 4 {
		t.Errorf("%d slots where the policy wants at least 4", y.slotsOf(cart))
	}
}

func TestTheLongestUnheardIsForgotten(t *testing.T) {
	y := newTrial(t, func(l *limits) { l.workloads = 3 })
	y.policy(policyFor("p", "", func(s *v1alpha1.SlotPolicySpec) { s.Min = 1 }))
	for i := range 4 {
		y.create(podOf("shop", fmt.Sprint(i)), 1)
		y.pass()
		if i == 2 {
			y.create(podOf("shop", "0"), 1)
			y.pass()
		}
	}
	if y.workloads[keyOf(podOf("shop", "1"))] != nil || len(y.workloads) != 3 {
		t.Errorf("%d workloads, and the one that came longest ago among them", len(y.workloads))
	}
	if got := y.takeLeavings(); len(got) != 1 || y.slots[got[0]] != nil {
		t.Errorf("its slots %v are to be dropped", got)
	}
}

func TestFailuresBackOff(t *testing.T) {
	y := newTrial(t)
	y.policy(policyFor("p", "cart", func(s *v1alpha1.SlotPolicySpec) { s.Min = 1 }))
	y.create(podOf("shop", "cart"), 1)
	asked := 0
	for range 60 {
		y.pass()
		for uid := range y.serving {
			asked++
			delete(y.serving, uid)
			if y.reported(uid, controlplane.SlotNone, "no such image", y.now) {
				t.Fatal("a failed slot is kept")
			}
		}
	}
	if asked < 4 || asked > 7 { // after 2, 4, 8, 16, 32 s
		t.Errorf("%d were asked for in a minute", asked)
	}
	if st := y.statuses()[controlplane.Key{Resource: policiesResource, Namespace: "shop", Name: "p"}]; st.Message != "no such image" || st.Workloads != 1 || st.Misses != 1 {
		t.Errorf("status %+v", st)
	}
}

func TestLeadIsMeasured(t *testing.T) {
	y := newTrial(t)
	y.lead = 8 * time.Second
	cart := podOf("shop", "cart")
	for range 200 {
		y.create(cart, 5)
		y.pass()
	}
	if w := y.workloads[keyOf(cart)]; w.pace.lead < 7*time.Second || w.pace.lead > 9*time.Second {
		t.Errorf("a slot is taken to need %s", w.pace.lead)
	}
	if n := y.slotsOf(cart); n < 40 || n > 90 { // five a second for nine seconds, and what noise takes
		t.Errorf("%d slots are there or on their way", n)
	}
}

func TestStats(t *testing.T) {
	y := newTrial(t)
	cart := podOf("shop", "cart")
	for range 60 {
		y.create(cart, 5)
		y.pass()
	}
	s := y.stats()
	total := int64(0)
	for _, h := range s.Hits {
		if h.Namespace != "shop" || h.Count <= 0 {
			t.Errorf("hits %+v", h)
		}
		total += h.Count
	}
	if int(total) != y.hits || int(s.Misses["shop"]) != y.misses || s.IdleSeconds["shop"] <= 0 || s.Workloads != 1 || s.ForecastError > 0.5 {
		t.Errorf("%d hits, %d misses; told %+v", y.hits, y.misses, s)
	}
	n := 0
	for d := controlplane.SlotCapacity; d <= controlplane.SlotContainer; d++ {
		n += s.Making[d] + s.Ready[d]
	}
	if n != len(y.slots) {
		t.Errorf("%d slots told, %d there", n, len(y.slots))
	}
}

func TestWindow(t *testing.T) {
	for _, c := range []struct {
		window v1alpha1.SlotWindow
		at     string
		open   bool
	}{
		{v1alpha1.SlotWindow{From: "08:00", To: "18:00"}, "2026-11-23T08:00:00Z", true},
		{v1alpha1.SlotWindow{From: "08:00", To: "18:00"}, "2026-11-23T07:59:59Z", false},
		{v1alpha1.SlotWindow{From: "08:00", To: "18:00"}, "2026-11-23T18:00:00Z", false},
		{v1alpha1.SlotWindow{From: "22:00", To: "02:00", Days: []string{"Monday"}}, "2026-11-23T23:00:00Z", true},
		{v1alpha1.SlotWindow{From: "22:00", To: "02:00", Days: []string{"Monday"}}, "2026-11-24T01:59:00Z", true},
		{v1alpha1.SlotWindow{From: "22:00", To: "02:00", Days: []string{"Monday"}}, "2026-11-24T22:30:00Z", false},
		{v1alpha1.SlotWindow{From: "22:00", To: "02:00", Days: []string{"Monday"}}, "2026-11-23T01:00:00Z", false},
		{v1alpha1.SlotWindow{From: "00:00", To: "00:00", Days: []string{"Monday"}}, "2026-11-23T12:00:00Z", true},
		{v1alpha1.SlotWindow{From: "08:00", To: "18:00", TimeZone: "Asia/Tokyo"}, "2026-11-23T23:30:00Z", true}, // 08:30 there
		{v1alpha1.SlotWindow{From: "08:00", To: "18:00", TimeZone: "Asia/Tokyo", Days: []string{"Monday"}}, "2026-11-23T23:30:00Z", false},
	} {
		w, err := readWindow(c.window)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		if w.open(at) != c.open {
			t.Errorf("%+v at %s: open %v", c.window, c.at, !c.open)
		}
	}
	for _, bad := range []v1alpha1.SlotWindow{{From: "8", To: "09:00"}, {From: "08:00", To: "25:00"}, {From: "08:00", To: "09:00", Days: []string{"Mon"}}, {From: "08:00", To: "09:00", TimeZone: "Mars/North"}} {
		if _, err := readWindow(bad); err == nil {
			t.Errorf("%+v was read", bad)
		}
	}
}

func BenchmarkCreated(b *testing.B) {
	c := newCore(limits{automatic: true, interval: time.Second, day: 24 * time.Hour, workloads: 1000, each: 1000, share: 0.25})
	pod := podOf("shop", "cart")
	key := keyOf(pod)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		c.created(pod, key, controlplane.Placement{Node: "n"}, now)
	}
}
