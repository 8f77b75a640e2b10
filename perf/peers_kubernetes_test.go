package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/keyutil"
)

func testKube(t *testing.T, limited bool) *kube {
	t.Helper()
	k := &kube{
		cfg:   kubeConfig{binaries: "/bin", dir: t.TempDir(), nodes: 3, limited: limited},
		ports: kubePorts{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4"},
	}
	if err := k.credentials(); err != nil {
		t.Fatal(err)
	}
	return k
}

// What kube-apiserver is told to serve with is what its clients accept, and it accepts them.
func TestCredentials(t *testing.T) {
	k := testKube(t, false)
	authority, err := os.ReadFile(k.file("ca", ".crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	serving, err := tls.LoadX509KeyPair(k.file(certServer, ".crt"), k.file(certServer, ".key"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := r.TLS.PeerCertificates[0].Subject
		fmt.Fprint(w, s.CommonName, s.Organization)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{serving}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots}
	server.StartTLS()
	defer server.Close()
	scheduler, err := clientcmd.BuildConfigFromFlags("", k.schedulerKubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	if scheduler.Host != k.rest.Host || k.rest.Host != "https://127.0.0.1:3" {
		t.Errorf("hosts %s and %s", scheduler.Host, k.rest.Host)
	}
	for want, cfg := range map[string]*rest.Config{"perf[system:masters]": k.rest, "system:kube-scheduler[]": scheduler} {
		client, err := rest.HTTPClientFor(cfg)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Get(server.URL)
		if err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		var got strings.Builder
		if err := res.Write(&got); err != nil || !strings.HasSuffix(got.String(), want) {
			t.Errorf("known as %s, want %s", got.String(), want)
		}
		res.Body.Close()
	}
	key, err := os.ReadFile(k.file(keyAccounts, ".key"))
	if err != nil {
		t.Fatal(err)
	}
	if block, _ := pem.Decode(key); block == nil {
		t.Fatal("no key")
	}
	if _, err := keyutil.ParsePrivateKeyPEM(key); err != nil {
		t.Errorf("tokens can't be signed: %v", err)
	}
	if _, err := keyutil.ParsePublicKeysPEM(key); err != nil {
		t.Errorf("tokens can't be checked: %v", err)
	}
}

func TestArguments(t *testing.T) {
	k := testKube(t, false)
	all := map[string][]string{"etcd": k.etcdArgs(), "kube-apiserver": k.apiserverArgs(), "kube-scheduler": k.schedulerArgs()}
	for program, args := range all {
		for _, a := range args {
			name, value, ok := strings.Cut(a, "=")
			if !ok || !strings.HasPrefix(name, "--") || value == "" {
				t.Errorf("%s: %s", program, a)
			}
			if strings.HasPrefix(value, k.cfg.dir) && name != "--data-dir" {
				if _, err := os.Stat(value); err != nil {
					t.Errorf("%s: %s: %v", program, a, err)
				}
			}
		}
	}
	if slices.ContainsFunc(k.etcdArgs(), func(a string) bool { return strings.Contains(a, "fsync") }) {
		t.Error("etcd has to write durably")
	}
	for _, want := range []string{"--authorization-mode=Node,RBAC", "--secure-port=3", "--etcd-servers=http://127.0.0.1:1"} {
		if !slices.Contains(k.apiserverArgs(), want) {
			t.Errorf("kube-apiserver lacks %s", want)
		}
	}
	qps := func(k *kube) bool { return slices.Contains(k.schedulerArgs(), "--kube-api-qps=5000") }
	if !qps(k) || qps(testKube(t, true)) {
		t.Error("the scheduler's limit of requests is lifted, unless it is asked to keep it")
	}
}

func TestMakeObjects(t *testing.T) {
	k := testKube(t, false)
	client := fake.NewClientset()
	missing := 2 // the namespace comes a little later
	client.PrependReactor("create", "serviceaccounts", func(clienttesting.Action) (bool, runtime.Object, error) {
		if missing--; missing >= 0 {
			return true, nil, apierrors.NewNotFound(corev1.Resource("namespaces"), metav1.NamespaceDefault)
		}
		return false, nil, nil
	})
	client.PrependReactor("create", "nodes", func(a clienttesting.Action) (bool, runtime.Object, error) {
		n := a.(clienttesting.CreateAction).GetObject().(*corev1.Node)
		n.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule}} // as admission does
		return false, nil, nil
	})
	k.client = client
	if err := k.makeObjects(t.Context()); err != nil {
		t.Fatal(err)
	}
	account, err := client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(t.Context(), "default", metav1.GetOptions{})
	if err != nil || account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken {
		t.Errorf("service account: %v, %v", account, err)
	}
	nodes, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(nodes.Items) != 3 {
		t.Fatalf("%d nodes, %v", len(nodes.Items), err)
	}
	for _, n := range nodes.Items {
		ready := slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		})
		if room := n.Status.Allocatable; !ready || len(n.Spec.Taints) > 0 || room.Cpu().Value() != 64 || room.Memory().Value() != 256<<30 || room.Pods().Value() != 1000 {
			t.Errorf("node %s: %+v %+v", n.Name, n.Spec, n.Status)
		}
	}
}

func TestMakeObjectsEndsByItsFirstError(t *testing.T) {
	k := testKube(t, false)
	k.cfg.nodes = 1000
	client := fake.NewClientset()
	client.PrependReactor("create", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(corev1.Resource("nodes"), "x", fmt.Errorf("no"))
	})
	k.client = client
	if err := k.makeObjects(t.Context()); !apierrors.IsForbidden(err) || !strings.HasPrefix(err.Error(), "node node-0") {
		t.Errorf("%v", err)
	}
}

func TestNotRunning(t *testing.T) {
	made := []created{{uid: "uid-of-a"}, {uid: "uid-of-b"}}
	for name, c := range map[string]struct {
		pods []runtime.Object
		want int
	}{
		"as answered":      {[]runtime.Object{storedPod("a", "n", corev1.PodRunning), storedPod("b", "n", corev1.PodRunning)}, 0},
		"one pending":      {[]runtime.Object{storedPod("a", "n", corev1.PodRunning), storedPod("b", "n", corev1.PodPending)}, 1},
		"one without node": {[]runtime.Object{storedPod("a", "", corev1.PodRunning), storedPod("b", "n", corev1.PodRunning)}, 1},
		"one lost":         {[]runtime.Object{storedPod("a", "n", corev1.PodRunning)}, 1},
		"one another":      {[]runtime.Object{storedPod("a", "n", corev1.PodRunning), storedPod("c", "n", corev1.PodRunning)}, 2},
	} {
		if got, err := notRunning(t.Context(), fake.NewClientset(c.pods...), made); err != nil || got != c.want {
			t.Errorf("%s: %d, %v; want %d", name, got, err, c.want)
		}
	}
}

func storedPod(name, node string, phase corev1.PodPhase) *corev1.Pod {
	p := pod(name, "100m", "64Mi")
	p.Namespace, p.UID, p.Spec.NodeName, p.Status.Phase = metav1.NamespaceDefault, types.UID("uid-of-"+name), node, phase
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}}
	return p
}

func TestCheckPrograms(t *testing.T) {
	dir := t.TempDir()
	for _, p := range kubePrograms[1:] {
		if err := os.WriteFile(filepath.Join(dir, p), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := checkPrograms(dir); err == nil || !strings.Contains(err.Error(), "make bench-peers") || !strings.Contains(err.Error(), "/etcd:") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, kubePrograms[0]), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := checkPrograms(dir); err != nil {
		t.Error(err)
	}
}

func TestDaemonThatEnds(t *testing.T) {
	d, err := startDaemon("x", "/bin/sh", t.TempDir(), "-c", "echo a flag is wrong; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	err = d.await(t.Context(), http.DefaultClient, "http://127.0.0.1:1/", time.Minute)
	if err == nil || !strings.HasPrefix(err.Error(), "x ended before it was ready: exit status 3") || !strings.HasSuffix(err.Error(), "a flag is wrong") {
		t.Errorf("%v", err)
	}
	d.stop()
}

func TestDaemon(t *testing.T) {
	if _, err := startDaemon("x", filepath.Join(t.TempDir(), "none"), t.TempDir()); err == nil || !strings.HasPrefix(err.Error(), "x: ") {
		t.Errorf("no such program: %v", err)
	}
	d, err := startDaemon("x", "/bin/sh", t.TempDir(), "-c", "exec sleep 1000")
	if err != nil {
		t.Fatal(err)
	}
	defer d.stop()
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked < 3 {
			http.Error(w, "one hook has not finished", http.StatusInternalServerError)
		}
	}))
	defer server.Close()
	if err := d.await(t.Context(), server.Client(), server.URL, time.Minute); err != nil || asked != 3 {
		t.Errorf("%v after %d", err, asked)
	}
	asked = -1000
	if err := d.await(t.Context(), server.Client(), server.URL, 150*time.Millisecond); err == nil || !strings.HasPrefix(err.Error(), "x isn't ready: context deadline exceeded") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.await(ctx, server.Client(), server.URL, time.Minute); err == nil || err.Error() != "context canceled" {
		t.Errorf("when nobody waits any more: %v", err)
	}
	d.stop()
	d.stop()
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", d.pid())); err == nil {
		t.Error("it still runs")
	}
}
