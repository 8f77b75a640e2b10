package client

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
)

func deleteOptions(t *testing.T, body []byte) *metav1.DeleteOptions {
	t.Helper()
	obj, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return obj.(*metav1.DeleteOptions)
}

func TestRmWaits(t *testing.T) {
	f := newFakeAPI(t)
	f.set("pods", runningPod("web", "app"))
	f.set("pods", runningPod("db", "app"))
	release := make(chan struct{})
	f.deleted = func(pod *corev1.Pod) {
		now := metav1.Now()
		f.update(pod.Name, func(p *corev1.Pod) { p.DeletionTimestamp = &now })
		<-release
		f.drop("pods", "default", pod.Name)
		if pod.Name == "web" { // another of that name doesn't prolong the wait
			again := runningPod("web", "app")
			again.UID = "another"
			f.set("pods", again)
		}
	}
	c := f.start("rm", "pod/web", "db", "--grace-period", "7")
	select {
	case line := <-c.lines:
		t.Errorf("printed %q while the pods are there", line)
	case err := <-c.done:
		t.Errorf("ended with %v while the pods are there", err)
	case release <- struct{}{}:
	}
	close(release)
	c.line("pod/web removed")
	c.line("pod/db removed")
	if err := <-c.done; err != nil {
		t.Error(err)
	}
	if got := *deleteOptions(t, f.body("DELETE /api/v1/namespaces/default/pods/db")).GracePeriodSeconds; got != 7 {
		t.Errorf("grace period %d", got)
	}
}

func TestRm(t *testing.T) {
	f := newFakeAPI(t)
	for _, name := range []string{"a", "b", "c"} {
		f.set("pods", runningPod(name, "app"))
	}
	r := f.run("rm", "absent", "a", "gone", "--force")
	r.wantError(t, `pods "absent" not found`)
	r.wantError(t, `pods "gone" not found`)
	if r.stdout != "pod/a removed\n" || f.pod("a") != nil {
		t.Errorf("the pod that is there: %q", r.stdout)
	}
	if got := *deleteOptions(t, f.body("DELETE /api/v1/namespaces/default/pods/a")).GracePeriodSeconds; got != 0 {
		t.Errorf("grace period %d", got)
	}
	if r := f.mustRun("rm", "b", "--wait=false"); r.stdout != "pod/b is being removed\n" {
		t.Errorf("printed %q", r.stdout)
	}
	if got := deleteOptions(t, f.body("DELETE /api/v1/namespaces/default/pods/b")).GracePeriodSeconds; got != nil {
		t.Errorf("grace period %d", *got)
	}
	f.mustRun("rm", "absent", "--ignore-not-found")
	f.deleted = func(*corev1.Pod) {} // a node that doesn't come to it
	f.run("rm", "c", "--timeout", "1s").wantError(t, "pod c: not gone within 1s; it goes on")
}

func TestNodes(t *testing.T) {
	f := newFakeAPI(t)
	if r := f.mustRun("nodes"); !strings.HasPrefix(r.stderr, "no nodes;") {
		t.Errorf("without nodes: %+v", r)
	}
	for i, ready := range []corev1.ConditionStatus{corev1.ConditionTrue, corev1.ConditionFalse} {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: []string{"n1", "n2"}[i], CreationTimestamp: metav1.NewTime(testNow.AddDate(0, 0, -9))}}
		node.Status = corev1.NodeStatus{
			Allocatable: resources("16", "60Gi").Limits,
			Conditions:  []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}},
			Addresses:   []corev1.NodeAddress{{Address: "192.0.2.7"}},
			NodeInfo:    corev1.NodeSystemInfo{KubeletVersion: "v0.1.0", OSImage: "Debian 13", KernelVersion: "6.12", ContainerRuntimeVersion: "containerd://2.4.2"},
		}
		f.set("nodes", node)
	}
	if r := f.mustRun("nodes", "cordon", "n1", "node/n2"); r.stdout != "node/n1 cordoned\nnode/n2 cordoned\n" {
		t.Errorf("printed %q", r.stdout)
	}
	f.mustRun("nodes", "uncordon", "n2")
	golden(t, "nodes.golden", f.mustRun("nodes").stdout)
	golden(t, "nodes-wide.golden", f.mustRun("nodes", "-o", "wide").stdout)
	if r := f.mustRun("nodes", "-o", "name"); r.stdout != "node/n1\nnode/n2\n" {
		t.Errorf("printed %q", r.stdout)
	}
	f.run("nodes", "cordon", "n3").wantError(t, "nodes \"n3\" not found; `swell nodes` lists the nodes")
}

func TestToken(t *testing.T) {
	f := newFakeAPI(t)
	f.group("POST /jointokens", func(w http.ResponseWriter, r *http.Request) {
		var got map[string]any
		if err := json.Unmarshal(f.body("POST "+r.URL.Path), &got); err != nil {
			t.Error(err)
		}
		if spec := got["spec"].(map[string]any); got["kind"] != "JoinToken" || spec["ttlSeconds"] != 600.0 {
			t.Errorf("sent %v", got)
		}
		answer(w, 201, map[string]any{"kind": "JoinToken", "status": map[string]string{
			"token": "abc.def", "expirationTimestamp": "2026-03-01T12:10:00Z", "caHash": "sha256:77"}})
	})
	if r := f.mustRun("nodes", "token", "--ttl", "10m"); r.stdout != "token:   abc.def\nCA hash: sha256:77\nexpires: 2026-03-01T12:10:00Z\n" {
		t.Errorf("printed %q", r.stdout)
	}
	if r := f.mustRun("nodes", "token", "--ttl", "10m", "-q"); r.stdout != "abc.def\n" {
		t.Errorf("printed %q", r.stdout)
	}
}

func TestTokenRefused(t *testing.T) {
	f := newFakeAPI(t)
	f.group("POST /jointokens", func(w http.ResponseWriter, _ *http.Request) { refuse(w, errors.New("no etcd")) })
	f.run("nodes", "token").wantError(t, "no etcd")
}
