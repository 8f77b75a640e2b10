package client

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
)

// somePods is one pod of each kind that ps tells apart.
func somePods() []*corev1.Pod {
	always := corev1.ContainerRestartPolicyAlways
	ago := metav1.NewTime(testNow.Add(-2 * time.Minute))

	web := runningPod("web", "app", "side")
	web.Labels = map[string]string{"app": "web"}

	pending := runningPod("pending", "app")
	pending.Spec.NodeName = ""
	pending.Status = corev1.PodStatus{Phase: corev1.PodPending}
	pending.Annotations = map[string]string{v1alpha1.AnnotationComputeClass: v1alpha1.ClassPerformance, v1alpha1.AnnotationPrice: "0.039 CNY"}

	crash := runningPod("crash", "app")
	crash.Status.ContainerStatuses[0] = corev1.ContainerStatus{Name: "app", RestartCount: 7,
		State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: ago}}}

	initial := runningPod("initial", "app")
	initial.Spec.InitContainers = []corev1.Container{{Name: "one", RestartPolicy: &always}, {Name: "two"}}
	initial.Status.Phase = corev1.PodPending
	started := true
	initial.Status.InitContainerStatuses = []corev1.ContainerStatus{
		{Name: "one", Started: &started, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
		{Name: "two", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	initial.Status.ContainerStatuses = nil

	initFailed := initial.DeepCopy()
	initFailed.Name, initFailed.UID = "init-failed", "uid-init-failed"
	initFailed.Status.InitContainerStatuses[1].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 4}}

	done := runningPod("done", "app")
	done.Status.Phase = corev1.PodSucceeded
	done.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed"}}

	leaving := runningPod("leaving", "app")
	leaving.DeletionTimestamp = &ago

	deferred := runningPod("deferred", "app")
	deferred.Annotations = map[string]string{v1alpha1.AnnotationAllocated: `{"app":{"limits":{"cpu":"250m","memory":"512Mi"}}}`,
		v1alpha1.AnnotationQoS: v1alpha1.QoSBestEffort}
	deferred.Spec.Containers[0].Resources = resources("2", "512Mi")

	shrinking := runningPod("shrinking", "app")
	shrinking.Spec.Containers[0].Resources = resources("250m", "256Mi")

	other := runningPod("other", "app")
	other.Namespace = "team"
	return []*corev1.Pod{web, pending, crash, initial, initFailed, done, leaving, deferred, shrinking, other}
}

func TestPs(t *testing.T) {
	f := newFakeAPI(t)
	if r := f.mustRun("ps"); r.stdout != "" || r.stderr != "no pods in namespace default; `swell ps -A` looks in all\n" {
		t.Errorf("without pods: %+v", r)
	}
	for _, pod := range somePods() {
		f.set("pods", pod)
	}
	for name, args := range map[string]string{
		"ps.golden":      "ps",
		"ps-wide.golden": "ps -A -o wide",
		"ps-name.golden": "ps -o name -l app=web",
		"ps-json.golden": "ps web -o json",
		"ps-yaml.golden": "ps -l app=web -o yaml",
	} {
		golden(t, name, f.mustRun(strings.Fields(args)...).stdout)
	}
	if r := f.mustRun("ps", "pod/web"); strings.Count(r.stdout, "\n") != 2 {
		t.Errorf("one pod: %q", r.stdout)
	}
	f.run("ps", "absent").wantError(t, "pods \"absent\" not found; `swell ps -A` lists")
}

// runningCommand is a command that goes on until it is stopped.
type runningCommand struct {
	t      *testing.T
	lines  chan string
	cancel context.CancelFunc
	done   chan error
}

func (f *fakeAPI) start(args ...string) *runningCommand {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	r, w := io.Pipe()
	c := &runningCommand{t: f.t, lines: make(chan string, 100), cancel: cancel, done: make(chan error, 1)}
	cmd := f.command(w, io.Discard, strings.NewReader(""), args...)
	go func() {
		err := cmd.ExecuteContext(ctx)
		w.Close()
		c.done <- err
	}()
	go func() {
		defer close(c.lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	f.t.Cleanup(cancel)
	return c
}

// line waits for a line that holds every part.
func (c *runningCommand) line(parts ...string) {
	c.t.Helper()
	select {
	case line, open := <-c.lines:
		for _, part := range parts {
			if !strings.Contains(line, part) {
				c.t.Fatalf("line %q (more: %v), want %q in it", line, open, part)
			}
		}
	case <-time.After(deadline):
		c.t.Fatalf("no line with %q", parts)
	}
}

// stop interrupts the command, as Ctrl-C does.
func (c *runningCommand) stop() error {
	c.t.Helper()
	c.cancel()
	select {
	case err := <-c.done:
		return err
	case <-time.After(deadline):
		c.t.Fatal("the command doesn't stop")
		return nil
	}
}

func TestPsWatch(t *testing.T) {
	f := newFakeAPI(t)
	f.set("pods", runningPod("web", "app"))
	f.set("pods", runningPod("db", "app"))
	c := f.start("ps", "-w")
	c.line("NAME", "STATUS")
	c.line("db", "Running")
	c.line("web", "Running")

	f.update("web", func(p *corev1.Pod) { p.Spec.Containers[0].Resources = resources("2", "512Mi") })
	c.line("web", "250m→2")

	f.cut(false) // a lost connection: nothing is told twice, nothing is missed
	f.set("pods", runningPod("late", "app"))
	c.line("late", "Running")

	f.set("pods", runningPod("meanwhile", "app"))
	c.line("meanwhile")
	f.update("web", func(p *corev1.Pod) {
		p.Status.Phase = corev1.PodFailed
		p.Status.Reason = "Evicted"
		p.Status.ContainerStatuses = nil
	})
	c.line("web", "Evicted")
	f.cut(true) // the version to resume from is forgotten: what changed is found by listing
	f.update("late", func(p *corev1.Pod) { p.Status.ContainerStatuses[0].RestartCount = 3 })
	c.line("late", "3")

	f.drop("pods", "default", "db")
	c.line("db", "Removed")
	if err := c.stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// A deletion that fell into a gap of the watch is told as well.
func TestPsWatchMissedDeletion(t *testing.T) {
	f := newFakeAPI(t)
	f.set("pods", runningPod("web", "app"))
	f.set("pods", runningPod("db", "app"))
	c := f.start("ps", "-w", "-o", "name")
	c.line("pod/db")
	c.line("pod/web")
	f.mu.Lock()
	delete(f.objects, "pods/default/db") // nothing in the history tells of it
	f.mu.Unlock()
	f.cut(true)
	c.line("pod/db")
}

func TestPsWatchStructured(t *testing.T) {
	f := newFakeAPI(t)
	f.set("pods", runningPod("web", "app"))
	c := f.start("ps", "-w", "-o", "yaml")
	c.line("---")
	c.line("apiVersion: v1")
	c.line("kind: Pod")
}
