package e2e

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// sleeper is a manifest of a pod that ends when it is told to.
func sleeper(name, cpu, more string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata:
  name: %s
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: %s
    command: ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 1; done"]
    resources: {limits: {cpu: "%s", memory: 64Mi}}
%s`, name, busybox, cpu, more)
}

// TestPlacement: a taint keeps a pod waiting, which describe explains; a priority makes room, which a watch shows.
func TestPlacement(t *testing.T) {
	ns := namespace(t)
	apply := func(manifest string) { kubectl(t, "-n", ns, "apply", "-f", writeFile(t, "pod.yaml", manifest)) }
	node := strings.TrimSpace(kubectl(t, "get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"))

	mustMatch(t, kubectl(t, "taint", "nodes", node, "team=a:NoSchedule"), "tainted")
	tainted := true
	untaint := func() {
		if tainted {
			tainted = false
			mustMatch(t, kubectl(t, "taint", "nodes", node, "team-"), "untainted")
		}
	}
	defer untaint()
	apply(sleeper("waits", "100m", ""))
	apply(sleeper("tolerates", "100m", "  tolerations: [{key: team, operator: Exists}]\n"))
	kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "pod/tolerates", "--timeout=60s")
	const why = `0/1 nodes are available: 1 node(s) had untolerated taint {team: a}.`
	kubectl(t, "-n", ns, "wait", "--for=create", "events", "--field-selector=reason=FailedScheduling", "--timeout=60s")
	out := kubectl(t, "-n", ns, "describe", "pod", "waits")
	for _, want := range []string{"PodScheduled", "False", "FailedScheduling", why} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	untaint()
	kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "pod/waits", "--timeout=60s")

	kubectl(t, "create", "priorityclass", ns, "--value=1000")
	defer kubectl(t, "delete", "priorityclass", ns)
	apply(sleeper("lesser", "12", ""))
	kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "pod/lesser", "--timeout=60s")
	watch := startFollowing(t, "kubectl", "-n", ns, "get", "pods", "-w")
	watch.await(t, "lesser")
	apply(sleeper("vip", "12", "  priorityClassName: "+ns+"\n"))
	vip := await(t, client, ns, "vip", "to run in the room of the lesser one", ready)
	watch.await(t, "Terminating")
	if vip.Spec.Priority == nil || *vip.Spec.Priority != 1000 || vip.Status.NominatedNodeName != "" {
		t.Errorf("%+v", vip)
	}
	awaitGone(t, client, ns, "lesser")
	out = kubectl(t, "-n", ns, "get", "events", "--field-selector=reason=Preempted")
	if !strings.Contains(out, "Preempted by pod "+ns+"/vip on node "+node) {
		t.Errorf("no event of the preemption:\n%s", out)
	}
	if got, err := client.CoreV1().Pods(ns).Get(t.Context(), "tolerates", metav1.GetOptions{}); err != nil || got.Status.Phase != corev1.PodRunning {
		t.Errorf("a pod that needn't go: %+v, %v", got, err)
	}
}
