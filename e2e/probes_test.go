package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"swell.dev/swell/internal/ociimage"
)

// TestProbes asks one server by each kind of probe whether it is started, ready and alive.
func TestProbes(t *testing.T) {
	ref := probedImage(t)
	scenarios := scenarios{
		"startup-gates": func(t *testing.T, ns string) { startupGates(t, ns, ref) },
		"startup-fails": startupFails,
		"named-port":    func(t *testing.T, ns string) { namedPort(t, ns, ref) },
	}
	for name, handler := range map[string]corev1.ProbeHandler{
		"exec": {Exec: &corev1.ExecAction{Command: []string{"/probed", "check"}}},
		"http": {HTTPGet: &corev1.HTTPGetAction{Path: "/healthz?of=server", Port: intstr.FromInt32(probedHTTP), HTTPHeaders: []corev1.HTTPHeader{
			{Name: "X-Word", Value: "please"}, {Name: "Host", Value: "probed.example"},
		}}},
		"tcp":  {TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(probedTCP)}},
		"grpc": {GRPC: &corev1.GRPCAction{Port: probedGRPC, Service: new("probed")}},
	} {
		scenarios["readiness-"+name] = func(t *testing.T, ns string) { readinessFollows(t, ns, ref, handler) }
		scenarios["liveness-"+name] = func(t *testing.T, ns string) { livenessRestarts(t, ns, ref, handler) }
	}
	scenarios.run(t)
}

// probedImage is this test's own binary, which serves when it is told to by its environment.
func probedImage(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	files, err := ociimage.Programs(self)
	if err != nil {
		t.Fatal(err)
	}
	files["/probed"] = self
	delete(files, self)
	img, err := ociimage.FromFiles(files, v1.Config{Entrypoint: []string{"/probed"}, Env: []string{probedEnv + "=1"}})
	if err != nil {
		t.Fatal(err)
	}
	ref := emptyRegistry(t) + "/probed:1"
	if err := ociimage.Push(t.Context(), ref, img); err != nil {
		t.Fatal(err)
	}
	return ref
}

func probedPod(ref string) *corev1.Pod {
	pod := shellPod("p", "")
	c := &pod.Spec.Containers[0]
	c.Image, c.Command = ref, nil
	return pod
}

// ask speaks to the server in a pod, from the host.
func ask(t *testing.T, pod *corev1.Pod, path string) string {
	t.Helper()
	timeout := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	resp, err := http.Get(fmt.Sprintf("http://%s:%d%s", pod.Status.PodIP, probedHTTP, path))
	for errors.Is(err, syscall.ECONNREFUSED) { // it runs, and doesn't listen yet
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatal(err)
		}
		resp, err = http.Get(fmt.Sprintf("http://%s:%d%s", pod.Status.PodIP, probedHTTP, path))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v\n%s", path, resp.Status, err, body)
	}
	return strings.TrimSpace(string(body))
}

// readinessFollows turns a server unready and ready again; it isn't restarted for it.
func readinessFollows(t *testing.T, ns, ref string, handler corev1.ProbeHandler) {
	pod := probedPod(ref)
	pod.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: handler, PeriodSeconds: 1, FailureThreshold: 2, TimeoutSeconds: 10}
	pod = create(t, client, ns, pod)
	id := statusOf(pod, "main").ContainerID
	ask(t, pod, "/turn?healthy=false")
	pod = await(t, client, ns, "p", "unready", func(p *corev1.Pod) bool { return !ready(p) })
	equal(t, "condition ContainersReady", conditionOf(pod, corev1.ContainersReady).Reason, "ContainersNotReady")
	if s := statusOf(pod, "main"); s.Ready || s.State.Running == nil || !*s.Started {
		t.Errorf("an unready container is %+v", s)
	}
	awaitEvent(t, ns, "p", "^Unhealthy: Readiness probe failed: ")
	ask(t, pod, "/turn?healthy=true")
	pod = await(t, client, ns, "p", "ready again", ready)
	equal(t, "container", statusOf(pod, "main").ContainerID, id)
	equal(t, "restarts", statusOf(pod, "main").RestartCount, 0)
}

// livenessRestarts turns a server unhealthy for good; another instance of it begins anew.
func livenessRestarts(t *testing.T, ns, ref string, handler corev1.ProbeHandler) {
	pod := probedPod(ref)
	pod.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: handler, PeriodSeconds: 1, FailureThreshold: 2, TimeoutSeconds: 10, InitialDelaySeconds: 1}
	pod.Spec.Containers[0].ReadinessProbe = &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(probedHTTP)}},
		PeriodSeconds: 1,
	}
	pod = create(t, client, ns, pod)
	ask(t, pod, "/turn?healthy=false")
	pod = await(t, client, ns, "p", "restarted and ready", func(p *corev1.Pod) bool { return restarted("main", 1)(p) && ready(p) })
	equal(t, "restarts", statusOf(pod, "main").RestartCount, 1)
	if last := statusOf(pod, "main").LastTerminationState.Terminated; last == nil || last.ExitCode == 0 {
		t.Errorf("the last state is %+v, not a kill", last)
	}
	awaitEvent(t, ns, "p", "^Unhealthy: Liveness probe failed: ")
	awaitEvent(t, ns, "p", "^Killing: Container main failed liveness probe, will be restarted$")
}

// startupGates keeps the other probes away until the startup probe has passed.
func startupGates(t *testing.T, ns, ref string) {
	get := func(path string) corev1.ProbeHandler {
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(probedHTTP)}}
	}
	pod := probedPod(ref)
	c := &pod.Spec.Containers[0]
	c.StartupProbe = &corev1.Probe{ProbeHandler: get("/startup"), PeriodSeconds: 1, FailureThreshold: 1000, TimeoutSeconds: 10}
	c.LivenessProbe = &corev1.Probe{ProbeHandler: get("/live"), PeriodSeconds: 1, FailureThreshold: 1, TimeoutSeconds: 10}
	c.ReadinessProbe = &corev1.Probe{ProbeHandler: get("/ready"), PeriodSeconds: 1, TimeoutSeconds: 10}
	post(t, ns, pod)
	pod = await(t, client, ns, "p", "running", restarted("main", 0))
	equal(t, "the server after three startup probes", ask(t, pod, "/await?path=/startup&times=3"), "startup=3 live=0 ready=0")
	pod = await(t, client, ns, "p", "running", restarted("main", 0))
	if s := statusOf(pod, "main"); *s.Started || s.Ready || s.RestartCount != 0 {
		t.Errorf("a container that hasn't started is %+v", s)
	}
	ask(t, pod, "/turn?started=true")
	ask(t, pod, "/await?path=/live&times=2")
	ask(t, pod, "/await?path=/ready&times=1")
	pod = await(t, client, ns, "p", "ready", ready)
	if s := statusOf(pod, "main"); !*s.Started || s.RestartCount != 0 {
		t.Errorf("a container that has started is %+v", s)
	}
	if calls := ask(t, pod, "/await?path=/live&times=4"); !strings.HasPrefix(calls, "startup=4 ") && !strings.HasPrefix(calls, "startup=5 ") {
		t.Errorf("the startup probe goes on after it passed: %s", calls)
	}
	equal(t, "who asks", ask(t, pod, "/who"), "kube-probe/1.37")
}

// startupFails restarts a container that doesn't come up in time.
func startupFails(t *testing.T, ns string) {
	pod := shellPod("p", "[ -e /scratch/n ] && touch /started; touch /scratch/n; exec sleep 100000")
	pod.Spec.Containers[0].StartupProbe = &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", "[ -e /started ] || { echo too early; exit 1; }"}}},
		PeriodSeconds: 1, FailureThreshold: 2, TimeoutSeconds: 10,
	}
	begun := time.Now()
	pod = create(t, client, ns, emptyDir(pod, "/scratch", corev1.EmptyDirVolumeSource{}))
	equal(t, "restarts", statusOf(pod, "main").RestartCount, 1)
	if took := time.Since(begun); took < time.Second {
		t.Errorf("two failures a second apart took %s", took)
	}
	awaitEvent(t, ns, "p", "^Unhealthy: Startup probe failed: too early")
	awaitEvent(t, ns, "p", "^Killing: Container main failed startup probe, will be restarted$")
}

// namedPort finds the port by the name that the container gives it, and waits as long as it is told to.
func namedPort(t *testing.T, ns, ref string) {
	pod := probedPod(ref)
	c := &pod.Spec.Containers[0]
	c.Ports = []corev1.ContainerPort{{Name: "web", ContainerPort: probedHTTP}}
	c.ReadinessProbe = &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromString("web")}},
		PeriodSeconds: 1, InitialDelaySeconds: 3, SuccessThreshold: 2, TimeoutSeconds: 10,
	}
	pod = create(t, client, ns, pod)
	began := statusOf(pod, "main").State.Running.StartedAt.Time
	if waited := conditionOf(pod, corev1.PodReady).LastTransitionTime.Sub(began); waited < 3*time.Second {
		t.Errorf("the container was ready %s after its start, not 4s (3s of delay and two successes)", waited)
	}
}
