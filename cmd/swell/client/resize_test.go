package client

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// takeEffect is a node that does what the spec says, by way of PodResizeInProgress.
func takeEffect(f *fakeAPI) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		f.update(pod.Name, func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodResizeInProgress, Status: corev1.ConditionTrue, ObservedGeneration: p.Generation}}
		})
		f.update(pod.Name, func(p *corev1.Pod) {
			p.Status.Conditions = nil
			for i := range p.Spec.Containers {
				size := p.Spec.Containers[i].Resources
				p.Status.ContainerStatuses[i].Resources = &size
			}
		})
	}
}

func sayCondition(f *fakeAPI, kind corev1.PodConditionType, reason, message string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		f.update(pod.Name, func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: message, ObservedGeneration: p.Generation}}
		})
	}
}

func TestResize(t *testing.T) {
	f := newFakeAPI(t)
	pod := runningPod("web", "app")
	// What is left of an earlier resize doesn't count.
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodResizePending, Status: corev1.ConditionTrue, Reason: "Deferred", ObservedGeneration: 1}}
	f.set("pods", pod)
	f.resized = takeEffect(f)
	r := f.mustRun("resize", "web", "--cpu", "2", "--memory", "1Gi")
	if got, want := timeless(r.stdout), "pod/web container app: 250m CPU 512Mi → 2 CPU 1Gi, in effect after T (answered in T)\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	var body any
	if err := json.Unmarshal(f.body("PATCH /api/v1/namespaces/default/pods/web/resize"), &body); err != nil {
		t.Fatal(err)
	}
	sent, _ := json.Marshal(body)
	want := `{"spec":{"containers":[{"name":"app","resources":{"limits":{"cpu":"2","memory":"1Gi"},"requests":{"cpu":"2","memory":"1Gi"}}}]}}`
	if string(sent) != want {
		t.Errorf("sent %s, want %s", sent, want)
	}

	// The same size again is in effect at once: no change of status will come.
	f.resized = nil
	f.mustRun("resize", "web", "--cpu", "2")

	// One quantity alone leaves the other as it is.
	f.resized = takeEffect(f)
	f.mustRun("resize", "pod/web", "--cpu", "500m")
	if got := f.pod("web").Spec.Containers[0].Resources; got.Limits.Memory().String() != "1Gi" || got.Requests.Cpu().String() != "500m" {
		t.Errorf("got %v", got)
	}
}

func TestResizeNotNow(t *testing.T) {
	for name, c := range map[string]struct {
		kind            corev1.PodConditionType
		reason, message string
		want            string
	}{
		"deferred":   {corev1.PodResizePending, "Deferred", "node n1 has 1 CPU free", "pod web: resize is deferred: node n1 has 1 CPU free; it happens when room frees"},
		"infeasible": {corev1.PodResizePending, "Infeasible", "node n1 has 2 CPU", "pod web: resize is infeasible: node n1 has 2 CPU; ask for less"},
		"error":      {corev1.PodResizeInProgress, "Error", "memory.max: busy", "pod web: resize failed on the node: memory.max: busy"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeAPI(t)
			f.set("pods", runningPod("web", "app"))
			f.resized = sayCondition(f, c.kind, c.reason, c.message)
			f.run("resize", "web", "--cpu", "2").wantError(t, c.want)
		})
	}
}

func TestResizeEnds(t *testing.T) {
	t.Run("removed", func(t *testing.T) {
		f := newFakeAPI(t)
		f.set("pods", runningPod("web", "app"))
		f.resized = func(pod *corev1.Pod) { f.drop("pods", "default", pod.Name) }
		f.run("resize", "web", "--cpu", "2").wantError(t, "pod web: removed before it was resized")
	})
	t.Run("ended", func(t *testing.T) {
		f := newFakeAPI(t)
		f.set("pods", runningPod("web", "app"))
		f.resized = func(pod *corev1.Pod) {
			f.update("web", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed; p.Status.ContainerStatuses = nil })
		}
		f.run("resize", "web", "--cpu", "2").wantError(t, "pod web: has ended (Failed)")
	})
	t.Run("late", func(t *testing.T) {
		f := newFakeAPI(t)
		f.set("pods", runningPod("web", "app"))
		f.resized = sayCondition(f, corev1.PodResizeInProgress, "", "waiting for memory to shrink")
		r := f.run("resize", "web", "--memory", "1Gi", "--timeout", "1s")
		r.wantError(t, "pod web: not resized within 1s: waiting for memory to shrink")
		if !strings.Contains(r.stderr, "waiting for memory to shrink\n") {
			t.Errorf("shown meanwhile: %q", r.stderr)
		}
	})
	t.Run("lost connection", func(t *testing.T) {
		f := newFakeAPI(t)
		f.set("pods", runningPod("web", "app"))
		f.resized = func(pod *corev1.Pod) { f.cut(true); takeEffect(f)(pod) }
		f.mustRun("resize", "web", "--cpu", "2")
	})
}

func TestResizeWhich(t *testing.T) {
	f := newFakeAPI(t)
	f.set("pods", runningPod("pair", "app", "side"))
	f.run("resize", "absent", "--cpu", "1").wantError(t, `pods "absent" not found`)
	f.run("resize", "pair", "--cpu", "1").wantError(t, "pod pair: has several containers: name one of app, side with --container")
	f.run("resize", "pair", "-c", "db", "--cpu", "1").wantError(t, "pod pair: no container db; it has app, side")
	r := f.mustRun("resize", "pair", "-c", "side", "--cpu", "1", "--wait=false")
	if got := timeless(r.stdout); got != "pod/pair container side: 250m CPU 512Mi → 1 CPU 512Mi, accepted in T\n" {
		t.Errorf("printed %q", got)
	}
	if r := f.mustRun("resize", "pair", "-c", "side", "--cpu", "1", "--wait=false", "-o", "name"); r.stdout != "pod/pair\n" {
		t.Errorf("printed %q", r.stdout)
	}
}
