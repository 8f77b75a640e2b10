package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// starts is a node that starts the pod, and says so.
func starts(f *fakeAPI) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		f.update(pod.Name, func(p *corev1.Pod) {
			p.Status.PodIP = "10.88.0.9"
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: p.Name, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}}}
		})
		f.update(pod.Name, func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodRunning
			p.Status.ContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
		})
	}
}

// ends is a node where the pod ran to its end.
func ends(f *fakeAPI, code int32) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		f.update(pod.Name, func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodSucceeded
			reason := "Completed"
			if code != 0 {
				p.Status.Phase, reason = corev1.PodFailed, "Error"
			}
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: p.Name, State: corev1.ContainerState{
				Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason}}}}
		})
	}
}

// waits is a node where a container can't start.
func waits(f *fakeAPI, reason, message string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		f.update(pod.Name, func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: p.Name, State: corev1.ContainerState{
				Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}}
		})
	}
}

func TestRun(t *testing.T) {
	f := newFakeAPI(t)
	seen := make(chan struct{})
	f.created = func(pod *corev1.Pod) {
		f.set("events", &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "e1", Namespace: "default"},
			InvolvedObject: corev1.ObjectReference{UID: pod.UID}, Reason: "Pulling", Message: `Pulling image "web:1"`})
		<-seen // the pod starts after the event was shown
		starts(f)(pod)
	}
	shown := &notifying{want: "Pulling image", seen: seen}
	var out strings.Builder
	cmd := f.command(&out, shown, strings.NewReader(""), "run", "web", "--image", "web:1", "--cpu", "500m", "--memory", "1Gi",
		"--env", "A=b=c", "-e", "B=", "--port", "8080,5353:53/udp", "--class", "performance", "--qos", "best-effort", "--startup-boost", "cpu=3x", "--label", "app=web",
		"--restart", "onfailure", "--pull", "missing", "--workdir", "/srv", "--node", "n1", "--pull-secret", "login", "--", "-v", "serve")
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if err := cmd.ExecuteContext(ctx); err != nil {
		t.Fatal(err, shown.text)
	}
	if got := timeless(out.String()); got != "pod/web (500m CPU 1Gi, performance) running after T on n1 at 10.88.0.9\n" {
		t.Errorf("printed %q", got)
	}
	if !strings.Contains(shown.text, "pod/web: Pulling image \"web:1\"\n") {
		t.Errorf("progress: %q", shown.text)
	}
	if len(f.requested("POST /api/v1/namespaces/default/pods?fieldManager=swell&fieldValidation=Strict")) != 1 {
		t.Errorf("requests: %q", f.requested("POST"))
	}
	golden(t, "run-pod.golden", f.mustRun("ps", "web", "-o", "yaml").stdout)
}

// notifying is a writer that closes seen once want was written.
type notifying struct {
	want, text string
	seen       chan struct{}
	done       bool
}

func (n *notifying) Write(p []byte) (int, error) {
	n.text += string(p)
	if !n.done && strings.Contains(n.text, n.want) {
		n.done = true
		close(n.seen)
	}
	return len(p), nil
}

func TestRunCommandAndDryRun(t *testing.T) {
	f := newFakeAPI(t)
	golden(t, "run-dry.golden", f.mustRun("run", "job", "--image", "busybox", "--dry-run", "-o", "yaml", "--command", "--", "sh", "-c", "exit 0").stdout)
	if f.pod("job") != nil {
		t.Error("a dry run made a pod")
	}
	if r := f.mustRun("run", "job", "--image", "busybox", "--dry-run"); r.stdout != "pod/job (0 CPU 0, general-purpose) would be accepted\n" {
		t.Errorf("printed %q", r.stdout)
	}
}

func TestRunOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		node func(*fakeAPI) func(*corev1.Pod)
		args string
		out  string // timeless
		err  string
	}{
		"detached":   {func(*fakeAPI) func(*corev1.Pod) { return nil }, "-d", "pod/web (0 CPU 0, general-purpose) accepted in T on n1\n", ""},
		"name":       {starts, "-o name", "pod/web\n", ""},
		"completed":  {func(f *fakeAPI) func(*corev1.Pod) { return ends(f, 0) }, "", "pod/web (0 CPU 0, general-purpose) completed after T on n1\n", ""},
		"failed":     {func(f *fakeAPI) func(*corev1.Pod) { return ends(f, 3) }, "", "", "pod web: failed: container web ended with exit code 3 (Error); see `swell logs web`"},
		"no image":   {func(f *fakeAPI) func(*corev1.Pod) { return waits(f, "ErrImagePull", "no such host") }, "", "", "pod web: ErrImagePull: no such host; check the image's name"},
		"crashing":   {func(f *fakeAPI) func(*corev1.Pod) { return waits(f, "CrashLoopBackOff", "") }, "", "", "`swell logs web --previous`"},
		"removed":    {func(f *fakeAPI) func(*corev1.Pod) { return func(*corev1.Pod) { f.drop("pods", "default", "web") } }, "", "", "pod web: removed before it ran"},
		"no room":    {noRoom, "--timeout 1s", "", "pod web: not running within 1s: waiting for room: Unschedulable: 0/1 nodes have 9 CPU"},
		"lost watch": {func(f *fakeAPI) func(*corev1.Pod) { return func(p *corev1.Pod) { f.cut(true); starts(f)(p) } }, "-o name", "pod/web\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeAPI(t)
			f.created = c.node(f)
			r := f.run(append([]string{"run", "web", "--image", "web:1"}, strings.Fields(c.args)...)...)
			if c.err != "" {
				r.wantError(t, c.err)
				return
			}
			if r.err != nil || timeless(r.stdout) != c.out {
				t.Errorf("printed %q, %v; want %q", r.stdout, r.err, c.out)
			}
		})
	}
}

func noRoom(f *fakeAPI) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		f.update(pod.Name, func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/1 nodes have 9 CPU"}}
		})
	}
}

func TestRunTaken(t *testing.T) {
	f := newFakeAPI(t)
	f.set("pods", runningPod("web", "app"))
	f.run("run", "web", "--image", "web:1").wantError(t, `pods "web" already exists; choose another name, or remove it first`)
}

func TestRunAttended(t *testing.T) {
	for _, code := range []int32{0, 3} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			f := newFakeAPI(t)
			f.created = starts(f)
			f.log = func(w io.Writer, r *http.Request) {
				if r.URL.Query().Get("follow") != "true" {
					t.Errorf("log of %s", r.URL)
				}
				fmt.Fprintln(w, "hello")
				ends(f, code)(f.pod("job"))
			}
			r := f.run("run", "job", "--image", "busybox", "--rm", "--", "hello")
			if r.stdout != "hello\n" {
				t.Errorf("printed %q", r.stdout)
			}
			if code == 0 && r.err != nil {
				t.Error(r.err)
			}
			if code != 0 {
				r.wantExit(t, int(code))
			}
			if f.pod("job") != nil {
				t.Error("the pod is still there")
			}
		})
	}
}

func TestRunAttendedThatCannotStart(t *testing.T) {
	f := newFakeAPI(t)
	f.created = waits(f, "InvalidImageName", "")
	f.run("run", "job", "--image", "///", "--rm").wantError(t, "InvalidImageName")
	if f.pod("job") != nil {
		t.Error("the pod is still there")
	}
}

func TestRunAttendedInterrupted(t *testing.T) {
	f := newFakeAPI(t)
	f.created = starts(f)
	f.log = func(w io.Writer, r *http.Request) {
		fmt.Fprintln(w, "working")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	c := f.start("run", "job", "--image", "busybox", "--rm")
	c.line("working")
	if err := c.stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if f.pod("job") != nil {
		t.Error("the pod is still there")
	}
}
