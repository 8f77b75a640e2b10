package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
)

const podLevelManifest = `apiVersion: v1
kind: Pod
metadata: {name: team}
spec:
  terminationGracePeriodSeconds: 1
  resources:
    requests: {cpu: 200m, memory: 64Mi}
    limits: {cpu: 400m, memory: 128Mi}
  containers:
  - {name: main, image: IMAGE, command: [sh, -c, exec sleep 100000]}
  - name: small
    image: IMAGE
    command: [sh, -c, exec sleep 100000]
    resources: {limits: {cpu: 100m, memory: 32Mi}}
    env:
    - {name: MAIN, valueFrom: {resourceFieldRef: {containerName: main, resource: limits.memory, divisor: 1Mi}}}
`

// kernelHas compares the limits of a pod's groups, "" the pod's own.
func kernelHas(t *testing.T, pod *corev1.Pod, want map[string]size) {
	t.Helper()
	for name, want := range want {
		cpu, memory, err := inKernel(t, string(pod.UID), name).Limits()
		if err != nil || cpu != want.cpuMilli || memory != want.memory {
			t.Errorf("group %q: the kernel has %dm and %d bytes, %v; want %+v", name, cpu, memory, err, want)
		}
	}
}

// TestPodLevelResources: a pod says what it has as a whole, and its containers share it; it is resized as a whole.
func TestPodLevelResources(t *testing.T) {
	ns := namespace(t)
	file := writeFile(t, "team.yaml", strings.ReplaceAll(podLevelManifest, "IMAGE", busybox))
	mustMatch(t, kubectl(t, "-n", ns, "apply", "-f", file), `pod/team created`)
	pod := await(t, client, ns, "team", "ready", ready)
	if pod.Status.QOSClass != corev1.PodQOSBurstable {
		t.Errorf("its class is %s", pod.Status.QOSClass)
	}
	const mib = 1 << 20
	kernelHas(t, pod, map[string]size{"": {400, 128 * mib}, "main": {400, 128 * mib}, "small": {100, 32 * mib}})
	if st := pod.Status; st.Resources == nil || !has(st.Resources.Limits, size{400, 128 * mib}) || !has(st.AllocatedResources, size{200, 64 * mib}) {
		t.Errorf("status.resources %v, allocated %v", st.Resources, st.AllocatedResources)
	}
	if out := kubectl(t, "-n", ns, "exec", "team", "-c", "small", "--", "sh", "-c", "echo $MAIN"); out != "128\n" {
		t.Errorf("the downward API says that main may have %q MiB", out)
	}
	before := []string{pod.Status.ContainerStatuses[0].ContainerID, pod.Status.ContainerStatuses[1].ContainerID}

	mustMatch(t, kubectl(t, "-n", ns, "patch", "pod", "team", "--subresource", "resize", "-p",
		`{"spec":{"resources":{"requests":{"cpu":"500m"},"limits":{"cpu":"1","memory":"256Mi"}}}}`), `pod/team patched`)
	resized := func(requests, limits size) func(*corev1.Pod) bool {
		return func(p *corev1.Pod) bool {
			st := &p.Status
			return st.Resources != nil && has(st.Resources.Limits, limits) && has(st.AllocatedResources, requests) && !condition(p, corev1.PodResizeInProgress)
		}
	}
	pod = await(t, client, ns, "team", "larger", resized(size{500, 64 * mib}, size{1000, 256 * mib}))
	kernelHas(t, pod, map[string]size{"": {1000, 256 * mib}, "main": {1000, 256 * mib}, "small": {100, 32 * mib}})

	// A container gets a limit of its own, and the pod shrinks around it, in one step.
	kubectl(t, "-n", ns, "patch", "pod", "team", "--subresource", "resize", "-p",
		`{"spec":{"resources":{"limits":{"cpu":"600m","memory":"96Mi"}},"containers":[{"name":"main","resources":{"limits":{"cpu":"300m"}}}]}}`)
	pod = await(t, client, ns, "team", "smaller", resized(size{500, 64 * mib}, size{600, 96 * mib}))
	kernelHas(t, pod, map[string]size{"": {600, 96 * mib}, "main": {300, 96 * mib}, "small": {100, 32 * mib}})
	if got := pod.Spec.Containers[0].Resources.Requests.Cpu().MilliValue(); got != 300 {
		t.Errorf("with a limit alone main asks for %dm", got)
	}
	mustMatch(t, kubectl(t, "-n", ns, "get", "events"), `Pod resize completed: \{"resources":\{"limits":\{"cpu":"600m","memory":"96Mi"\}`)

	for patch, want := range map[string]string{
		`{"spec":{"containers":[{"name":"small","resources":{"limits":{"memory":"128Mi"}}}]}}`: `spec.containers\[1\].resources.limits\[memory\]: Invalid value: "128Mi": must be less than or equal to pod limits of 96Mi`,
		`{"spec":{"containers":[{"name":"main","resources":{"requests":{"memory":"64Mi"}}}]}}`: `spec.resources.requests\[memory\]: Invalid value: "64Mi": must be greater than or equal to aggregate container requests of 96Mi`,
		`{"spec":{"resources":{"requests":{"memory":null}}}}`:                                  `spec.resources.requests: Forbidden: resource memory cannot be removed`,
		`{"spec":{"resources":{"requests":{"cpu":"600m","memory":"96Mi"}}}}`:                   `Pod QOS Class may not change`,
		`{"spec":{"resources":{"requests":{"cpu":"5000"},"limits":{"cpu":"5000"}}}}`:           `5000`,
		`{"spec":{"resources":{"limits":{"memory":"96Mi","hugepages-2Mi":"2Mi"}}}}`:            `hugepages-2Mi`,
	} {
		out, code := kubectlCode(t, "", "-n", ns, "patch", "pod", "team", "--subresource", "resize", "-p", patch)
		if code == 0 {
			t.Errorf("%s was taken", patch)
		}
		mustMatch(t, out, want)
	}
	pod = await(t, client, ns, "team", "there", ready)
	for i, id := range before {
		if st := pod.Status.ContainerStatuses[i]; st.ContainerID != id || st.RestartCount != 0 {
			t.Errorf("container %s was restarted", st.Name)
		}
	}
	if cpu, memory, err := v1alpha1.PodSize(pod); err != nil || cpu != 600 || memory != 96*mib {
		t.Errorf("it is billed for %dm and %d bytes, %v", cpu, memory, err)
	}
	if out, err := runSwell(t.Context(), shared, "resize", "team", "-n", ns, "--memory", "128Mi", "--cpu", "600m"); err == nil || !strings.Contains(out, "QOS Class") {
		t.Errorf("swell resize makes it guaranteed: %v\n%s", err, out)
	}
}

// TestResizeInitContainer: as in Kubernetes 1.37, an init container is resized while it runs.
func TestResizeInitContainer(t *testing.T) {
	ns := namespace(t)
	pod := shellPod("p", "exec sleep 100000")
	init := shell("init", "until test -f /tmp/go; do sleep 0.1; done")
	init.Resources = *pod.Spec.Containers[0].Resources.DeepCopy()
	pod.Spec.InitContainers = []corev1.Container{init}
	made := post(t, ns, pod)
	await(t, client, ns, "p", "initializing", func(p *corev1.Pod) bool {
		s := p.Status.InitContainerStatuses
		return len(s) > 0 && s[0].State.Running != nil
	})
	kubectl(t, "-n", ns, "patch", "pod", "p", "--subresource", "resize", "-p",
		`{"spec":{"initContainers":[{"name":"init","resources":{"requests":{"cpu":"300m","memory":"96Mi"},"limits":{"cpu":"300m","memory":"96Mi"}}}]}}`)
	want := size{300, 96 << 20}
	await(t, client, ns, "p", "resized", func(p *corev1.Pod) bool {
		st := &p.Status.InitContainerStatuses[0]
		return st.Resources != nil && has(st.Resources.Limits, want) && !condition(p, corev1.PodResizeInProgress)
	})
	kernelHas(t, made, map[string]size{"init": want, "": want})
	kubectl(t, "-n", ns, "exec", "p", "-c", "init", "--", "touch", "/tmp/go")
	await(t, client, ns, "p", "ready", ready)
	kernelHas(t, made, map[string]size{"main": {100, 64 << 20}})
}
