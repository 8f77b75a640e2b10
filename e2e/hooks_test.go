package e2e

import (
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"swell.dev/swell/internal/ociimage"
)

// TestHooks runs lifecycle hooks and looks at how containers are brought to their end.
func TestHooks(t *testing.T) {
	scenarios{
		"post-start":         postStart,
		"post-start-fails":   postStartFails,
		"http-hooks":         httpHooks,
		"pre-stop":           preStop,
		"pre-stop-too-long":  preStopTooLong,
		"term-then-kill":     termThenKill,
		"deletion":           deletionGrace,
		"stop-signal":        stopSignal,
		"image-stop-signal":  imageStopSignal,
		"active-deadline":    activeDeadline,
		"liveness-own-grace": probeGrace,
	}.run(t)
}

func execHook(script string) *corev1.LifecycleHandler {
	return &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", script}}}
}

// stubborn prints the signals that it gets and goes on.
const stubborn = `trap 'echo term' TERM; echo ready; ` + armed + `while :; do sleep 0.1; done`

// postStart holds the pod back until the hook is through, and has the container's environment.
func postStart(t *testing.T, ns string) {
	pod := shellPod("p", "echo main; exec sleep 100000")
	pod.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "WORD", Value: "hooked"}}
	pod.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PostStart: execHook("until [ -e /scratch/go ]; do sleep 0.1; done; echo $WORD > /proc/1/fd/1")}
	pod.Spec.Containers = append(pod.Spec.Containers, shell("second", "exec sleep 100000"))
	pod = emptyDir(pod, "/scratch", corev1.EmptyDirVolumeSource{})
	made := post(t, ns, pod)
	pod = await(t, client, ns, "p", "held by its hook", func(p *corev1.Pod) bool {
		return statusOf(p, "main").ContainerID != "" && statusOf(p, "second").State.Waiting != nil
	})
	if s := statusOf(pod, "main"); s.State.Running != nil || s.Ready || *s.Started {
		t.Errorf("a container whose hook isn't through is %+v", s)
	}
	equal(t, "phase", pod.Status.Phase, corev1.PodPending)
	touch(t, shared, string(made.UID), "scratch", "go")
	await(t, client, ns, "p", "ready", ready)
	mustMatch(t, logOf(t, ns, "p", "main"), `^main\nhooked\n$`)
}

func postStartFails(t *testing.T, ns string) {
	pod := shellPod("p", "echo begun; exec sleep 100000")
	pod.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PostStart: execHook("[ -e /scratch/n ] || { touch /scratch/n; echo the hook says no; exit 1; }")}
	post(t, ns, emptyDir(pod, "/scratch", corev1.EmptyDirVolumeSource{}))
	pod = await(t, client, ns, "p", "restarted", restarted("main", 1))
	equal(t, "restarts", statusOf(pod, "main").RestartCount, 1)
	awaitEvent(t, ns, "p", `^FailedPostStartHook: .*the hook says no`)
}

// observer is an HTTP server on the host that notes what calls it.
type observer struct {
	port int
	mu   sync.Mutex // guards what follows
	seen []string
	more chan struct{} // capacity 1
}

func observe(t *testing.T) *observer {
	t.Helper()
	l, err := net.Listen("tcp4", "0.0.0.0:0") // pods come by the host's address
	if err != nil {
		t.Fatal(err)
	}
	o := &observer{port: l.Addr().(*net.TCPAddr).Port, more: make(chan struct{}, 1)}
	server := &http.Server{Handler: o, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(l) //nolint:errcheck // it ends with Close
	}()
	t.Cleanup(func() {
		server.Close() //nolint:errcheck // it is over
		<-done
	})
	return o
}

func (o *observer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, strings.TrimSpace(r.URL.String()+" "+r.Header.Get("X-Word")))
	select {
	case o.more <- struct{}{}:
	default:
	}
}

func (o *observer) calls() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.seen)
}

func (o *observer) await(t *testing.T, n int) []string {
	t.Helper()
	timeout := time.After(patience)
	for {
		if seen := o.calls(); len(seen) >= n {
			return seen
		}
		select {
		case <-o.more:
		case <-timeout:
			t.Fatalf("%d calls were awaited; there were %q", n, o.calls())
		}
	}
}

// httpHooks has both hooks call a server of ours, which also hears of the signal from the container.
func httpHooks(t *testing.T, ns string) {
	o := observe(t)
	call := func(path string) *corev1.LifecycleHandler {
		return &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{
			Host: "127.0.0.1", Port: intstr.FromInt(o.port), Path: path, HTTPHeaders: []corev1.HTTPHeader{{Name: "X-Word", Value: "hello"}},
		}}
	}
	pod := shellPod("p", `trap 'wget -qO- http://$HOST:$PORT/term; exit 0' TERM; `+armed+`while :; do sleep 0.1; done`)
	pod.Spec.TerminationGracePeriodSeconds = new(int64(30))
	c := &pod.Spec.Containers[0]
	c.Lifecycle = &corev1.Lifecycle{PostStart: call("/begun?a=b"), PreStop: call("/stopping")}
	c.Env = []corev1.EnvVar{{Name: "PORT", Value: strconv.Itoa(o.port)}, fieldEnv("HOST", "status.hostIP")}
	readyWhenArmed(pod)
	create(t, client, ns, pod)
	if err := client.CoreV1().Pods(ns).Delete(t.Context(), "p", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, client, ns, "p")
	if got, want := o.await(t, 3), []string{"/begun?a=b hello", "/stopping hello", "/term"}; !slices.Equal(got, want) {
		t.Errorf("calls %q, not %q", got, want)
	}
}

// preStop comes before the signal, which comes when the hook is through.
func preStop(t *testing.T, ns string) {
	pod := shellPod("p", `trap 'echo term; exit 0' TERM; `+armed+`while :; do sleep 0.1; done`)
	pod.Spec.TerminationGracePeriodSeconds = new(int64(30))
	pod.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: execHook("echo stopping > /proc/1/fd/1; sleep 2; echo stopped > /proc/1/fd/1")}
	pod.Spec.Containers = append(pod.Spec.Containers, shell("sleeps", `trap 'exit 0' TERM; `+armed+`while :; do sleep 0.1; done`))
	pod.Spec.Containers[1].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 3}}}
	pod, out := endArmed(t, ns, pod)
	equal(t, "what the container printed", out, "stopping\nstopped\nterm\n")
	if lasted := duration(pod, "sleeps"); lasted < 3*time.Second { // begun at most a second before the deadline counts
		t.Errorf("the container that sleeps 3s before its end lasted %s", lasted)
	}
	for _, name := range []string{"main", "sleeps"} {
		if term := statusOf(pod, name).State.Terminated; term.ExitCode != 0 {
			t.Errorf("%s exited with %d", name, term.ExitCode)
		}
	}
}

func duration(pod *corev1.Pod, name string) time.Duration {
	term := statusOf(pod, name).State.Terminated
	if term == nil {
		return 0
	}
	return term.FinishedAt.Sub(term.StartedAt.Time)
}

// preStopTooLong shows that a hook can't outlast the grace period.
func preStopTooLong(t *testing.T, ns string) {
	pod := shellPod("p", armed+"exec sleep 100000")
	pod.Spec.TerminationGracePeriodSeconds = new(int64(2))
	pod.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: execHook("sleep 1000")}
	pod, _ = endArmed(t, ns, pod)
	equal(t, "exit code", statusOf(pod, "main").State.Terminated.ExitCode, 137)
	if lasted := duration(pod, "main"); lasted > 30*time.Second {
		t.Errorf("the container lasted %s, a hook of 1000s beyond its 2s of grace", lasted)
	}
	awaitEvent(t, ns, "p", "^FailedPreStopHook: ")
}

func termThenKill(t *testing.T, ns string) {
	pod := shellPod("p", stubborn)
	pod.Spec.TerminationGracePeriodSeconds = new(int64(3))
	pod, out := endArmed(t, ns, pod)
	equal(t, "what the container printed", out, "ready\nterm\n")
	term := statusOf(pod, "main").State.Terminated
	equal(t, "exit code", term.ExitCode, 137)
	equal(t, "reason", term.Reason, "Error")
	if lasted := duration(pod, "main"); lasted < 3*time.Second {
		t.Errorf("the container was killed after %s, within its grace period", lasted)
	}
}

// deletionGrace deletes pods that don't heed the signal, with the grace that they ask for and with less.
func deletionGrace(t *testing.T, ns string) {
	for _, c := range []struct {
		name        string
		own         int64 // the pod's grace period
		args        []string
		least, most time.Duration
	}{
		{"own", 3, nil, 3 * time.Second, 20 * time.Second},
		{"shorter", 600, []string{"--grace-period=1"}, time.Second, 20 * time.Second},
		{"now", 600, []string{"--now"}, 0, 20 * time.Second},
		{"forced", 600, []string{"--grace-period=0", "--force"}, 0, 10 * time.Second},
	} {
		pod := shellPod(c.name, stubborn)
		readyWhenArmed(pod)
		pod.Spec.TerminationGracePeriodSeconds = &c.own
		made := create(t, client, ns, pod)
		begun := time.Now()
		kubectl(t, append([]string{"-n", ns, "delete", "pod", c.name}, c.args...)...)
		awaitGone(t, client, ns, c.name)
		if took := time.Since(begun); took < c.least || took > c.most {
			t.Errorf("%s: the deletion took %s, not %s to %s", c.name, took, c.least, c.most)
		}
		awaitNothing(t, string(made.UID))
	}
	// A second delete hastens the first.
	pod := shellPod("hastened", stubborn)
	readyWhenArmed(pod)
	pod.Spec.TerminationGracePeriodSeconds = new(int64(600))
	create(t, client, ns, pod)
	kubectl(t, "-n", ns, "delete", "pod", "hastened", "--wait=false")
	still := await(t, client, ns, "hastened", "terminating", func(p *corev1.Pod) bool { return p.DeletionTimestamp != nil })
	equal(t, "grace period", *still.DeletionGracePeriodSeconds, 600)
	kubectl(t, "-n", ns, "delete", "pod", "hastened", "--grace-period=1", "--timeout=30s")
}

func stopSignal(t *testing.T, ns string) {
	pod := shellPod("p", `trap 'echo usr1; exit 0' USR1; trap 'echo term; exit 1' TERM; `+armed+`while :; do sleep 0.1; done`)
	pod.Spec.OS = &corev1.PodOS{Name: corev1.Linux}
	pod.Spec.TerminationGracePeriodSeconds = new(int64(20))
	pod.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{StopSignal: new(corev1.SIGUSR1)}
	_, out := endArmed(t, ns, pod)
	equal(t, "what the container printed", out, "usr1\n")
}

// imageStopSignal runs an image that has a STOPSIGNAL.
func imageStopSignal(t *testing.T, ns string) {
	img, err := ociimage.Busybox()
	if err != nil {
		t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config := file.Config
	config.StopSignal = "SIGQUIT"
	if img, err = mutate.Config(img, config); err != nil {
		t.Fatal(err)
	}
	ref := emptyRegistry(t) + "/stops:1"
	if err := ociimage.Push(t.Context(), ref, img); err != nil {
		t.Fatal(err)
	}
	pod := shellPod("p", `trap 'echo quit; exit 0' QUIT; trap 'echo term; exit 1' TERM; `+armed+`while :; do sleep 0.1; done`)
	pod.Spec.Containers[0].Image = ref
	pod.Spec.TerminationGracePeriodSeconds = new(int64(20))
	_, out := endArmed(t, ns, pod)
	equal(t, "what the container printed", out, "quit\n")
}

func activeDeadline(t *testing.T, ns string) {
	pod := shellPod("p", "exec sleep 100000")
	pod.Spec.ActiveDeadlineSeconds = new(int64(2))
	post(t, ns, pod) // restartPolicy Always doesn't keep it
	pod = await(t, client, ns, "p", "at its end", ended)
	equal(t, "phase", pod.Status.Phase, corev1.PodFailed)
	equal(t, "reason", pod.Status.Reason, "DeadlineExceeded")
	equal(t, "message", pod.Status.Message, "Pod was active on the node longer than the specified deadline")
	awaitEvent(t, ns, "p", "^DeadlineExceeded: ")
}

// probeGrace has a liveness probe whose own grace period is shorter than the pod's.
func probeGrace(t *testing.T, ns string) {
	pod := shellPod("p", "[ -e /scratch/n ] && exec sleep 100000; touch /scratch/n; "+stubborn)
	pod.Spec.TerminationGracePeriodSeconds = new(int64(600))
	pod.Spec.Containers[0].LivenessProbe = &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", `[ "$(tr "\\0" " " < /proc/1/cmdline)" = "sleep 100000 " ]`}}},
		PeriodSeconds: 1, FailureThreshold: 2, TerminationGracePeriodSeconds: new(int64(1)),
	}
	post(t, ns, emptyDir(pod, "/scratch", corev1.EmptyDirVolumeSource{}))
	pod = await(t, client, ns, "p", "restarted", restarted("main", 1))
	equal(t, "exit code", statusOf(pod, "main").LastTerminationState.Terminated.ExitCode, 137)
	if err := client.CoreV1().Pods(ns).Delete(t.Context(), "p", metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}); err != nil {
		t.Fatal(err)
	}
}
