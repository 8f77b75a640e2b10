package e2e

import (
	"context"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
)

// scenarios are parts of one test, by a name that may stand in a namespace's.
type scenarios map[string]func(t *testing.T, ns string)

// run plays all of them at the same time, each in a namespace of its own: what they do is mostly waiting.
func (s scenarios) run(t *testing.T) {
	var all sync.WaitGroup
	for _, name := range slices.Sorted(maps.Keys(s)) {
		all.Go(func() {
			t.Run(name, func(t *testing.T) {
				ns := namespace(t)
				t.Cleanup(func() {
					if t.Failed() {
						t.Logf("what was left:\n%s", remains(ns))
					}
				})
				s[name](t, ns)
			})
		})
	}
	all.Wait()
}

// remains says what a failed scenario's pods look like.
func remains(ns string) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, _ := command(ctx, shared, "kubectl", "-n", ns, "describe", "pods").CombinedOutput()
	return string(out[max(0, len(out)-6<<10):])
}

// post creates a pod.
func post(t *testing.T, ns string, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	made, err := client.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// once runs a pod to its end and answers it with what its first container printed. Unless the pod says
// otherwise, nothing in it is restarted.
func once(t *testing.T, ns string, pod *corev1.Pod) (*corev1.Pod, string) {
	t.Helper()
	if pod.Spec.RestartPolicy == "" {
		pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	}
	post(t, ns, pod)
	pod = await(t, client, ns, pod.Name, "at its end", ended)
	return pod, logOf(t, ns, pod.Name, pod.Spec.Containers[0].Name)
}

// armed ends the part of a script that sets up what is tested; only then is its container ready.
const armed = "touch /tmp/armed; "

// endArmed is once for a pod that runs until it is told to end: that happens when all of its containers are
// armed, by a deadline that comes then, so that the pod and its logs stay to be looked at.
func endArmed(t *testing.T, ns string, pod *corev1.Pod) (*corev1.Pod, string) {
	t.Helper()
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	readyWhenArmed(pod)
	create(t, client, ns, pod)
	if _, err := client.CoreV1().Pods(ns).Patch(t.Context(), pod.Name, types.StrategicMergePatchType, []byte(`{"spec":{"activeDeadlineSeconds":1}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	pod = await(t, client, ns, pod.Name, "at its end", ended)
	return pod, logOf(t, ns, pod.Name, pod.Spec.Containers[0].Name)
}

func readyWhenArmed(pod *corev1.Pod) {
	for i := range pod.Spec.Containers {
		pod.Spec.Containers[i].ReadinessProbe = &corev1.Probe{
			ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"test", "-e", "/tmp/armed"}}}, PeriodSeconds: 1,
		}
	}
}

// succeed runs a pod that must succeed and answers what its first container printed.
func succeed(t *testing.T, ns string, pod *corev1.Pod) string {
	t.Helper()
	pod, out := once(t, ns, pod)
	if pod.Status.Phase != corev1.PodSucceeded {
		t.Fatalf("pod %s failed: %s\n%s", pod.Name, describe(pod), out)
	}
	return out
}

// logOf answers what a container has printed. Of one that has ended it is followed to its end, since an end
// may be known a moment before the last line is written.
func logOf(t *testing.T, ns, pod, container string) string {
	t.Helper()
	p, err := client.CoreV1().Pods(ns).Get(t.Context(), pod, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := readLog(t, ns, pod, &corev1.PodLogOptions{Container: container, Follow: statusOf(p, container).State.Terminated != nil})
	if err != nil {
		t.Fatalf("log of %s/%s %s: %v", ns, pod, container, err)
	}
	return out
}

func readLog(t *testing.T, ns, pod string, o *corev1.PodLogOptions) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := client.CoreV1().Pods(ns).GetLogs(pod, o).Stream(ctx)
	if err != nil {
		return "", err
	}
	defer r.Close()
	out, err := io.ReadAll(r)
	return string(out), err
}

// inside runs a shell script in a pod's first container and must succeed.
func inside(t *testing.T, ns, pod, script string) string {
	t.Helper()
	return kubectl(t, "-n", ns, "exec", pod, "-q", "--", "sh", "-c", script)
}

// statusOf answers the status of a container or init container; empty where nothing is known of it yet.
func statusOf(pod *corev1.Pod, name string) corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, s := range list {
			if s.Name == name {
				return s
			}
		}
	}
	return corev1.ContainerStatus{}
}

// waits reports whether a container waits for a reason.
func waits(name, reason string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		w := statusOf(p, name).State.Waiting
		return w != nil && w.Reason == reason
	}
}

// restarted reports whether a container runs for at least the n-th time after its first.
func restarted(name string, n int32) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		s := statusOf(p, name)
		return s.RestartCount >= n && s.State.Running != nil
	}
}

func conditionOf(pod *corev1.Pod, kind corev1.PodConditionType) corev1.PodCondition {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return corev1.PodCondition{}
}

// awaitEvent waits for an event of a pod whose "Reason: message" matches.
func awaitEvent(t *testing.T, ns, pod, pattern string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	want := regexp.MustCompile(pattern)
	selector := fields.OneTermEqualSelector("involvedObject.name", pod).String()
	list, err := client.CoreV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: selector})
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	matches := func(e *corev1.Event) bool {
		line := fmt.Sprintf("%s: %s", e.Reason, e.Message)
		seen = append(seen, line)
		return want.MatchString(line)
	}
	for i := range list.Items {
		if matches(&list.Items[i]) {
			return
		}
	}
	w, err := client.CoreV1().Events(ns).Watch(ctx, metav1.ListOptions{FieldSelector: selector, ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for ev := range w.ResultChan() {
		if e, ok := ev.Object.(*corev1.Event); ok && matches(e) {
			return
		}
	}
	t.Fatalf("no event of pod %s matches %s; seen:\n%s", pod, pattern, strings.Join(seen, "\n"))
}

// emptyDir adds a volume to a pod, mounted in each of its containers.
func emptyDir(pod *corev1.Pod, path string, source corev1.EmptyDirVolumeSource) *corev1.Pod {
	return withVolume(pod, path, corev1.VolumeSource{EmptyDir: &source})
}

// withVolume adds a volume named after its path, mounted there in each of the pod's containers.
func withVolume(pod *corev1.Pod, path string, source corev1.VolumeSource) *corev1.Pod {
	name := strings.Trim(strings.ReplaceAll(path, "/", "-"), "-")
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: source})
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			list[i].VolumeMounts = append(list[i].VolumeMounts, corev1.VolumeMount{Name: name, MountPath: path})
		}
	}
	return pod
}

// shell is a container beside that of shellPod, of the same size.
func shell(name, script string) corev1.Container {
	c := shellPod("", script).Spec.Containers[0]
	c.Name = name
	return c
}

// sidecar is an init container that goes on beside the main ones.
func sidecar(name, script string) corev1.Container {
	c := shell(name, script)
	c.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	return c
}

// equal compares what a test got with what it wants.
func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, not %v", what, got, want)
	}
}
