package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestContainers runs pods of several containers: init containers, sidecars, and those that share a pod.
func TestContainers(t *testing.T) {
	scenarios{
		"init-order":      initOrder,
		"init-fails":      initFails,
		"sidecar-order":   sidecarOrder,
		"sidecar-restart": sidecarRestart,
		"shared":          sharedPod,
	}.run(t)
}

// initOrder has an init container that fails once between two others.
func initOrder(t *testing.T, ns string) {
	pod := shellPod("p", "cat /scratch/order")
	pod.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
	pod.Spec.InitContainers = []corev1.Container{
		shell("first", "sleep 1; echo first >> /scratch/order"),
		shell("flaky", "[ -e /scratch/tried ] || { touch /scratch/tried; echo not yet; exit 3; }; sleep 1; echo flaky >> /scratch/order"),
		shell("third", "echo third >> /scratch/order"),
	}
	pod, out := once(t, ns, emptyDir(pod, "/scratch", corev1.EmptyDirVolumeSource{}))
	equal(t, "phase", pod.Status.Phase, corev1.PodSucceeded)
	equal(t, "order", out, "first\nflaky\nthird\n")
	flaky := statusOf(pod, "flaky")
	equal(t, "restarts of the flaky one", flaky.RestartCount, 1)
	if last := flaky.LastTerminationState.Terminated; last == nil || last.ExitCode != 3 || last.Reason != "Error" {
		t.Errorf("the flaky one's last state is %+v, not an exit with 3", last)
	}
	for _, name := range []string{"first", "third"} {
		equal(t, "restarts of the "+name, statusOf(pod, name).RestartCount, 0)
	}
	if got, err := readLog(t, ns, "p", &corev1.PodLogOptions{Container: "flaky", Previous: true}); err != nil || got != "not yet\n" {
		t.Errorf("the flaky one's previous log is %q, %v", got, err)
	}
}

// initFails has an init container whose failure ends the pod.
func initFails(t *testing.T, ns string) {
	pod := shellPod("p", "echo main ran")
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.InitContainers = []corev1.Container{shell("fails", "exit 4"), shell("never", "echo ran")}
	post(t, ns, pod)
	pod = await(t, client, ns, "p", "at its end", ended)
	equal(t, "phase", pod.Status.Phase, corev1.PodFailed)
	if term := statusOf(pod, "fails").State.Terminated; term == nil || term.ExitCode != 4 {
		t.Errorf("the init container's state is %+v, not an exit with 4", term)
	}
	for _, name := range []string{"never", "main"} {
		if w := statusOf(pod, name).State.Waiting; w == nil || w.Reason != "PodInitializing" {
			t.Errorf("%s has state %+v, though an init container before it failed", name, statusOf(pod, name).State)
		}
	}
	equal(t, "condition Initialized", conditionOf(pod, corev1.PodInitialized).Status, corev1.ConditionFalse)
}

// sidecarOrder shows that sidecars have started before the main container, and end after it, the last
// one first.
func sidecarOrder(t *testing.T, ns string) {
	const until = "while :; do sleep 0.1; done"
	pod := shellPod("p", `cat /scratch/begun; trap 'sleep 1; echo main >> /scratch/ended; exit 0' TERM; `+armed+until)
	pod.Spec.TerminationGracePeriodSeconds = new(int64(20))
	a := sidecar("a", `trap 'echo a >> /scratch/ended; cat /scratch/ended; exit 0' TERM; sleep 1; echo a >> /scratch/begun; `+until)
	a.StartupProbe = &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"test", "-e", "/scratch/begun"}}},
		PeriodSeconds: 1, FailureThreshold: 60,
	}
	pod.Spec.InitContainers = []corev1.Container{
		a,
		shell("between", "echo between >> /scratch/begun"),
		sidecar("b", `trap 'sleep 1; echo b >> /scratch/ended; exit 0' TERM; echo b >> /scratch/begun; touch /scratch/b; `+until),
		shell("last", "until [ -e /scratch/b ]; do sleep 0.1; done"),
	}
	pod, out := endArmed(t, ns, emptyDir(pod, "/scratch", corev1.EmptyDirVolumeSource{}))
	equal(t, "beginning", out, "a\nbetween\nb\n")
	equal(t, "phase", pod.Status.Phase, corev1.PodFailed)
	equal(t, "reason", pod.Status.Reason, "DeadlineExceeded")
	equal(t, "end", logOf(t, ns, "p", "a"), "main\nb\na\n")
	for _, name := range []string{"a", "b", "main"} {
		if term := statusOf(pod, name).State.Terminated; term == nil || term.ExitCode != 0 {
			t.Errorf("%s ended as %+v, not of its own will", name, statusOf(pod, name).State)
		}
	}
}

// sidecarRestart shows that a sidecar that ends runs again, whatever the pod's policy, and that it
// doesn't keep a pod from its end.
func sidecarRestart(t *testing.T, ns string) {
	pod := shellPod("p", "until [ $(cat /scratch/runs | wc -l) -ge 2 ]; do sleep 0.1; done; sleep 1")
	pod.Spec.InitContainers = []corev1.Container{
		sidecar("helper", `echo run >> /scratch/runs; [ $(cat /scratch/runs | wc -l) -ge 2 ] || { sleep 1; exit 1; }; exec sleep 100000`),
	}
	pod, _ = once(t, ns, emptyDir(pod, "/scratch", corev1.EmptyDirVolumeSource{}))
	equal(t, "phase", pod.Status.Phase, corev1.PodSucceeded)
	helper := statusOf(pod, "helper")
	equal(t, "restarts of the sidecar", helper.RestartCount, 1)
	if helper.State.Terminated == nil {
		t.Errorf("the sidecar outlived the pod: %+v", helper.State)
	}
	equal(t, "restarts of main", statusOf(pod, "main").RestartCount, 0)
}

// sharedPod has two containers that meet on loopback and in a volume, and nowhere else.
func sharedPod(t *testing.T, ns string) {
	pod := shellPod("p", `until wget -qO- http://127.0.0.1:8080/page; do sleep 0.2; done; hostname; ls /server-only 2>&1; ps | grep -c '[h]ttpd'; cat /dev/shm/note; [ $(readlink /proc/self/ns/ipc) = $(cat /scratch/ipc) ] && echo one IPC namespace; touch /scratch/done`)
	pod.Spec.Containers = append(pod.Spec.Containers,
		shell("server", `mkdir /server-only; echo from shared memory > /dev/shm/note; readlink /proc/self/ns/ipc > /scratch/ipc; echo from the volume > /scratch/page; httpd -p 8080 -h /scratch; until [ -e /scratch/done ]; do sleep 0.1; done; hostname`))
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	out := succeed(t, ns, emptyDir(pod, "/scratch", corev1.EmptyDirVolumeSource{}))
	mustMatch(t, out, `(?m)^from the volume\np\nls: /server-only: No such file or directory\n0\nfrom shared memory\none IPC namespace\n$`)
	equal(t, "the other one's hostname", logOf(t, ns, "p", "server"), "p\n")
}
