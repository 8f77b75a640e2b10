package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// resize patches a pod's sizes.
func resize(t *testing.T, ns, name string, kind types.PatchType, patch string) (*corev1.Pod, error) {
	t.Helper()
	return client.CoreV1().Pods(ns).Patch(t.Context(), name, kind, []byte(patch), metav1.PatchOptions{FieldManager: "rules"}, "resize")
}

// sizeOf is a strategic merge patch that gives container main a size.
func sizeOf(s size) string {
	list, _ := json.Marshal(s.list()) // quantities always encode
	return fmt.Sprintf(`{"spec":{"containers":[{"name":"main","resources":{"requests":%s,"limits":%s}}]}}`, list, list)
}

// settled reports a pod whose container main has a size, with nothing left to do.
func settled(want size) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		st := statusOf(p, "main")
		return st.State.Running != nil && st.Resources != nil && has(st.Resources.Limits, want) && has(st.AllocatedResources, want) &&
			!condition(p, corev1.PodResizeInProgress) && !condition(p, corev1.PodResizePending)
	}
}

// pendingFor reports a resize that waits, for that reason, of the pod's present spec.
func pendingFor(reason string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		c := conditionOf(p, corev1.PodResizePending)
		return c.Status == corev1.ConditionTrue && c.Reason == reason && c.ObservedGeneration == p.Generation
	}
}

const mebibyte = 1 << 20

var smallest = size{100, 64 * mebibyte}

// TestResizeRefused is what Kubernetes 1.37 refuses of a resize, rule by rule: with the status's code and the words
// that name the field, and nothing stored.
func TestResizeRefused(t *testing.T) {
	ns := namespace(t)
	plain := func(*corev1.Pod) {}
	for _, c := range []struct {
		rule  string
		pod   func(*corev1.Pod)
		patch string
		code  int32
		want  string
	}{
		{"the QoS class stays", plain, `{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"50m"}}}]}}`, 422, "Pod QOS Class may not change as a result of resizing"},
		{"a request can't be taken away", plain, `{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":null}}}]}}`, 422, "spec.containers[0].resources.requests: Forbidden: resource cpu cannot be removed"},
		{"a limit can't be taken away", plain, `{"spec":{"containers":[{"name":"main","resources":{"limits":{"memory":null}}}]}}`, 422, "spec.containers[0].resources.limits: Forbidden: resource memory cannot be removed"},
		{"no container comes", plain, `{"spec":{"containers":[{"name":"more","image":"i"}]}}`, 422, "spec.containers: Forbidden: containers may not be added or removed on resize"},
		{"no container goes", func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, shell("other", "exec sleep 100000"))
		},
			`{"spec":{"containers":[{"name":"other","$patch":"delete"}]}}`, 422, "containers may not be added or removed on resize"},
		{"the order of containers is fixed", func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, shell("other", "exec sleep 100000"))
		},
			`{"spec":{"$setElementOrder/containers":[{"name":"other"},{"name":"main"}],"containers":[{"name":"other"},{"name":"main"}]}}`, 422, "containers may not be renamed or reordered on resize"},
		{"the resize policy is fixed", plain, `{"spec":{"containers":[{"name":"main","resizePolicy":[{"resourceName":"cpu","restartPolicy":"RestartContainer"}]}]}}`, 422, "spec.containers[0].resizePolicy: Forbidden: only cpu and memory resources are mutable"},
		{"nothing but CPU and memory", plain, `{"spec":{"containers":[{"name":"main","resources":{"limits":{"ephemeral-storage":"1Gi"}}}]}}`, 422, "ephemeral-storage"},
		{"a request above its limit", plain, `{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"200m"}}}]}}`, 422, "must be less than or equal to cpu limit of 100m"},
		{"negative", plain, `{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"-1"},"limits":{"cpu":"-1"}}}]}}`, 422, "must be greater than or equal to 0"},
		{"what no node holds", plain, sizeOf(size{64_000, 64 * mebibyte}), 403, "64000"},
	} {
		t.Run(strings.NewReplacer(" ", "-", "'", "").Replace(c.rule), func(t *testing.T) {
			pod := shellPod("", "exec sleep 100000")
			pod.GenerateName = "p-"
			c.pod(pod)
			made, err := client.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			was := await(t, client, ns, made.Name, "ready", ready)
			_, err = resize(t, ns, made.Name, types.StrategicMergePatchType, c.patch)
			wantStatus(t, err, c.code, c.want)
			is, err := client.CoreV1().Pods(ns).Get(t.Context(), made.Name, metav1.GetOptions{})
			if err != nil || is.Generation != was.Generation || !has(is.Spec.Containers[0].Resources.Limits, smallest) {
				t.Errorf("something was stored: %v, %v", err, is.Spec.Containers)
			}
		})
	}
}

// TestResizeRules holds the rest of Kubernetes' semantics, and the traps that come with it.
func TestResizeRules(t *testing.T) {
	large := size{300, 128 * mebibyte}
	scenarios{
		"by-every-verb": func(t *testing.T, ns string) {
			create(t, client, ns, shellPod("p", "exec sleep 100000"))
			sizes := []size{{110, 70 * mebibyte}, {120, 80 * mebibyte}, {130, 90 * mebibyte}, {140, 100 * mebibyte}}
			for i, kind := range []types.PatchType{types.StrategicMergePatchType, types.MergePatchType, types.JSONPatchType, types.ApplyYAMLPatchType} {
				want := sizes[i]
				list, _ := json.Marshal(want.list())
				patch := sizeOf(want)
				switch kind {
				case types.MergePatchType: // a list is replaced as a whole, and what else it says is dropped
					patch = strings.Replace(patch, `"name":"main"`, `"name":"main","image":"other"`, 1)
				case types.JSONPatchType:
					patch = fmt.Sprintf(`[{"op":"replace","path":"/spec/containers/0/resources/requests","value":%s},{"op":"replace","path":"/spec/containers/0/resources/limits","value":%s}]`, list, list)
				case types.ApplyYAMLPatchType:
					patch = strings.Replace(patch, `{"spec"`, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec"`, 1)
				}
				options := metav1.PatchOptions{FieldManager: "rules"}
				if kind == types.ApplyYAMLPatchType {
					options.Force = new(true)
				}
				pod, err := client.CoreV1().Pods(ns).Patch(t.Context(), "p", kind, []byte(patch), options, "resize")
				if err != nil {
					t.Fatalf("%s: %v", kind, err)
				}
				if pod.Generation != int64(i+2) || pod.Spec.Containers[0].Image != busybox || pod.Status.Phase != corev1.PodRunning {
					t.Errorf("%s: answered %+v", kind, pod.ObjectMeta)
				}
				kernelHas(t, await(t, client, ns, "p", string(kind), settled(want)), map[string]size{"main": want, "": want})
			}
			pod, err := client.CoreV1().Pods(ns).Get(t.Context(), "p", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			list := large.list()
			pod.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: list, Limits: list}
			pod.Labels, pod.Spec.Containers[0].Image = map[string]string{"dropped": "yes"}, "other"
			put, err := client.CoreV1().Pods(ns).UpdateResize(t.Context(), "p", pod, metav1.UpdateOptions{})
			if err != nil || put.Labels["dropped"] != "" || put.Spec.Containers[0].Image != busybox || put.Generation != 6 {
				t.Fatalf("%v: %+v", err, put)
			}
			again, err := resize(t, ns, "p", types.StrategicMergePatchType, sizeOf(large))
			if err != nil || again.Generation != 6 {
				t.Errorf("the same size is another generation: %v, %d", err, again.Generation)
			}
			await(t, client, ns, "p", "put", settled(large))
			_, err = client.CoreV1().Pods(ns).Patch(t.Context(), "p", types.StrategicMergePatchType, []byte(sizeOf(smallest)), metav1.PatchOptions{})
			wantStatus(t, err, 422, "pod resources change by the resize subresource only")
			all, err := client.Discovery().ServerResourcesForGroupVersion("v1")
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, r := range all.APIResources {
				found = found || r.Name == "pods/resize" && fmt.Sprint(r.Verbs) == "[get patch update]"
			}
			if !found {
				t.Error("pods/resize isn't in discovery")
			}
		},

		"restarts-where-a-policy-says-so": func(t *testing.T, ns string) {
			pod := shellPod("p", "exec sleep 100000")
			pod.Spec.Containers[0].ResizePolicy = []corev1.ContainerResizePolicy{
				{ResourceName: corev1.ResourceCPU, RestartPolicy: corev1.NotRequired}, {ResourceName: corev1.ResourceMemory, RestartPolicy: corev1.RestartContainer},
			}
			create(t, client, ns, pod)
			for i, want := range []size{{200, 64 * mebibyte}, {300, 128 * mebibyte}} { // CPU alone; both, of which one restarts
				if _, err := resize(t, ns, "p", types.StrategicMergePatchType, sizeOf(want)); err != nil {
					t.Fatal(err)
				}
				p := await(t, client, ns, "p", "resized", settled(want))
				if got := statusOf(p, "main").RestartCount; got != int32(i) {
					t.Errorf("%+v: %d restarts", want, got)
				}
			}
			never := shellPod("never", "exec sleep 100000")
			never.Spec.RestartPolicy, never.Spec.Containers[0].ResizePolicy = corev1.RestartPolicyNever, pod.Spec.Containers[0].ResizePolicy
			_, err := client.CoreV1().Pods(ns).Create(t.Context(), never, metav1.CreateOptions{})
			wantStatus(t, err, 422, "must be 'NotRequired' when `restartPolicy` is 'Never'")
		},

		"oom-score-follows-the-request": func(t *testing.T, ns string) {
			pod := shellPod("p", "exec sleep 100000")
			pod.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("32Mi")}
			pod.Spec.Containers[0].Resources.Limits = size{200, 4096 * mebibyte}.list()
			made := create(t, client, ns, pod)
			score := func() int {
				pid := pidOf(t, inKernel(t, string(made.UID), "main"))
				b, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
				if err != nil {
					t.Fatal(err)
				}
				n, err := strconv.Atoi(strings.TrimSpace(string(b)))
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			before := score()
			if _, err := resize(t, ns, "p", types.StrategicMergePatchType, `{"spec":{"containers":[{"name":"main","resources":{"requests":{"memory":"4Gi"}}}]}}`); err != nil {
				t.Fatal(err)
			}
			await(t, client, ns, "p", "resized", func(p *corev1.Pod) bool {
				st := statusOf(p, "main")
				return st.AllocatedResources.Memory().Value() == 4096*mebibyte && !condition(p, corev1.PodResizeInProgress)
			})
			if after := score(); after >= before {
				t.Errorf("the request is 128 times what it was, and the score was %d and is %d", before, after)
			}
		},
	}.run(t)
}

// TestResizeWaits fills a node: the four states of a deferred resize, which holds up nobody and isn't applied by a
// restart; and the order in which deferred ones get their room.
func TestResizeWaits(t *testing.T) {
	in, c := newInstance(t, "--capacity", "cpu=2,memory=4Gi")
	const ns = metav1.NamespaceDefault
	patch := func(name string, to size) *corev1.Pod {
		t.Helper()
		p, err := c.CoreV1().Pods(ns).Patch(t.Context(), name, types.StrategicMergePatchType, []byte(sizeOf(to)), metav1.PatchOptions{}, "resize")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for name, cpu := range map[string]int64{"a": 500, "b": 500, "c": 200} {
		create(t, c, ns, sized(name, size{cpu, 256 * mebibyte}))
	}
	burstable := sized("d", size{200, 64 * mebibyte})
	burstable.Spec.Containers[0].Resources.Requests = size{100, 32 * mebibyte}.list()
	create(t, c, ns, burstable)
	was := size{500, 256 * mebibyte}

	// Deferred: desired is the spec, allocated and actual stay.
	want := size{1200, 512 * mebibyte}
	patch("a", want)
	pod := await(t, c, ns, "a", "deferred", pendingFor(corev1.PodReasonDeferred))
	st := statusOf(pod, "main")
	if !has(pod.Spec.Containers[0].Resources.Limits, want) || !has(st.AllocatedResources, was) || !has(st.Resources.Limits, was) {
		t.Errorf("spec %v, allocated %v, actual %v", pod.Spec.Containers[0].Resources, st.AllocatedResources, st.Resources)
	}
	mustMatch(t, conditionOf(pod, corev1.PodResizePending).Message, `Node didn't have enough resource: cpu, requested: 1200, used: 900, capacity: 2000`)
	kernelHas(t, pod, map[string]size{"main": was})

	// It holds up no other, and a smaller wish takes its place.
	patch("b", size{600, 256 * mebibyte})
	await(t, c, ns, "b", "resized while another waits", settled(size{600, 256 * mebibyte}))
	patch("b", was)
	await(t, c, ns, "b", "back", settled(was))

	// What isn't admitted isn't applied by a restart either.
	if err := syscall.Kill(pidOf(t, inKernel(t, string(pod.UID), "main")), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	pod = await(t, c, ns, "a", "restarted", func(p *corev1.Pod) bool {
		s := statusOf(p, "main")
		return s.RestartCount == 1 && s.State.Running != nil
	})
	kernelHas(t, pod, map[string]size{"main": was})

	// What it wants counts for pods that come.
	if _, err := c.CoreV1().Pods(ns).Create(t.Context(), sized("late", size{500, 256 * mebibyte}), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, c, ns, "late", "pending", func(p *corev1.Pod) bool {
		return p.Spec.NodeName == "" && conditionOf(p, corev1.PodScheduled).Status == corev1.ConditionFalse
	})
	if err := c.CoreV1().Pods(ns).Delete(t.Context(), "late", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}

	// A guaranteed pod's goes before a burstable one's that has waited longer. There is room for one of them.
	limit := func(cpu string) string {
		return fmt.Sprintf(`{"spec":{"containers":[{"name":"main","resources":{"limits":{"cpu":%q}}}]}}`, cpu)
	}
	if _, err := c.CoreV1().Pods(ns).Patch(t.Context(), "d", types.StrategicMergePatchType, []byte(limit("850m")), metav1.PatchOptions{}, "resize"); err != nil {
		t.Fatal(err)
	}
	await(t, c, ns, "d", "deferred", pendingFor(corev1.PodReasonDeferred))
	patch("b", size{1150, 256 * mebibyte})
	await(t, c, ns, "b", "deferred", pendingFor(corev1.PodReasonDeferred))
	if _, err := remove(t.Context(), c, ns, "a"); err != nil {
		t.Fatal(err)
	}
	await(t, c, ns, "b", "resized", settled(size{1150, 256 * mebibyte}))
	if pod := await(t, c, ns, "d", "there", ready); !pendingFor(corev1.PodReasonDeferred)(pod) {
		t.Errorf("the burstable pod has %v", pod.Status)
	}
	if _, err := remove(t.Context(), c, ns, "c"); err != nil {
		t.Fatal(err)
	}
	await(t, c, ns, "d", "resized", func(p *corev1.Pod) bool {
		s := statusOf(p, "main")
		return s.Resources.Limits.Cpu().MilliValue() == 850 && !condition(p, corev1.PodResizePending) && !condition(p, corev1.PodResizeInProgress)
	})
	out := kubectlOf(t, in, "get", "events")
	for _, reason := range []string{"ResizeDeferred", "ResizeStarted", "ResizeCompleted"} {
		if !strings.Contains(out, reason) {
			t.Errorf("no event %s", reason)
		}
	}
}

// wantStatus holds an error to be a Status with that code and text.
func wantStatus(t *testing.T, err error, code int32, text string) {
	t.Helper()
	var status apierrors.APIStatus
	if !asStatus(err, &status) || status.Status().Code != code || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want %d with %q", err, code, text)
	}
}

// sized is a pod that sleeps.
func sized(name string, s size) *corev1.Pod {
	pod := shellPod(name, "exec sleep 100000")
	pod.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: s.list(), Limits: s.list()}
	return pod
}
