package nodes

import (
	"testing"

	"google.golang.org/grpc/codes"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/controlplane"
)

// TestReport: what a node observes is taken over, but for what the control plane decided.
func TestReport(t *testing.T) {
	pod := podOn("a", "p")
	pod.Status.QOSClass = corev1.PodQOSGuaranteed
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}}
	w := newWorld(t, pod)
	resources := corev1.ResourceRequirements{
		Requests: corev1.ResourceList{"cpu": resource.MustParse("250m"), "memory": resource.MustParse("64Mi")},
		Limits:   corev1.ResourceList{"cpu": resource.MustParse("500m")},
	}
	r := reportOf("p", corev1.PodRunning, isReady, func(st *corev1.PodStatus) {
		st.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", Resources: &resources}}
		st.Conditions = append(st.Conditions, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionFalse})
	})
	r.Events = []*nodev1.Event{{Type: "Normal", Reason: "Started", Message: "m"}, {Type: "Normal", Reason: "Started", Message: "m"}}
	before := w.store.durable
	n, _ := w.connect("a", r)
	w.until(t, "running", func() bool { return w.store.pod("p").Status.Phase == corev1.PodRunning })
	got := w.store.pod("p").Status
	if got.QOSClass != corev1.PodQOSGuaranteed || len(got.Conditions) != 2 || got.Conditions[1].Status != corev1.ConditionTrue {
		t.Errorf("the status is %+v", got)
	}
	if d := w.sched.actuated["uid-p"]; d != (controlplane.Demand{CPUMilli: 500, MemoryBytes: 64 << 20}) {
		t.Errorf("actuated are %+v", d)
	}
	events, _ := w.store.List("events", "")
	if len(events) != 1 || events[0].(*corev1.Event).Count != 2 || events[0].(*corev1.Event).Source.Host != "a" {
		t.Errorf("the events are %v", events)
	}
	if w.store.durable != before+1 {
		t.Errorf("%d durable writes for a node that connects and a pod that runs", w.store.durable-before)
	}

	// The end is durable, is recorded once, and stands.
	ended := reportOf("p", corev1.PodFailed, func(st *corev1.PodStatus) { st.Reason = "Evicted" })
	n.report(ended)
	w.until(t, "failed", func() bool { return w.store.pod("p").Status.Phase == corev1.PodFailed })
	if w.store.durable != before+2 {
		t.Error("the end isn't durable")
	}
	version := w.store.pod("p").ResourceVersion
	n.report(ended)
	n.report(reportOf("p", corev1.PodRunning))
	n.report(&nodev1.PodReport{Uid: "x", Namespace: "default", Name: "x"})
	if n.next().GetRemove() == nil || w.store.pod("p").ResourceVersion != version {
		t.Error("a pod that ended came back")
	}
	n.report(&nodev1.PodReport{Uid: "uid-p", Namespace: "default", Name: "p", Status: []byte("x")})
	if got := n.end(); got != codes.InvalidArgument {
		t.Errorf("a status that isn't one: %s", got)
	}
}

// TestForeignReports: a node speaks for its own pods.
func TestForeignReports(t *testing.T) {
	w := newWorld(t, podOn("a", "mine"), podOn("b", "other"), podOn("", "nowhere"))
	n, _ := w.connect("a")
	deleted := w.store.edit("other", func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} })
	for _, r := range []*nodev1.PodReport{
		reportOf("other", corev1.PodFailed), finished(reportOf("other", corev1.PodRunning)), reportOf("other", corev1.PodRunning),
		reportOf("nowhere", corev1.PodRunning),
	} {
		r.Events = []*nodev1.Event{{Reason: "Forged"}}
		n.report(r)
		if !r.Finished {
			if got := n.next().GetRemove().GetUid(); got != r.Uid {
				t.Errorf("a report of %s is answered with a removal of %q", r.Uid, got)
			}
		}
	}
	stranger := reportOf("mine", corev1.PodRunning)
	stranger.Uid = "another"
	n.report(stranger)
	if got := n.next().GetRemove().GetUid(); got != "another" {
		t.Errorf("a pod of another UID is answered with a removal of %q", got)
	}
	for name, was := range map[string]*corev1.Pod{"other": deleted, "nowhere": podOn("", "nowhere"), "mine": podOn("a", "mine")} {
		if p := w.store.pod(name); p == nil || p.Status.Phase != was.Status.Phase {
			t.Errorf("%s is now %v", name, p)
		}
	}
	if events, _ := w.store.List("events", ""); len(events) != 0 {
		t.Errorf("forged events: %v", events)
	}
	if !w.logs.has("report refused", "node=a", "default/other", "on node b") {
		t.Error("nobody is told")
	}
	n.heartbeat(&nodev1.Heartbeat{Usage: []*nodev1.PodUsage{{Uid: "uid-other", TimeUnixNano: 1 << 62}}})
	w.until(t, "the refusal is logged", func() bool { return w.logs.has("usage refused", "default/other") })
	if got := w.hub.Usage(); len(got) != 0 {
		t.Errorf("usage of %v", got)
	}
}

// TestRemoval: a deleted pod's object goes with the report that nothing of it is left, and not before.
func TestRemoval(t *testing.T) {
	w := newWorld(t, podOn("a", "p"), podOn("a", "kept"))
	n, _ := w.connect("a")
	for _, name := range []string{"p", "kept"} {
		w.store.edit(name, func(p *corev1.Pod) {
			p.DeletionTimestamp = &metav1.Time{}
			if name == "kept" {
				p.Finalizers = []string{"example.com/hold"}
			}
		})
		if got := assigned(t, n.next().GetAssign()); got.Name != name || got.DeletionTimestamp == nil {
			t.Errorf("a deletion sends %v", got)
		}
	}
	n.report(reportOf("p", corev1.PodSucceeded))
	w.until(t, "succeeded", func() bool { return w.store.pod("p").Status.Phase == corev1.PodSucceeded })
	n.report(finished(reportOf("p", corev1.PodSucceeded)), finished(reportOf("kept", corev1.PodSucceeded)))
	if got := n.next().GetRemove().GetUid(); got != "uid-p" || w.store.pod("p") != nil {
		t.Errorf("the end sends a removal of %q", got)
	}
	w.until(t, "succeeded", func() bool { return w.store.pod("kept").Status.Phase == corev1.PodSucceeded })
	// With its last finalizer gone the nodelet is asked again, and answers again.
	w.store.edit("kept", func(p *corev1.Pod) { p.Finalizers = nil })
	if got := assigned(t, n.next().GetAssign()); got.Name != "kept" {
		t.Errorf("a finalizer's removal sends %s", got.Name)
	}
	n.report(finished(reportOf("kept", corev1.PodSucceeded)))
	w.until(t, "gone", func() bool { return w.store.pod("kept") == nil })
}

// TestNode: the object follows what the host says, and keeps what an operator said.
func TestNode(t *testing.T) {
	old := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"zone": "old", "team": "x"}}}
	old.Spec.Unschedulable = true
	old.Spec.Taints = []corev1.Taint{{Key: "team", Value: "x", Effect: corev1.TaintEffectNoExecute}}
	w := newWorld(t, old)
	n, _ := w.connect("a")
	o, _ := w.store.Get(nodeKey("a"))
	node := o.(*corev1.Node)
	if node.Labels["zone"] != "a" || node.Labels["team"] != "x" || !node.Spec.Unschedulable || len(node.Spec.Taints) != 1 {
		t.Errorf("the node is %+v", node)
	}
	want := controlplane.Node{Name: "a", Capacity: controlplane.Demand{CPUMilli: 4000, MemoryBytes: 8 << 30}, MaxPods: 50, Ready: true, Cordoned: true}
	got := w.sched.known()["a"]
	if got.Labels = nil; got.Name != want.Name || got.Capacity != want.Capacity || got.MaxPods != want.MaxPods || !got.Ready || !got.Cordoned || len(got.Taints) != 1 {
		t.Errorf("the scheduler knows %+v, want %+v", got, want)
	}
	pressure := func() *corev1.NodeCondition {
		o, _ := w.store.Get(nodeKey("a"))
		for _, c := range o.(*corev1.Node).Status.Conditions {
			if c.Type == corev1.NodeDiskPressure {
				return &c
			}
		}
		return nil
	}
	hb := &nodev1.Heartbeat{Conditions: []*nodev1.NodeCondition{{Type: "DiskPressure", Status: "True", Reason: "r", Message: "m"}}}
	n.heartbeat(hb)
	w.until(t, "disk pressure", func() bool { c := pressure(); return c != nil && c.Status == corev1.ConditionTrue })
	// One that says the same again changes nothing: the next report follows it.
	o, _ = w.store.Get(nodeKey("a"))
	n.heartbeat(hb)
	n.report(&nodev1.PodReport{Uid: "x", Namespace: "default", Name: "x"})
	n.next()
	if again, _ := w.store.Get(nodeKey("a")); again != o {
		t.Error("a heartbeat without news changes the node")
	}
}

// TestNewNodeCanBePatched: a time with parts of a second would come back changed in a client's patch.
func TestNewNodeCanBePatched(t *testing.T) {
	w := newWorld(t)
	w.connect("a")
	o, _ := w.store.Get(nodeKey("a"))
	if at := o.GetCreationTimestamp(); at.Nanosecond() != 0 || at.IsZero() {
		t.Errorf("created at %s", at.Time)
	}
}
