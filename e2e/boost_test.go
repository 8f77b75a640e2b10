package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/instance"
)

const boostPolicy = `apiVersion: swell.dev/v1alpha1
kind: StartupBoost
metadata: {name: slow-starters}
spec:
  selector: {matchLabels: {start: slow}}
  cpu: 2
  for: 10m
`

// startingPod is ready when told to be.
func startingPod(name string) *corev1.Pod {
	pod := shellPod(name, "exec sleep 100000")
	pod.Spec.Containers[0].ReadinessProbe = &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"test", "-f", "/tmp/ready"}}},
		PeriodSeconds: 1, TimeoutSeconds: 20,
	}
	return pod
}

func conditionIs(t corev1.PodConditionType, status corev1.ConditionStatus) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		for _, c := range p.Status.Conditions {
			if c.Type == t {
				return c.Status == status
			}
		}
		return status == ""
	}
}

var boosted, unboosted = conditionIs(v1alpha1.ConditionStartupBoost, corev1.ConditionTrue), conditionIs(v1alpha1.ConditionStartupBoost, "")

// holds compares what the kernel has for a running pod with what is wanted, and its status with its size.
func holds(t *testing.T, pod *corev1.Pod, milli int64) {
	t.Helper()
	got, _, err := inKernel(t, string(pod.UID), "main").Limits()
	if err != nil || got != milli {
		t.Errorf("the kernel has %dm, want %dm: %v", got, milli, err)
	}
	st := statusOf(pod, "main")
	if st.Resources.Limits.Cpu().MilliValue() != 100 || st.AllocatedResources.Cpu().MilliValue() != 100 {
		t.Errorf("status.resources are %v, allocated %v", st.Resources, st.AllocatedResources)
	}
	if !conditionIs(corev1.PodResizeInProgress, "")(pod) || pod.Status.QOSClass != corev1.PodQOSGuaranteed {
		t.Errorf("a boost is no resize: %+v", pod.Status)
	}
}

// TestStartupBoost boosts a pod by a policy: at its start, after its nodelet was killed, and when its container is
// restarted, each time until it is ready. The bill has it as it was.
func TestStartupBoost(t *testing.T) {
	in, c := newInstance(t)
	const ns = metav1.NamespaceDefault
	file := filepath.Join(t.TempDir(), "boost.yaml")
	if err := os.WriteFile(file, []byte(boostPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := kubectlOf(t, in, "apply", "-f", file); !strings.Contains(out, "startupboost.swell.dev/slow-starters created") {
		t.Fatal(out)
	}
	if out := kubectlOf(t, in, "get", "startupboosts"); !strings.Contains(out, "slow-starters") || !strings.Contains(out, "10m") {
		t.Errorf("kubectl get startupboosts:\n%s", out)
	}

	pod := startingPod("web")
	pod.Labels = map[string]string{"start": "slow"}
	if _, err := c.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	running := func(restarts int32) func(*corev1.Pod) bool {
		return func(p *corev1.Pod) bool {
			s := p.Status.ContainerStatuses
			return boosted(p) && len(s) > 0 && s[0].State.Running != nil && s[0].RestartCount == restarts
		}
	}
	pod = await(t, c, ns, "web", "boosted", running(0))
	if got := pod.Annotations[v1alpha1.AnnotationStartupBoost]; got != "cpu=2,for=10m0s" {
		t.Errorf("its annotation is %q", got)
	}
	holds(t, pod, 2000)

	// Killed during the boost, and started again: the boost goes on, in the same container.
	was := identify(pod)
	if err := in.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	start(t, in)
	pod = await(t, c, ns, "web", "boosted after kill -9", running(0))
	if is := identify(pod); is != was {
		t.Errorf("the container was %+v and is %+v", was, is)
	}
	holds(t, pod, 2000)

	becomesReady(t, in, c, "web")

	// Its container is restarted: the boost is there again, and ends again.
	if err := syscall.Kill(pidOf(t, inKernel(t, string(pod.UID), "main")), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	pod = await(t, c, ns, "web", "boosted after a restart", running(1))
	holds(t, pod, 2000)
	becomesReady(t, in, c, "web")

	if _, err := remove(t.Context(), c, ns, "web"); err != nil {
		t.Fatal(err)
	}
	for _, bill := range bills(t, in) {
		seamless(t, bill)
		var sizes []int64
		for _, line := range bill.Lines {
			sizes = append(sizes, line.CPUMilli)
		}
		if sizes = slices.Compact(sizes); !slices.Equal(sizes, []int64{2000, 100, 2000, 100}) {
			t.Errorf("billed as %dm", sizes)
		}
	}
}

// becomesReady has the pod ready, which ends its boost.
func becomesReady(t *testing.T, in *instance.Instance, c kubernetes.Interface, name string) {
	t.Helper()
	kubectlOf(t, in, "exec", name, "--", "touch", "/tmp/ready")
	pod := await(t, c, metav1.NamespaceDefault, name, "ready with its size", func(p *corev1.Pod) bool { return ready(p) && unboosted(p) })
	holds(t, pod, 100)
}

// TestStartupBoostDeferred starts a pod on a node that has no room for its boost, and gives it as soon as there is.
func TestStartupBoostDeferred(t *testing.T) {
	in, c := newInstance(t, "--capacity", "cpu=3,memory=4Gi,pods=20")
	const ns = metav1.NamespaceDefault
	full := shellPod("full", "exec sleep 100000")
	size := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("64Mi")}
	full.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: size, Limits: size}
	create(t, c, ns, full)

	pod := startingPod("web")
	pod.Annotations = map[string]string{v1alpha1.AnnotationStartupBoost: "main:cpu=20x"}
	if _, err := c.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod = await(t, c, ns, "web", "started without its boost", func(p *corev1.Pod) bool {
		s := p.Status.ContainerStatuses
		return len(s) > 0 && s[0].State.Running != nil && conditionIs(v1alpha1.ConditionStartupBoost, corev1.ConditionFalse)(p)
	})
	equal(t, "the condition's reason", conditionOf(pod, v1alpha1.ConditionStartupBoost).Reason, corev1.PodReasonDeferred)
	holds(t, pod, 100)
	if _, err := remove(t.Context(), c, ns, "full"); err != nil {
		t.Fatal(err)
	}
	pod = await(t, c, ns, "web", "boosted", boosted)
	holds(t, pod, 2000)
	if out := kubectlOf(t, in, "get", "events"); !strings.Contains(out, "StartupBoostDeferred") || !strings.Contains(out, "StartupBoosted") {
		t.Errorf("events:\n%s", out)
	}
	out := kubectlOf(t, in, "get", "--raw", "/metrics")
	if !strings.Contains(out, "swell_startup_boost_cpus 1.9") {
		t.Errorf("no metric of the boost in\n%s", out)
	}
	becomesReady(t, in, c, "web")
}

// TestStartupBoostRequired: a pod that requires its boost gets no node without room for it, and its container isn't
// started again without.
func TestStartupBoostRequired(t *testing.T) {
	in, c := newInstance(t, "--capacity", "cpu=3,memory=4Gi,pods=20")
	const ns = metav1.NamespaceDefault
	fill := func() {
		t.Helper()
		full := shellPod("full", "exec sleep 100000")
		size := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("64Mi")}
		full.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: size, Limits: size}
		create(t, c, ns, full)
	}
	empty := func() {
		t.Helper()
		if _, err := remove(t.Context(), c, ns, "full"); err != nil {
			t.Fatal(err)
		}
	}
	starting := func(p *corev1.Pod) bool { return boosted(p) && statusOf(p, "main").State.Running != nil }
	fill()
	pod := startingPod("web")
	pod.Spec.Containers[0].Command = []string{"sh", "-c", "while [ ! -f /tmp/end ]; do sleep 0.1; done; exit 1"}
	pod.Annotations = map[string]string{v1alpha1.AnnotationStartupBoost: "main:cpu=20x,required"}
	if _, err := c.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod = await(t, c, ns, "web", "without a node", conditionIs(corev1.PodScheduled, corev1.ConditionFalse))
	if why := conditionOf(pod, corev1.PodScheduled).Message; !strings.Contains(why, "1900m CPU are its startup boost, which is required") {
		t.Errorf("it waits as %q", why)
	}
	empty()
	pod = await(t, c, ns, "web", "boosted", starting)
	holds(t, pod, 2000)
	becomesReady(t, in, c, "web")

	fill()
	kubectlOf(t, in, "exec", "web", "--", "touch", "/tmp/end")
	pod = await(t, c, ns, "web", "waiting for its boost", func(p *corev1.Pod) bool {
		w := statusOf(p, "main").State.Waiting
		return w != nil && w.Reason == "StartupBoostDeferred"
	})
	equal(t, "the condition's reason", conditionOf(pod, v1alpha1.ConditionStartupBoost).Reason, corev1.PodReasonDeferred)
	empty()
	pod = await(t, c, ns, "web", "boosted again", starting)
	holds(t, pod, 2000)
	equal(t, "restarts", statusOf(pod, "main").RestartCount, 1)
}
