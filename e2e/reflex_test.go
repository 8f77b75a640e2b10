package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"swell.dev/swell/api/v1alpha1"
)

// doubling is a program that holds twice as much again and again, until its one string has so many bytes.
func doubling(bytes int) string {
	return fmt.Sprintf("BEGIN { s = \"x\"; while (length(s) < %d) s = s s; print length(s) }", bytes)
}

// TestBurst has a pod that is stopped by its quota get more CPU, and a process in it that takes much more memory than
// the pod's size live within the bounds that the pod allows, and be killed beyond. The pod's size stays what it is, and
// the bill has the rest.
func TestBurst(t *testing.T) {
	in, c := newInstance(t)
	const ns = metav1.NamespaceDefault
	pod := shellPod("bursts", "while [ ! -f /tmp/end ]; do :; done; exec sleep 100000")
	pod.Annotations = map[string]string{v1alpha1.AnnotationBurst: "cpu=50m"}
	if _, err := c.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{}); err == nil || !strings.Contains(err.Error(), "must be at least the pod's size") {
		t.Errorf("a bound below the size: %v", err)
	}
	pod.Annotations[v1alpha1.AnnotationBurst] = "cpu=1,memory=512Mi,budget=10m"
	if _, err := c.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	bursting, resting := conditionIs(v1alpha1.ConditionBursting, corev1.ConditionTrue), conditionIs(v1alpha1.ConditionBursting, "")
	sized := func(p *corev1.Pod) {
		t.Helper()
		if got := statusOf(p, "main").Resources.Limits; got.Cpu().MilliValue() != 100 || got.Memory().Value() != 64<<20 {
			t.Errorf("status.resources are %v", got)
		}
	}
	got := await(t, c, ns, "bursts", "bursting", bursting)
	sized(got)
	if message := conditionOf(got, v1alpha1.ConditionBursting).Message; !strings.Contains(message, "of up to 1 CPU and 512Mi of memory") {
		t.Errorf("the condition says %q", message)
	}
	if out, err := command(t.Context(), in, "kubectl", "exec", "bursts", "--", "awk", doubling(64<<20)).CombinedOutput(); err != nil {
		t.Errorf("memory within the bounds: %v: %s", err, out)
	}
	sized(await(t, c, ns, "bursts", "bursting", bursting))
	beyondTheBounds(t, c, ns)
	out := kubectlOf(t, in, "get", "--raw", "/metrics")
	for _, metric := range []string{`swell_reflex_detection{rung="`, "swell_reflex_memory_raised_total ", "swell_reflex_throttled_avoided_seconds_total ", `swell_reflex_reaction_seconds{quantile="0.99"} `} {
		if !strings.Contains(out, metric) {
			t.Errorf("no metric %s in\n%s", metric, out)
		}
	}
	if out := kubectlOf(t, in, "describe", "nodes"); !strings.Contains(out, string(v1alpha1.ConditionReflex)) || !strings.Contains(out, "That the kernel stops a pod is seen") || !strings.Contains(out, v1alpha1.LabelReflex+"=") {
		t.Errorf("the node doesn't say what its reflex runs on:\n%s", out)
	}
	kubectlOf(t, in, "exec", "bursts", "--", "touch", "/tmp/end")
	got = await(t, c, ns, "bursts", "at rest", resting)
	sized(got)
	if s := statusOf(got, "main"); s.RestartCount != 0 {
		t.Errorf("its container was restarted: %+v", s)
	}
	if _, err := remove(t.Context(), c, ns, "bursts"); err != nil {
		t.Fatal(err)
	}
	for _, bill := range bills(t, in) {
		seamless(t, bill)
		if bill.Name != "bursts" {
			continue
		}
		var cpu, memory int64
		for _, line := range bill.Lines {
			cpu += line.Burst.VCPUMilliseconds
			memory += line.Burst.GiBMilliseconds
		}
		if cpu <= 0 || memory <= 0 {
			t.Errorf("billed for bursts: %d vCPU-ms, %d GiB-ms", cpu, memory)
		}
	}
}

// beyondTheBounds: what takes more than the pod allows is killed. On cgroup v2 that is the container as a whole, so it
// is another pod's.
func beyondTheBounds(t *testing.T, c *kubernetes.Clientset, ns string) {
	t.Helper()
	pod := shellPod("beyond", "")
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.Containers[0].Command = []string{"awk", doubling(1 << 30)}
	pod.Annotations = map[string]string{v1alpha1.AnnotationBurst: "memory=512Mi"}
	if _, err := c.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// Where the limit is met in a system call on cgroup v1, the program gets an error and ends by itself.
	if got := await(t, c, ns, "beyond", "at its end", ended); got.Status.Phase != corev1.PodFailed {
		t.Errorf("memory beyond the bounds: %+v", got.Status)
	}
}

// TestBurstWithoutReflex: where no node gives bursts a pod that may burst runs at its size, and its owner is told so.
func TestBurstWithoutReflex(t *testing.T) {
	in, c := newInstance(t, "--reflex", "off")
	const ns = metav1.NamespaceDefault
	pod := shellPod("steady", "exec sleep 100000")
	pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	pod.Annotations = map[string]string{v1alpha1.AnnotationBurst: "cpu=1"}
	body, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	create := command(t.Context(), in, "kubectl", "create", "-f", "-")
	create.Stdin = bytes.NewReader(body)
	if out, err := create.CombinedOutput(); err != nil || !strings.Contains(string(out), "Warning: metadata.annotations[swell.dev/burst]: no node gives bursts now") {
		t.Errorf("kubectl create: %v: %s", err, out)
	}
	await(t, c, ns, "steady", "running, without bursts", func(p *corev1.Pod) bool {
		b := conditionOf(p, v1alpha1.ConditionBursting)
		return p.Status.Phase == corev1.PodRunning && b.Status == corev1.ConditionFalse && b.Reason == "Unavailable"
	})
	if out := kubectlOf(t, in, "describe", "nodes"); !strings.Contains(out, "--reflex=off") || !strings.Contains(out, v1alpha1.LabelReflex+"=off") {
		t.Errorf("the node doesn't say that its reflex is off:\n%s", out)
	}
}
