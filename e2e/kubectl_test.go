package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

const webManifest = `apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: {app: web}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: ` + busybox + `
    command: ["sh", "-c", "echo hello from $HOSTNAME; trap 'exit 0' TERM; while true; do echo tick; sleep 1; done"]
    resources:
      requests: {cpu: 100m, memory: 64Mi}
      limits: {cpu: 100m, memory: 64Mi}
`

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustMatch(t *testing.T, out, pattern string) {
	t.Helper()
	if !regexp.MustCompile(pattern).MatchString(out) {
		t.Errorf("no match for %q in:\n%s", pattern, out)
	}
}

// TestKubectl walks through the verbs with the real kubectl.
func TestKubectl(t *testing.T) {
	ns := namespace(t)
	manifest := writeFile(t, "web.yaml", webManifest)

	mustMatch(t, kubectl(t, "-n", ns, "apply", "-f", manifest), `pod/web created`)
	watch := startFollowing(t, "kubectl", "-n", ns, "get", "pods", "-w")
	mustMatch(t, kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "pod/web", "--timeout=60s"), `condition met`)
	watch.await(t, "Running")
	mustMatch(t, kubectl(t, "-n", ns, "apply", "-f", manifest), `pod/web unchanged`)

	out := kubectl(t, "-n", ns, "get", "pods", "-o", "wide")
	mustMatch(t, out, `NAME +READY +STATUS +RESTARTS +AGE +IP +NODE +NOMINATED NODE +READINESS GATES`)
	mustMatch(t, out, `web +1/1 +Running +0 +\S+ +\d+\.\d+\.\d+\.\d+ +\S+ +<none> +<none>`)
	mustMatch(t, kubectl(t, "get", "pods", "-A"), ns+` +web`)
	mustMatch(t, kubectl(t, "get", "nodes", "-o", "wide"), `Ready`)

	out = kubectl(t, "-n", ns, "describe", "pod", "web")
	mustMatch(t, out, `(?m)^Status: +Running`)
	mustMatch(t, out, `Started`) // events
	mustMatch(t, kubectl(t, "-n", ns, "get", "events"), `Started`)

	logs := startFollowing(t, "kubectl", "-n", ns, "logs", "-f", "web")
	logs.await(t, "hello from web")
	logs.await(t, "tick\ntick")
	if got := kubectl(t, "-n", ns, "logs", "web", "--tail=1"); got != "tick\n" {
		t.Errorf("logs --tail=1: %q", got)
	}
	mustMatch(t, kubectl(t, "-n", ns, "logs", "web", "--timestamps", "--tail=1"), `^\d{4}-\d\d-\d\dT.*Z tick`)

	if got := kubectl(t, "-n", ns, "exec", "web", "--", "echo", "inside"); got != "inside\n" {
		t.Errorf("exec: %q", got)
	}
	if out, code := kubectlCode(t, "", "-n", ns, "exec", "web", "--", "sh", "-c", "exit 7"); code != 7 {
		t.Errorf("exec exit 7: exit %d\n%s", code, out)
	}
	if out, code := kubectlCode(t, "through stdin", "-n", ns, "exec", "-i", "web", "--", "cat"); code != 0 || out != "through stdin" {
		t.Errorf("exec -i cat: exit %d %q", code, out)
	}

	kubectl(t, "-n", ns, "label", "pod", "web", "tier=front")
	mustMatch(t, kubectl(t, "-n", ns, "get", "pods", "-l", "tier=front", "-o", "name"), `pod/web`)
	kubectl(t, "-n", ns, "annotate", "pod", "web", "note=kept")

	mustMatch(t, kubectl(t, "-n", ns, "patch", "pod", "web", "--subresource", "resize", "-p",
		`{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"300m","memory":"96Mi"},"limits":{"cpu":"300m","memory":"96Mi"}}}]}}`), `pod/web patched`)
	kubectl(t, "-n", ns, "wait", "--for=jsonpath={.status.containerStatuses[0].resources.limits.cpu}=300m", "pod/web", "--timeout=60s")
	kubectl(t, "-n", ns, "patch", "pod", "web", "--subresource", "resize", "--type=json", "-p",
		`[{"op":"replace","path":"/spec/containers/0/resources/limits/cpu","value":"200m"},{"op":"replace","path":"/spec/containers/0/resources/requests/cpu","value":"200m"}]`)
	kubectl(t, "-n", ns, "wait", "--for=jsonpath={.status.containerStatuses[0].resources.limits.cpu}=200m", "pod/web", "--timeout=60s")
	pod := await(t, client, ns, "web", "resized without a condition left", func(p *corev1.Pod) bool {
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodResizePending || c.Type == corev1.PodResizeInProgress {
				return false
			}
		}
		return p.Status.ContainerStatuses[0].Resources.Limits.Memory().Value() == 96<<20
	})
	if pod.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("the resize restarted the container %d times", pod.Status.ContainerStatuses[0].RestartCount)
	}

	changed := writeFile(t, "web.yaml", strings.NewReplacer("{app: web}", "{app: web, colour: blue}", "100m", "200m", "64Mi", "96Mi").Replace(webManifest))
	out, code := kubectlCode(t, "", "-n", ns, "diff", "-f", changed)
	if code != 1 {
		t.Errorf("diff: exit %d\n%s", code, out)
	}
	mustMatch(t, out, `\+ +colour: blue`)
	mustMatch(t, kubectl(t, "-n", ns, "apply", "-f", changed), `pod/web configured`)

	serverSide := writeFile(t, "applied.yaml", strings.NewReplacer("name: web", "name: applied").Replace(webManifest))
	mustMatch(t, kubectl(t, "-n", ns, "apply", "--server-side", "-f", serverSide), `pod/applied serverside-applied`)
	other := writeFile(t, "other.yaml", strings.NewReplacer("name: web", "name: applied", "{app: web}", "{app: other}").Replace(webManifest))
	if out, code := kubectlCode(t, "", "-n", ns, "apply", "--server-side", "--field-manager=other", "-f", other); code == 0 || !strings.Contains(out, "conflict") {
		t.Errorf("apply of a field that another manager owns: exit %d\n%s", code, out)
	}
	mustMatch(t, kubectl(t, "-n", ns, "apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", other), `serverside-applied`)

	mustMatch(t, kubectl(t, "explain", "pod.spec.containers.resources"), `limits`)
	mustMatch(t, kubectl(t, "auth", "can-i", "create", "pods"), `yes`)
	mustMatch(t, kubectl(t, "api-resources"), `pods +po +v1`)
	mustMatch(t, kubectl(t, "-n", ns, "create", "configmap", "c", "--from-literal=a=b"), `created`)
	mustMatch(t, kubectl(t, "-n", ns, "get", "configmaps,secrets"), `configmap/c`)

	mustMatch(t, kubectl(t, "-n", ns, "delete", "pod", "web", "applied"), `deleted`)
	if out := kubectl(t, "-n", ns, "get", "pods"); !strings.Contains(out, "No resources found") {
		t.Errorf("get pods after delete:\n%s", out)
	}
}
