package nodelet

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// settlingWorker is a worker around a pod with an init container, whose clock is the test's.
func settlingWorker(now time.Time) (*worker, *[]Report) {
	a := Assignment{Pod: &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u"},
		Spec:       corev1.PodSpec{InitContainers: []corev1.Container{{Name: "first"}}, Containers: []corev1.Container{{Name: "main"}}},
	}}
	var told []Report
	w := &worker{
		uid: "u", machine: newMachine(&Config{NodeName: "n"}, "boot", a, false, nil, now),
		publish: func(r Report) { told = append(told, r) },
	}
	w.machine.adopted = true
	return w, &told
}

// TestSettlingReports: a pod on its way is told of once it had time to arrive, and at once when it has, or when
// something is wrong.
func TestSettlingReports(t *testing.T) {
	start := time.Unix(1000, 0)
	begin := func(m *machine, name string) {
		c := m.container(name)
		c.phase, c.id = phaseRunning, ContainerID("u", name, 0)
	}
	end := func(m *machine, name string, code int32) {
		c := m.container(name)
		c.phase, c.term = phaseExited, &corev1.ContainerStateTerminated{ExitCode: code}
	}
	arrive := func(m *machine) {
		end(m, "first", 0)
		begin(m, "main")
		m.initialized = true
	}
	for name, c := range map[string]struct {
		change func(m *machine)
		held   bool
	}{
		"nothing has begun":    {func(*machine) {}, true},
		"progress is told of":  {func(m *machine) { m.event(corev1.EventTypeNormal, "Pulled", "", nil) }, true},
		"initializing":         {func(m *machine) { begin(m, "first") }, true},
		"initialized":          {func(m *machine) { end(m, "first", 0) }, true},
		"running":              {arrive, false},
		"an init failed":       {func(m *machine) { end(m, "first", 1) }, false},
		"an image is missing":  {func(m *machine) { m.container("main").waiting("ErrImagePull", "no such image") }, false},
		"a warning":            {func(m *machine) { m.event(corev1.EventTypeWarning, "FailedMount", "", nil) }, false},
		"terminating":          {func(m *machine) { m.stop = &podStop{} }, false},
		"no longer desired":    {func(m *machine) { m.removed = true }, false},
		"a verdict was passed": {func(m *machine) { m.outcome = &outcome{Phase: corev1.PodFailed} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w, told := settlingWorker(start)
			c.change(w.machine)
			w.moved = true
			w.reportOnce(start)
			if !c.held {
				if len(*told) != 1 || !w.next().IsZero() {
					t.Fatalf("%d reports at once, and another at %s; want one and none", len(*told), w.next())
				}
				return
			}
			if len(*told) != 0 || w.next() != start.Add(settleTime) {
				t.Fatalf("%d reports at once, and another at %s; want it %s after %s", len(*told), w.next(), settleTime, start)
			}
			w.moved = true
			w.reportOnce(start.Add(settleTime / 2)) // more of the same doesn't put it off
			w.reportOnce(start.Add(settleTime - 1))
			if len(*told) != 0 {
				t.Fatal("it is told too early")
			}
			w.reportOnce(start.Add(settleTime))
			w.reportOnce(start.Add(2 * settleTime))
			if len(*told) != 1 || !w.next().IsZero() {
				t.Fatalf("%d reports, and another at %s; want one and none", len(*told), w.next())
			}
			arrive(w.machine)
			w.moved = true
			w.reportOnce(start.Add(2*settleTime + 1))
			if len(*told) != 2 && c.held {
				t.Fatalf("%d reports of a pod that runs, want a second one at once", len(*told))
			}
		})
	}
}

// TestReportOnChange: a step that changes nothing is not told of, and events are.
func TestReportOnChange(t *testing.T) {
	w, told := settlingWorker(time.Unix(1000, 0))
	for i, want := range []int{1, 1, 2, 2} {
		if i == 2 {
			w.machine.event(corev1.EventTypeNormal, "Something", "", nil)
		}
		w.report()
		if len(*told) != want {
			t.Fatalf("%d reports after call %d, want %d", len(*told), i, want)
		}
	}
	last := (*told)[1]
	var st corev1.PodStatus
	if err := st.Unmarshal(last.Encoded); err != nil || st.Phase != last.Status.Phase || len(last.Events) != 1 {
		t.Errorf("report %+v, encoded %+v (%v)", last, st, err)
	}
}

// TestRunsAs: a list of the pod's containers needs no look unless it says something new.
func TestRunsAs(t *testing.T) {
	w, _ := settlingWorker(time.Unix(1000, 0))
	main := ContainerState{ID: ContainerID("u", "main", 0), Name: "main", State: StateRunning}
	sidecar := ContainerState{ID: ContainerID("u", "first", 0), Name: "first", State: StateRunning}
	ended, another := main, main
	ended.State, another.ID = StateExited, ContainerID("u", "main", 1)
	check := func(what string, want bool, list ...ContainerState) {
		t.Helper()
		if got := w.runsAs(list); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	w.report()
	check("nothing runs and nothing is there", false)
	for _, c := range w.machine.containers {
		c.phase, c.id = phaseRunning, ContainerID("u", c.spec.Name, 0)
	}
	w.report()
	check("as it is", true, main, sidecar)
	check("one is missing", false, main)
	check("one has ended", false, sidecar, ended)
	check("another instance runs", false, sidecar, another)
	check("one more is there", false, main, sidecar, another)
	w.machine.container("main").op = opRun
	w.machine.event(corev1.EventTypeNormal, "Something", "", nil)
	w.report()
	check("something is under way", false, main, sidecar)
}

func TestPublish(t *testing.T) {
	n := &Nodelet{changed: make(chan struct{}, 1), reports: map[string]*report{}, workers: map[string]*worker{}, slots: slots{reports: map[string]SlotReport{}, dirty: map[string]bool{}}}
	for i := range maxEvents + 10 {
		n.publish(Report{UID: "u", Events: []Event{{Reason: fmt.Sprint(i)}}})
	}
	taken := n.Take(10)
	if len(taken) != 1 || len(taken[0].Events) != maxEvents || taken[0].Events[0].Reason != "10" {
		t.Fatalf("took %+v", taken)
	}
	n.publish(Report{UID: "u"})
	n.Return(taken)
	n.publish(Report{UID: "u", Name: "latest", Events: []Event{{Reason: "last"}}})
	taken = n.Take(10)
	if len(taken) != 1 || taken[0].Name != "latest" || len(taken[0].Events) != maxEvents || taken[0].Events[maxEvents-1].Reason != "last" {
		t.Fatalf("took %+v after a return", taken)
	}
	if !slices.Equal(n.dirty, nil) {
		t.Errorf("%v are left to take", n.dirty)
	}
}
