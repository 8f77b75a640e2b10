package apiserver

import (
	"bytes"
	"context"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// missing names a capability of the machine that a test needs.
type missing struct{ what string }

func (m missing) Error() string { return "missing: " + m.what }

type kubectl struct {
	t         *testing.T
	path, dir string
}

func (h *harness) kubectl() *kubectl {
	path, err := exec.LookPath("kubectl")
	if err != nil {
		h.t.Skip(missing{"kubectl on the PATH"})
	}
	k := &kubectl{t: h.t, path: path, dir: h.t.TempDir()}
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters["c"] = &clientcmdapi.Cluster{Server: h.http.URL,
		CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.http.Certificate().Raw})}
	cfg.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: "admin"}
	cfg.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	cfg.CurrentContext = "x"
	if err := clientcmd.WriteToFile(*cfg, filepath.Join(k.dir, "kubeconfig")); err != nil {
		h.t.Fatal(err)
	}
	return k
}

// run answers standard output and error together.
func (k *kubectl) run(stdin string, args ...string) (string, error) {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*deadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, k.path, append([]string{"--kubeconfig", filepath.Join(k.dir, "kubeconfig")}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+k.dir, "KUBECTL_EXTERNAL_DIFF=diff -u")
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// must runs a command that is to succeed and to say each of want.
func (k *kubectl) must(stdin string, args []string, want ...string) string {
	k.t.Helper()
	out, err := k.run(stdin, args...)
	if err != nil {
		k.t.Errorf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	for _, w := range want {
		if !strings.Contains(out, w) {
			k.t.Errorf("kubectl %s: no %q in\n%s", strings.Join(args, " "), w, out)
		}
	}
	return out
}

const podManifest = `apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: {app: web}
spec:
  containers:
  - name: c
    image: example.com/app:1
    resources:
      limits: {cpu: 500m, memory: 256Mi}
`

func TestKubectl(t *testing.T) {
	h := start(t)
	k := h.kubectl()
	args := func(s string) []string { return strings.Fields(s) }

	k.must("", args("version"), "Server Version: v1.37")
	k.must("", args("api-resources"), "pods", "po", "Bill", "configmaps")
	k.must(podManifest, args("apply -f -"), "pod/web created")
	k.must(podManifest, args("apply -f -"), "pod/web unchanged")
	k.must(strings.Replace(podManifest, "app:1", "app:2", 1), args("apply -f -"), "pod/web configured")
	k.must("", args("get pods"), "NAME", "READY", "STATUS", "RESTARTS", "web", "0/1", "Pending")
	h.store.observe("default", "web", func(p *corev1.Pod) {
		p.Status.Phase, p.Status.PodIP, p.Status.PodIPs = corev1.PodRunning, "192.0.2.7", []corev1.PodIP{{IP: "192.0.2.7"}}
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue})
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	})
	k.must("", args("get pods -o wide"), "1/1", "Running", "192.0.2.7", "n1")
	k.must("", args("get all"), "web")
	k.must("", args("get po web -o yaml"), "nodeName: n1", "kind: Pod")
	k.must("", args("get pods -A -l app=web --field-selector status.phase=Running -o name"), "pod/web")
	k.must("", args("describe pod web"), "Name:", "web", "Node:", "n1", "QoS Class:", "Guaranteed")
	k.must("", args("explain pod.spec.containers.resources"), "limits", "requests")
	k.must("", args("label pod web tier=front"), "pod/web labeled")
	k.must("", args("annotate pod web note=x"), "pod/web annotated")
	k.must("", args("set image pod/web c=example.com/app:3"), "image updated")
	k.must("", args("wait --for=condition=Ready pod/web --timeout=10s"), "condition met")
	out, err := k.run(strings.Replace(podManifest, "app:1", "app:4", 1), args("diff -f -")...)
	if code, ok := err.(*exec.ExitError); !ok || code.ExitCode() != 1 || !strings.Contains(out, "+  - image: example.com/app:4") {
		t.Errorf("diff: %v\n%s", err, out)
	}
	k.must("", append(args("patch pod web --subresource resize -p"), `{"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"1"},"limits":{"cpu":"1"}}}]}}`), "pod/web patched")
	k.must("", append(args("patch pod web --subresource resize --type=json -p"), `[{"op":"replace","path":"/spec/containers/0/resources/limits/memory","value":"512Mi"},{"op":"replace","path":"/spec/containers/0/resources/requests/memory","value":"512Mi"}]`), "pod/web patched")
	k.must("", append(args("get pod web -o"), "jsonpath={.spec.containers[0].resources.limits}"), `"cpu":"1"`, `"memory":"512Mi"`)
	k.must("", args("logs web"), "log of web")
	k.must("", args("top pod web"), "250m", "64Mi")
	k.must("", args("top node"), "n1", "250m")
	k.must("", args("auth can-i create pods"), "yes")
	k.must("", args("auth whoami"), "admin")
	k.must("", args("auth can-i --list"), "pods/resize")
	k.must("", args("get bills"), "SEGMENTS", "61.500", "0.001234")
	k.must("", args("get nodes -o wide"), "Ready", "192.0.2.1")
	k.must("", args("cordon n1"), "node/n1 cordoned")
	k.must("", args("get nodes"), "Ready,SchedulingDisabled")
	k.must("", args("create configmap settings --from-literal=a=1"), "configmap/settings created")
	k.must("", args("create secret generic hidden --from-literal=a=1"), "secret/hidden created")
	k.must("", args("get cm,secrets"), "settings", "Opaque")
	k.must("", args("get events"), "No resources found")

	server := strings.Replace(podManifest, "name: web", "name: applied", 1)
	k.must(server, args("apply --server-side -f -"), "pod/applied serverside-applied")
	k.must(server, args("apply --server-side -f - --dry-run=server"), "serverside-applied (server dry run)")
	if out, err := k.run(strings.Replace(server, "app:1", "app:5", 1), args("apply --server-side --field-manager=other -f -")...); err == nil || !strings.Contains(out, "conflict") {
		t.Errorf("no conflict: %v\n%s", err, out)
	}
	if out, err := k.run(strings.Replace(server, "image:", "imagine:", 1), args("apply -f -")...); err == nil || !strings.Contains(out, `unknown field "spec.containers[0].imagine"`) {
		t.Errorf("unknown field: %v\n%s", err, out)
	}
	k.must("", args("delete pod applied --grace-period=0 --force"), "force deleted")
	k.must("", args("delete pod web --wait=false"), `pod "web" deleted`)
	k.must("", args("get pods"), "Terminating")
	h.store.drop(podKey{Resource: "pods", Namespace: "default", Name: "web"})
	k.must("", args("create namespace scratch"), "namespace/scratch created")
	k.must(podManifest, args("-n scratch create -f -"), "pod/web created")
	k.must("", args("delete namespace scratch --wait=false"), `namespace "scratch" deleted`)
	h.eventually("the pod to be told", func() bool {
		o, ok := h.store.Get(podKey{Resource: "pods", Namespace: "scratch", Name: "web"})
		return ok && o.GetDeletionTimestamp() != nil
	})
	h.store.drop(podKey{Resource: "pods", Namespace: "scratch", Name: "web"})
	h.eventually("the namespace to go", func() bool {
		_, ok := h.store.Get(podKey{Resource: "namespaces", Name: "scratch"})
		return !ok
	})
}
