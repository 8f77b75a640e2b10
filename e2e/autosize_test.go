package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/instance"
)

// sizedPod is a pod of an application with one container of that size.
func sizedPod(name, app, script, cpu, memory string) *corev1.Pod {
	pod := shellPod(name, script)
	pod.Labels = map[string]string{"app.kubernetes.io/name": app}
	list := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	pod.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: list, Limits: list.DeepCopy()}
	return pod
}

func cpuAndMemory(pod *corev1.Pod) (cpuMilli, mebibytes int64) {
	r := &pod.Spec.Containers[0].Resources
	return r.Limits.Cpu().MilliValue(), r.Limits.Memory().Value() >> 20
}

// TestAutosize: of two pods under one policy the one that is throttled grows and the one that is quiet shrinks, in
// the kernel too, with events that say why; and after kill -9 a new pod has the right size from its start. Days are
// seconds here.
func TestAutosize(t *testing.T) {
	in, c := newInstance(t, "--heartbeat", "300ms", "--usage-history", "300ms", "--memory-window", "2s",
		"--autosize-interval", "200ms", "--usage-checkpoint", "500ms", "--usage-day", "4s")
	const ns = "default"
	policy := `
apiVersion: swell.dev/v1alpha1
kind: Autosize
metadata: {name: all}
spec:
  cooldownSeconds: 1
  historySeconds: 1
  containers:
  - {name: "*", min: {cpu: 10m, memory: 16Mi}, max: {cpu: "1"}}
`
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := kubectlOf(t, in, "apply", "-f", file); !strings.Contains(out, "autosize.swell.dev/all created") {
		t.Fatalf("apply says %q", out)
	}
	// The sizes are such that a busy host gives the one its share, too.
	busy := create(t, c, ns, sizedPod("busy", "busy", "while :; do :; done", "20m", "64Mi"))
	quiet := create(t, c, ns, sizedPod("quiet", "quiet", "sleep 1000000", "500m", "512Mi"))

	// It needs twice what it has, is killed for it, and tries again.
	hungry := sizedPod("hungry", "hungry", "while ! { head -c 60000000 /dev/zero | tail -c 60000000 >/dev/null; }; do :; done; touch /tmp/armed; sleep 1000000", "100m", "32Mi")
	readyWhenArmed(hungry)
	hungry = create(t, c, ns, hungry)
	if _, memory := cpuAndMemory(hungry); memory < 64 {
		t.Errorf("a pod that needs 60 MB and was killed for that has %d MiB", memory)
	}
	busy = await(t, c, ns, "busy", "twice grown", func(p *corev1.Pod) bool { cpu, _ := cpuAndMemory(p); return cpu >= 60 })
	quiet = await(t, c, ns, "quiet", "shrunk", func(p *corev1.Pod) bool {
		cpu, memory := cpuAndMemory(p)
		return cpu <= 50 && memory <= 64
	})
	for _, p := range []*corev1.Pod{busy, quiet} { // the third may be killed as a whole
		if p.Status.ContainerStatuses[0].RestartCount != 0 || p.Status.QOSClass != corev1.PodQOSGuaranteed {
			t.Errorf("%s was restarted or changed its class: %s", p.Name, describe(p))
		}
	}
	// In the kernel, as soon as the nodelet has it.
	await(t, c, ns, "quiet", "shrunk in the kernel", func(p *corev1.Pod) bool {
		st := p.Status.ContainerStatuses[0].Resources
		return st != nil && st.Limits.Cpu().MilliValue() <= 50 && st.Limits.Memory().Value() <= 64<<20
	})
	if cpu, memory, err := inKernel(t, string(quiet.UID), "main").Limits(); err != nil || cpu > 50 || memory > 64<<20 {
		t.Errorf("the kernel has %dm and %d bytes, %v", cpu, memory, err)
	}

	events := map[string]string{}
	list, err := c.CoreV1().Events(ns).List(t.Context(), metav1.ListOptions{FieldSelector: "reason=Autosized"})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list.Items {
		events[e.InvolvedObject.Name] += e.Message + "\n"
	}
	if !strings.Contains(events["busy"], "cpu 20m → 40m: p90 of ") || !strings.Contains(events["busy"], "margin 15 %, throttled") {
		t.Errorf("events of busy: %s", events["busy"])
	}
	if !strings.Contains(events["quiet"], "cpu 500m → 250m: p90 of ") || !strings.Contains(events["quiet"], "memory 512Mi → 256Mi: p98 of the peaks of ") {
		t.Errorf("events of quiet: %s", events["quiet"])
	}
	// Before the first kill a reading may have found it growing.
	if !strings.Contains(events["hungry"], "memory 32Mi → ") || !strings.Contains(events["hungry"], "OOM kill") {
		t.Errorf("events of hungry: %s", events["hungry"])
	}
	if out := kubectlOf(t, in, "get", "autosizes"); !strings.Contains(out, "all ") || !strings.Contains(out, "Auto") {
		t.Errorf("kubectl shows\n%s", out)
	}

	// What was learned outlives the control plane, and a pod that comes then is sized by it.
	if err := in.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	start(t, in)
	if c, err = in.Client(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for n := 2; ; n++ { // on a host so busy that its days have passed meanwhile it is learned anew first
		next, err := c.CoreV1().Pods(ns).Create(ctx, sizedPod(fmt.Sprint("quiet-", n), "quiet", "sleep 1000000", "500m", "512Mi"), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if cpu, memory := cpuAndMemory(next); cpu <= 50 && memory <= 64 {
			break
		}
		await(t, c, ns, next.Name, "ready", ready)
	}
	recommended(t, in, "App/busy", "App/quiet")
	if out, err := runSwell(t.Context(), in, "recommend", "App/quiet"); err != nil || !strings.Contains(out, "p90 of") || !strings.Contains(out, "Autosize all (Auto)") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := runSwell(t.Context(), in, "recommend", "App/quiet", "-o", "vpa"); err == nil || !strings.Contains(out, "is for pods that a controller makes") {
		t.Errorf("%v\n%s", err, out)
	}
}

// recommended wants these workloads among the recommendations, each with a target.
func recommended(t *testing.T, in *instance.Instance, names ...string) {
	t.Helper()
	out, err := runSwell(t.Context(), in, "recommend", "-o", "json")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var list v1alpha1.RecommendationList
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := map[string]bool{}
	for _, r := range list.Items {
		ok := len(r.Containers) > 0
		for _, ct := range r.Containers {
			ok = ok && ct.Target.Cpu().Sign() > 0 && ct.Target.Memory().Sign() > 0 && ct.Samples > 0
		}
		got[fmt.Sprintf("%s/%s", r.Workload.Kind, r.Workload.Name)] = ok
	}
	for _, name := range names {
		if !got[name] {
			t.Errorf("no recommendation for %s in\n%s", name, out)
		}
	}
}
