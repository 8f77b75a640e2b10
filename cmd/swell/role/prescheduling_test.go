package role

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/internal/bootclock"
	"swell.dev/swell/internal/pki"
	"swell.dev/swell/nodelet"
	"swell.dev/swell/nodelet/journal"
	"swell.dev/swell/nodelet/session"
	"swell.dev/swell/nodelet/sim"
)

// slotSystem is the control plane and the real nodelet, session and journal over gRPC, on a simulated host.
type slotSystem struct {
	t       *testing.T
	path    string
	cfg     controlPlaneConfig
	control *controlPlane
	client  *kubernetes.Clientset
	nodelet *nodelet.Nodelet
	host    *sim.Host
}

func startSlotSystem(t *testing.T) *slotSystem {
	y := &slotSystem{t: t, path: t.TempDir(), cfg: controlPlaneConfig{
		Listen: "127.0.0.1:0", NodeListen: "127.0.0.1:0",
		Prescheduling: preschedulingConfig{Mode: preschedulingPolicyOnly, Interval: 50 * time.Millisecond, Day: time.Hour},
	}}
	y.startControl()
	t.Cleanup(func() { y.stopControl() })
	y.cfg.NodeListen = y.control.nodeAddr // for the next start
	y.join(t.TempDir())
	return y
}

func (y *slotSystem) startControl() {
	y.t.Helper()
	dir, err := openDataDir(y.path)
	if err != nil {
		y.t.Fatal(err)
	}
	if y.control, err = startControlPlane(y.t.Context(), dir, y.cfg, "test", slog.New(slog.NewTextHandler(io.Discard, nil))); err != nil {
		y.t.Fatal(err)
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", y.control.kubeconfig())
	if err != nil {
		y.t.Fatal(err)
	}
	cfg.QPS = -1
	if y.client, err = kubernetes.NewForConfig(cfg); err != nil {
		y.t.Fatal(err)
	}
}

func (y *slotSystem) stopControl() {
	if y.control == nil {
		return
	}
	if err := y.control.close(); err != nil {
		y.t.Error(err)
	}
	y.control.dir.close()
	y.control = nil
}

func (y *slotSystem) join(dir string) {
	y.t.Helper()
	ca, err := pki.Open(filepath.Join(y.path, "pki"))
	if err != nil {
		y.t.Fatal(err)
	}
	csr, key, err := pki.NewRequest("n1")
	if err != nil {
		y.t.Fatal(err)
	}
	cert, _, err := ca.SignNode(csr, "n1")
	if err != nil {
		y.t.Fatal(err)
	}
	block, _ := pem.Decode(cert)
	y.host = sim.NewHost(sim.Config{Script: func(nodelet.Container) sim.Script { return sim.Script{Forever: true} }})
	runtime := y.host.Runtime()
	j, err := journal.Open(filepath.Join(dir, "journal"), bootclock.Host())
	if err != nil {
		y.t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	if y.nodelet, err = nodelet.New(nodelet.Config{
		NodeName: "n1", HostIP: "127.0.0.1", DataDir: dir, Runtime: runtime, Images: y.host.Images(),
		Network: &sim.Network{}, Volumes: &sim.Volumes{}, Cgroups: &sim.Cgroups{}, Journal: j, Logger: quiet,
		ClusterDNS: []string{"127.0.0.1"}, MemoryCapacity: 8 << 30, CPUCapacity: 8000,
	}); err != nil {
		y.t.Fatal(err)
	}
	if err := y.nodelet.Start(y.t.Context()); err != nil {
		y.t.Fatal(err)
	}
	room := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("8"), corev1.ResourceMemory: resource.MustParse("8Gi"), corev1.ResourcePods: resource.MustParse("100")}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Status: corev1.NodeStatus{Capacity: room, Allocatable: room}}
	s, err := session.New(session.Config{
		Address: y.control.nodeAddr, Node: func() *corev1.Node { return node }, Pods: y.nodelet, Journal: j, Version: "test", Log: quiet,
		TLS:   &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{{Certificate: [][]byte{block.Bytes}, PrivateKey: key}}},
		Serve: func(context.Context, *nodev1.Open, session.Stream) error { return errors.New("no streams") },
	})
	if err != nil {
		y.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	y.t.Cleanup(func() {
		cancel()
		<-done
		if err := errors.Join(y.nodelet.Close(), j.Close(), runtime.Close()); err != nil {
			y.t.Error(err)
		}
	})
}

// until looks again and again at what has no event to wait for.
func (y *slotSystem) until(what string, cond func() bool) {
	y.t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	end := time.After(time.Minute)
	for !cond() {
		select {
		case <-look.C:
		case <-end:
			y.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// slots are the UIDs of those that the host has made ready all the way.
func (y *slotSystem) slots() (uids []string) {
	for _, s := range y.nodelet.Slots() {
		if s.Depth == nodelet.SlotContainer {
			uids = append(uids, s.UID)
		}
	}
	return uids
}

func (y *slotSystem) policy(method, spec string) {
	y.t.Helper()
	c := y.client.CoreV1().RESTClient()
	r := c.Post().AbsPath("/apis/swell.dev/v1alpha1/namespaces/default/slotpolicies")
	if method == "DELETE" {
		r = c.Delete().AbsPath("/apis/swell.dev/v1alpha1/namespaces/default/slotpolicies/pool")
	}
	body := `{"apiVersion":"swell.dev/v1alpha1","kind":"SlotPolicy","metadata":{"name":"pool"},"spec":` + spec + `}`
	if method == "DELETE" {
		body = "{}"
	}
	if err := r.SetHeader("Content-Type", "application/json").Body([]byte(body)).Do(y.t.Context()).Error(); err != nil {
		y.t.Fatal(err)
	}
}

func slotPodOf(namespace, name string) *corev1.Pod {
	size := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("64Mi")}
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: corev1.PodSpec{Containers: []corev1.Container{{
		Name: "c", Image: "example.com/cart:v1", Env: []corev1.EnvVar{{Name: "NAME", Value: name}},
		Resources: corev1.ResourceRequirements{Limits: size, Requests: size},
	}}}}
}

// TestSlotsEndToEnd goes from a policy to a pod that runs in a slot, on the real control plane, over the real
// protocol, to the real nodelet.
func TestSlotsEndToEnd(t *testing.T) {
	y := startSlotSystem(t)
	create := func(namespace, name string) *corev1.Pod {
		t.Helper()
		p, err := y.client.CoreV1().Pods(namespace).Create(t.Context(), slotPodOf(namespace, name), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	running := func(p *corev1.Pod) {
		t.Helper()
		y.until(p.Name+" runs", func() bool {
			got, err := y.client.CoreV1().Pods(p.Namespace).Get(t.Context(), p.Name, metav1.GetOptions{})
			return err == nil && got.UID == p.UID && got.Status.Phase == corev1.PodRunning
		})
	}
	y.policy("POST", `{"min":2,"max":2,"template":{"spec":{"containers":[{"name":"c","image":"example.com/cart:v1","resources":{"limits":{"cpu":"100m","memory":"64Mi"}}}]}}}`)
	y.until("two slots", func() bool { return len(y.slots()) == 2 })

	// A tenant's pod takes the tenant's slot, whatever its name and environment.
	before := y.slots()
	p := create("default", "cart-1")
	if !slices.Contains(before, string(p.UID)) || p.Spec.NodeName != "n1" {
		t.Errorf("the pod is %s on %q, the slots were %v", p.UID, p.Spec.NodeName, before)
	}
	running(p)
	y.until("two slots again, without the pod's", func() bool { return len(y.slots()) == 2 && !slices.Contains(y.slots(), string(p.UID)) })

	// Another tenant's doesn't, though it is the same.
	if _, err := y.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bank"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	before = y.slots()
	if other := create("bank", "cart-1"); slices.Contains(before, string(other.UID)) {
		t.Error("another tenant's pod got a slot")
	} else {
		running(other)
	}

	// What is counted can be seen.
	raw, err := y.client.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`swell_slot_hits_total{depth="Container",namespace="default"} 1`, `swell_slot_misses_total{namespace="bank"} 1`,
		`swell_slots{depth="Container",state="ready"} 2`, `swell_slot_idle_seconds_total{namespace="default"}`, "swell_forecast_error",
	} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	y.until("the policy's status", func() bool {
		raw, err := y.client.CoreV1().RESTClient().Get().AbsPath("/apis/swell.dev/v1alpha1/namespaces/default/slotpolicies/pool").DoRaw(t.Context())
		return err == nil && strings.Contains(string(raw), `"hits":1`) && strings.Contains(string(raw), `"container":2`)
	})

	// A control plane that starts again knows no slots: the host drops those that it has, and makes new ones.
	old := y.slots()
	y.stopControl()
	y.startControl()
	y.until("two slots, none of them old", func() bool {
		now := y.slots()
		return len(now) == 2 && !slices.ContainsFunc(now, func(uid string) bool { return slices.Contains(old, uid) })
	})
	running(p) // as before

	// They go with the policy; the pods stay.
	y.policy("DELETE", "")
	y.until("no slots", func() bool { return len(y.nodelet.Slots()) == 0 })
	running(p)
}
