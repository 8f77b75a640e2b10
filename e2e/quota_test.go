package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

const boundsManifest = `apiVersion: v1
kind: LimitRange
metadata: {name: sizes}
spec:
  limits:
  - type: Container
    default: {cpu: 200m, memory: 64Mi}
    defaultRequest: {cpu: 100m, memory: 32Mi}
    min: {cpu: 50m}
    max: {cpu: 500m}
  - type: Pod
    max: {memory: 128Mi}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: compute}
spec:
  hard: {requests.cpu: 300m, limits.cpu: 900m, pods: "2", count/configmaps: "1"}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: urgent}
spec:
  hard: {pods: "0"}
  scopeSelector:
    matchExpressions:
    - {scopeName: PriorityClass, operator: In, values: [system-node-critical]}
`

// TestKubectlQuota meets a quota and a limit range with the real kubectl: at the create and at a resize.
func TestKubectlQuota(t *testing.T) {
	ns := namespace(t)
	in := func(args ...string) []string { return append([]string{"-n", ns}, args...) }
	ok := func(args ...string) string { t.Helper(); return kubectl(t, in(args...)...) }
	refused := func(stdin, want string, args ...string) {
		t.Helper()
		if out, code := kubectlCode(t, stdin, in(args...)...); code == 0 || !strings.Contains(out, want) {
			t.Errorf("kubectl %s: exit %d, want %q in\n%s", strings.Join(args, " "), code, want, out)
		}
	}
	pod := func(name, resources, more string) string {
		return strings.NewReplacer("name: web", "name: "+name, "requests: {cpu: 100m, memory: 64Mi}\n      limits: {cpu: 100m, memory: 64Mi}", resources).Replace(webManifest) + more
	}
	bounds := writeFile(t, "bounds.yaml", boundsManifest)
	mustMatch(t, ok("apply", "-f", bounds), `limitrange/sizes created\nresourcequota/compute created\nresourcequota/urgent created`)
	mustMatch(t, ok("apply", "-f", bounds), `limitrange/sizes unchanged\nresourcequota/compute unchanged`)
	refused(strings.Replace(boundsManifest, "pods: \"2\"", "services: \"2\"", 1), `spec.hard[services]: Unsupported value: "services"`, "apply", "-f", "-")
	refused(strings.Replace(boundsManifest, "type: Pod", "type: PersistentVolumeClaim", 1), `spec.limits[1].type: Unsupported value: "PersistentVolumeClaim"`, "apply", "-f", "-")
	mustMatch(t, ok("describe", "limits", "sizes"), `Container +cpu +50m +500m +100m +200m +-`)

	// A pod that names no size has that of the limit range, in the kernel too.
	sizeless := writeFile(t, "a.yaml", pod("a", "requests: {}", ""))
	mustMatch(t, ok("apply", "-f", sizeless), `pod/a created`)
	a := await(t, client, ns, "a", "ready", ready)
	if r := a.Status.ContainerStatuses[0].Resources; r.Requests.Cpu().String() != "100m" || r.Limits.Cpu().String() != "200m" || r.Limits.Memory().String() != "64Mi" {
		t.Errorf("the container has %+v", r)
	}
	if got := a.Annotations["kubernetes.io/limit-ranger"]; got != "LimitRanger plugin set: cpu, memory request for container main; cpu, memory limit for container main" {
		t.Errorf("annotation %q", got)
	}
	refused(pod("b", "requests: {cpu: 10m}", ""), `pods "b" is forbidden: minimum cpu usage per Container is 50m, but request is 10m`, "create", "-f", "-")
	refused(pod("b", "limits: {cpu: 100m, memory: 256Mi}", ""), `pods "b" is forbidden: maximum memory usage per Pod is 128Mi, but limit is 256Mi`, "create", "-f", "-")
	refused(pod("b", "limits: {cpu: 400m}", ""), `pods "b" is forbidden: exceeded quota: compute, requested: requests.cpu=400m, used: requests.cpu=100m, limited: requests.cpu=300m`, "create", "-f", "-")
	refused(pod("b", "limits: {cpu: 400m}", ""), `exceeded quota: compute`, "create", "--dry-run=server", "-f", "-")
	refused(pod("b", "requests: {}", "  priorityClassName: system-node-critical\n"), `exceeded quota: urgent, requested: pods=1, used: pods=0, limited: pods=0`, "create", "-f", "-")

	// Resizes are held to both.
	size := func(request, limit string) []string {
		return []string{"patch", "pod", "a", "--subresource", "resize", "-p", `{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"` + request + `"},"limits":{"cpu":"` + limit + `"}}}]}}`}
	}
	refused("", `pods "a" is forbidden: maximum cpu usage per Container is 500m, but limit is 600m`, size("100m", "600m")...)
	refused("", `pods "a" is forbidden: exceeded quota: compute, requested: requests.cpu=250m, used: requests.cpu=100m, limited: requests.cpu=300m`, size("350m", "400m")...)
	mustMatch(t, ok(size("250m", "400m")...), `pod/a patched`)
	mustMatch(t, ok("wait", "--for=jsonpath={.status.used.requests\\.cpu}=250m", "quota/compute", "--timeout=60s"), `condition met`)
	second := writeFile(t, "b.yaml", pod("b", "limits: {cpu: 200m}", ""))
	refused("", `requested: requests.cpu=200m, used: requests.cpu=250m, limited: requests.cpu=300m`, "create", "-f", second)
	mustMatch(t, ok(size("60m", "200m")...), `pod/a patched`)
	mustMatch(t, ok("wait", "--for=jsonpath={.status.used.limits\\.cpu}=200m", "quota/compute", "--timeout=60s"), `condition met`)
	mustMatch(t, ok("create", "-f", second), `pod/b created`)
	refused(pod("c", "requests: {cpu: 50m}", ""), `exceeded quota: compute, requested: pods=1,requests.cpu=50m, used: pods=2,requests.cpu=260m, limited: pods=2,requests.cpu=300m`, "create", "-f", "-")

	mustMatch(t, ok("create", "configmap", "one", "--from-literal=a=b"), `created`)
	refused("", `configmaps "two" is forbidden: exceeded quota: compute, requested: count/configmaps=1, used: count/configmaps=1, limited: count/configmaps=1`, "create", "configmap", "two", "--from-literal=a=b")

	// What kubectl shows.
	mustMatch(t, ok("wait", "--for=jsonpath={.status.used.pods}=2", "quota/compute", "--timeout=60s"), `condition met`)
	out := ok("get", "quota")
	mustMatch(t, out, `NAME +REQUEST +LIMIT +AGE`)
	mustMatch(t, out, `compute +count/configmaps: 1/1, pods: 2/2, requests.cpu: 260m/300m +limits.cpu: 400m/900m`)
	out = ok("describe", "quota", "compute")
	mustMatch(t, out, `requests.cpu +260m +300m`)
	mustMatch(t, out, `pods +2 +2`)
	out = kubectl(t, "describe", "ns", ns)
	mustMatch(t, out, `Resource Quotas\n +Name: +compute`)
	mustMatch(t, out, `Resource Limits`)

	// A pod that ends is counted no longer, and one that is deleted neither.
	ok("delete", "pod", "a", "b")
	mustMatch(t, ok("wait", "--for=jsonpath={.status.used.pods}=0", "quota/compute", "--timeout=60s"), `condition met`)
	ends := strings.Replace(pod("c", "limits: {cpu: 300m}", "  restartPolicy: Never\n"), "while true; do echo tick; sleep 1; done", "exit 0", 1)
	for range 2 {
		mustMatch(t, ok("create", "-f", writeFile(t, "c.yaml", ends)), `pod/c created`)
		await(t, client, ns, "c", "ended", func(p *corev1.Pod) bool { return ended(p) })
		mustMatch(t, ok("wait", "--for=jsonpath={.status.used.pods}=0", "quota/compute", "--timeout=60s"), `condition met`)
		ok("delete", "pod", "c")
	}
	ok("delete", "quota", "compute", "urgent")
	mustMatch(t, ok("create", "quota", "none", "--hard=pods=0"), `resourcequota/none created`)
	refused(pod("d", "requests: {}", ""), `exceeded quota: none`, "create", "-f", "-")
}
