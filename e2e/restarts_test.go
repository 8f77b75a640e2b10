package e2e

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// TestRestarts ends containers in every way and looks at what becomes of their pods.
func TestRestarts(t *testing.T) {
	scenarios{
		"policies":     restartPolicies,
		"crash-loop":   crashLoop,
		"last-words":   lastWords,
		"oom":          outOfMemory,
		"start-error":  startError,
		"both-retried": restartsAlone,
	}.run(t)
}

func restartPolicies(t *testing.T, ns string) {
	for _, c := range []struct {
		name, script string
		policy       corev1.RestartPolicy
		phase        corev1.PodPhase
		restarts     int32
		code         int32
		reason       string
	}{
		{"never-0", "exit 0", corev1.RestartPolicyNever, corev1.PodSucceeded, 0, 0, "Completed"},
		{"never-5", "exit 5", corev1.RestartPolicyNever, corev1.PodFailed, 0, 5, "Error"},
		{"on-failure-0", "exit 0", corev1.RestartPolicyOnFailure, corev1.PodSucceeded, 0, 0, "Completed"},
		{"on-failure-255", "[ -e /scratch/n ] || { touch /scratch/n; exit 255; }", corev1.RestartPolicyOnFailure, corev1.PodSucceeded, 1, 0, "Completed"},
		{"signalled", "sh -c 'kill -SEGV $$$$'; exit $?", corev1.RestartPolicyNever, corev1.PodFailed, 0, 139, "Error"},
	} {
		pod := shellPod(c.name, c.script)
		pod.Spec.RestartPolicy = c.policy
		pod, _ = once(t, ns, emptyDir(pod, "/scratch", corev1.EmptyDirVolumeSource{}))
		s := statusOf(pod, "main")
		equal(t, c.name+": phase", pod.Status.Phase, c.phase)
		equal(t, c.name+": restarts", s.RestartCount, c.restarts)
		if term := s.State.Terminated; term == nil || term.ExitCode != c.code || term.Reason != c.reason || term.StartedAt.IsZero() || term.FinishedAt.IsZero() {
			t.Errorf("%s: state %+v, not %s with %d", c.name, term, c.reason, c.code)
		}
		equal(t, c.name+": condition Ready", conditionOf(pod, corev1.PodReady).Status, corev1.ConditionFalse)
	}
	// Always starts again what succeeded, too.
	post(t, ns, emptyDir(shellPod("always", "[ -e /scratch/n ] && exec sleep 100000; touch /scratch/n; exit 0"), "/scratch", corev1.EmptyDirVolumeSource{}))
	pod := await(t, client, ns, "always", "restarted", restarted("main", 1))
	if last := statusOf(pod, "main").LastTerminationState.Terminated; last == nil || last.ExitCode != 0 || last.Reason != "Completed" {
		t.Errorf("always: last state %+v, not Completed", last)
	}
}

// crashLoop follows a container that fails again and again through its first back-off.
func crashLoop(t *testing.T, ns string) {
	pod := shellPod("p", `n=$(cat /scratch/runs 2>/dev/null | wc -l); echo run $n; echo >> /scratch/runs; exit 3`)
	made := post(t, ns, emptyDir(pod, "/scratch", corev1.EmptyDirVolumeSource{}))

	pod = await(t, client, ns, "p", "backing off", waits("main", "CrashLoopBackOff"))
	s := statusOf(pod, "main")
	equal(t, "restarts", s.RestartCount, 1) // the first restart is free
	mustMatch(t, s.State.Waiting.Message, `^back-off 10s restarting failed container=main pod=p_`+ns+`\(`+string(made.UID)+`\)$`)
	ended := s.LastTerminationState.Terminated
	if ended == nil || ended.ExitCode != 3 || ended.Reason != "Error" {
		t.Fatalf("last state %+v, not an exit with 3", ended)
	}
	equal(t, "phase", pod.Status.Phase, corev1.PodRunning)
	equal(t, "condition ContainersReady", conditionOf(pod, corev1.ContainersReady).Status, corev1.ConditionFalse)
	mustMatch(t, kubectl(t, "-n", ns, "get", "pod", "p"), `p +0/1 +CrashLoopBackOff +1 \(`)
	// What ended last is both the log and the previous one, until there is another run.
	equal(t, "log in the back-off", kubectl(t, "-n", ns, "logs", "p"), "run 1\n")
	equal(t, "previous log in the back-off", kubectl(t, "-n", ns, "logs", "p", "--previous"), "run 1\n")
	awaitEvent(t, ns, "p", `^BackOff: Back-off restarting failed container main in pod p_`)

	pod = await(t, client, ns, "p", "restarted twice", func(p *corev1.Pod) bool {
		last := statusOf(p, "main").LastTerminationState.Terminated
		return statusOf(p, "main").RestartCount == 2 && last != nil
	})
	again := statusOf(pod, "main")
	begun := again.LastTerminationState.Terminated.StartedAt
	if last := again.State.Running; last != nil {
		begun = last.StartedAt
	}
	if term := again.State.Terminated; term != nil {
		begun = term.StartedAt
	}
	if waited := begun.Sub(ended.FinishedAt.Time); waited < 9*time.Second { // times are in whole seconds
		t.Errorf("the second restart came %s after the end, not 10s", waited)
	}
	pod = await(t, client, ns, "p", "backing off twice as long", func(p *corev1.Pod) bool {
		w := statusOf(p, "main").State.Waiting
		return w != nil && strings.HasPrefix(w.Message, "back-off 20s ")
	})
	equal(t, "restarts", statusOf(pod, "main").RestartCount, 2)
	equal(t, "log", kubectl(t, "-n", ns, "logs", "p"), "run 2\n")
}

func lastWords(t *testing.T, ns string) {
	for _, c := range []struct {
		name, script string
		change       func(*corev1.Container)
		want         string
	}{
		{"file", "echo noise; printf 'last words' > /dev/termination-log; exit 1", nil, "last words"},
		{"success", "printf done > /dev/termination-log", nil, "done"},
		{"path", "printf elsewhere > /tmp/said; exit 1", func(c *corev1.Container) { c.TerminationMessagePath = "/tmp/said" }, "elsewhere"},
		{"user", "printf mine > /dev/termination-log; exit 1", func(c *corev1.Container) {
			c.SecurityContext = &corev1.SecurityContext{RunAsUser: new(int64(1000))}
		}, "mine"},
		{"log", "{ seq 1 100; echo the end; } >&2; exit 1", func(c *corev1.Container) {
			c.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
		}, "22\n"},
		{"log-success", "echo noise", func(c *corev1.Container) {
			c.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
		}, ""},
		{"long", "head -c 5000 /dev/zero | tr '\\0' x > /dev/termination-log", nil, strings.Repeat("x", 4096)},
	} {
		pod := shellPod(c.name, c.script)
		if c.change != nil {
			c.change(&pod.Spec.Containers[0])
		}
		pod, _ = once(t, ns, pod)
		message := statusOf(pod, "main").State.Terminated.Message
		if c.name == "log" { // the last 80 lines
			lines := strings.Split(strings.TrimSuffix(message, "\n"), "\n")
			if len(lines) != 80 || !strings.HasPrefix(message, c.want) || lines[79] != "the end" {
				t.Errorf("log: message of %d lines:\n%s", len(lines), message)
			}
			continue
		}
		equal(t, c.name+": message", message, c.want)
	}
}

// outOfMemory lets one container of two take more memory than it may.
func outOfMemory(t *testing.T, ns string) {
	pod := shellPod("p", "exec sleep 100000")
	eater := shell("eater", "[ -e /scratch/eaten ] && exec sleep 100000; touch /scratch/eaten; exec dd if=/dev/zero of=/dev/null bs=200M count=1")
	eater.Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("64Mi")}
	pod.Spec.Containers = append(pod.Spec.Containers, eater)
	post(t, ns, emptyDir(pod, "/scratch", corev1.EmptyDirVolumeSource{}))
	pod = await(t, client, ns, "p", "restarted", restarted("eater", 1))
	if last := statusOf(pod, "eater").LastTerminationState.Terminated; last == nil || last.Reason != "OOMKilled" || last.ExitCode != 137 {
		t.Errorf("the last state is %+v, not OOMKilled with 137", last)
	}
	equal(t, "restarts of the eater", statusOf(pod, "eater").RestartCount, 1)
	main := statusOf(pod, "main")
	equal(t, "restarts of the other", main.RestartCount, 0)
	if main.State.Running == nil {
		t.Errorf("the other one's state is %+v", main.State)
	}
}

func startError(t *testing.T, ns string) {
	pod := shellPod("p", "")
	pod.Spec.Containers[0].Command = []string{"/bin/no-such-program"}
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	post(t, ns, pod)
	pod = await(t, client, ns, "p", "at its end", ended)
	equal(t, "phase", pod.Status.Phase, corev1.PodFailed)
	if term := statusOf(pod, "main").State.Terminated; term == nil || term.Reason != "StartError" || term.ExitCode != 128 || !contains(term.Message, "no-such-program") {
		t.Errorf("state %+v, not a StartError that names the program", term)
	}
}

// restartsAlone has two containers of which one fails: the other keeps its process.
func restartsAlone(t *testing.T, ns string) {
	pod := shellPod("p", "exec sleep 100000")
	pod.Spec.Containers = append(pod.Spec.Containers, shell("fails", "[ -e /scratch/n ] && exec sleep 100000; touch /scratch/n; exit 1"))
	post(t, ns, emptyDir(pod, "/scratch", corev1.EmptyDirVolumeSource{}))
	pod = await(t, client, ns, "p", "restarted and ready", func(p *corev1.Pod) bool { return restarted("fails", 1)(p) && ready(p) })
	before := statusOf(pod, "main")
	equal(t, "restarts of the other", before.RestartCount, 0)
	equal(t, "file of the other's first run", inside(t, ns, "p", "cat /proc/1/cmdline | tr '\\0' ' '"), "sleep 100000 ")
}
