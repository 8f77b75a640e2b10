package apiserver

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// deadline bounds every wait of a test.
const deadline = 20 * time.Second

type harness struct {
	t      *testing.T
	store  *memoryStore
	ledger *memoryLedger
	server *Server
	http   *httptest.Server
	logged *bytes.Buffer
}

// start serves an API over TLS with one node, n1, of 4 CPU and 8 GiB.
func start(t *testing.T, change ...func(*Config)) *harness {
	t.Helper()
	h := &harness{t: t, store: newMemoryStore(), logged: &bytes.Buffer{}}
	h.ledger = newMemoryLedger("n1", controlplane.Demand{CPUMilli: 4000, MemoryBytes: 8 << 30})
	cfg := Config{
		Store: h.store, Scheduler: h.ledger, Version: "test",
		Admission: Admission{Default: testDefault, Validate: testValidate, ValidateUpdate: testValidateUpdate, ValidateResize: testValidateResize, DefaultResize: func(next, old *corev1.Pod) {}},
		Streams:   Streams{Log: testStream("log"), Exec: testStream("exec"), PortForward: testStream("portforward")},
		Bills:     testBills,
		Usage: func() []*nodev1.PodUsage {
			pods, _ := h.store.List("pods", "")
			var out []*nodev1.PodUsage
			for _, p := range pods {
				out = append(out, &nodev1.PodUsage{Uid: string(p.GetUID()), Namespace: p.GetNamespace(), Name: p.GetName(),
					TimeUnixNano: time.Now().UnixNano(), WindowNanos: int64(10 * time.Second),
					Containers: []*nodev1.ContainerUsage{{Name: "c", CpuNanocores: 250_000_000, MemoryWorkingSetBytes: 64 << 20}}})
			}
			return out
		},
		ImportImage: func(_ context.Context, _ string, archive io.Reader) ([]string, error) {
			n, err := io.Copy(io.Discard, archive)
			return []string{fmt.Sprintf("example.com/archive:%d", n)}, err
		},
		ListImages:   func(context.Context, string) ([]byte, error) { return []byte(`[{"ref":"example.com/a:1"}]`), nil },
		Authenticate: testAuthenticate,
		Authorize: func(u controlplane.User, a controlplane.Attributes) (bool, string) {
			return u.Name == "admin" || a.Verb == "get" || a.Path != "" || a.Group == "authorization.k8s.io", ""
		},
		Log: slog.New(slog.NewTextHandler(h.logged, nil)),
	}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	if h.server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	h.store.put(controlplane.Key{Resource: "nodes", Name: "n1"}, testNode())

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.server.Run(ctx) }()
	h.http = httptest.NewUnstartedServer(h.server.Handler())
	h.http.EnableHTTP2 = true
	h.http.StartTLS()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		h.http.Close()
	})
	h.eventually("the default namespaces", func() bool {
		list, _ := h.store.List("namespaces", "")
		return len(list) == len(permanentNamespaces)
	})
	return h
}

// eventually waits for a condition that changes with the store, by its events.
func (h *harness) eventually(what string, ok func() bool) {
	h.t.Helper()
	end := time.After(deadline)
	for {
		h.store.mu.Lock()
		version := h.store.version
		h.store.mu.Unlock()
		if ok() {
			return
		}
		for _, resource := range []string{"namespaces", "pods"} {
			sub, err := h.store.Watch(resource, "", version)
			if err != nil {
				continue
			}
			defer sub.Stop()
			select {
			case <-sub.Events:
			case <-time.After(20 * time.Millisecond): // look at the other resource
			case <-end:
				h.t.Fatalf("%s: not within %s", what, deadline)
			}
		}
		select {
		case <-end:
			h.t.Fatalf("%s: not within %s", what, deadline)
		default:
		}
	}
}

func (h *harness) rest() *rest.Config {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.http.Certificate().Raw})
	return &rest.Config{Host: h.http.URL, BearerToken: "admin", TLSClientConfig: rest.TLSClientConfig{CAData: ca}, QPS: -1}
}

func (h *harness) client() *kubernetes.Clientset {
	c, err := kubernetes.NewForConfig(h.rest())
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

// answer is what came back to do.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

func (a answer) status(t *testing.T) metav1.Status {
	t.Helper()
	var st metav1.Status
	if err := yaml.Unmarshal(a.body, &st); err != nil || st.Kind != "Status" {
		t.Fatalf("not a Status (%d): %s", a.code, a.body)
	}
	return st
}

func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
}

// do sends one request as admin; headers come in pairs.
func (h *harness) do(method, path, body string, headers ...string) answer {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, h.http.URL+path, bytes.NewReader([]byte(body)))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer admin")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := h.http.Client().Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer{code: resp.StatusCode, header: resp.Header, body: data}
}

func testNode() *corev1.Node {
	size := corev1.ResourceList{
		corev1.ResourceCPU: quantity.MustParse("4"), corev1.ResourceMemory: quantity.MustParse("8Gi"), corev1.ResourcePods: quantity.MustParse("100"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "node-1", CreationTimestamp: metav1.Now().Rfc3339Copy(), Labels: map[string]string{"zone": "a"}},
		Status: corev1.NodeStatus{Capacity: size, Allocatable: size,
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
			Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}}},
	}
}

func testPod(name string) *corev1.Pod {
	size := corev1.ResourceList{corev1.ResourceCPU: quantity.MustParse("500m"), corev1.ResourceMemory: quantity.MustParse("256Mi")}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "c", Image: "example.com/app:1", Resources: corev1.ResourceRequirements{Requests: size, Limits: size},
		}}},
	}
}

func testDefault(p *corev1.Pod) {
	if p.Spec.RestartPolicy == "" {
		p.Spec.RestartPolicy = corev1.RestartPolicyAlways
	}
	if p.Spec.TerminationGracePeriodSeconds == nil {
		thirty := int64(30)
		p.Spec.TerminationGracePeriodSeconds = &thirty
	}
	for i := range p.Spec.Containers {
		c := &p.Spec.Containers[i]
		for name, limit := range c.Resources.Limits {
			if _, ok := c.Resources.Requests[name]; !ok {
				if c.Resources.Requests == nil {
					c.Resources.Requests = corev1.ResourceList{}
				}
				c.Resources.Requests[name] = limit
			}
		}
	}
}

func testValidate(p *corev1.Pod) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("spec", "containers")
	if len(p.Spec.Containers) == 0 {
		errs = append(errs, field.Required(path, ""))
	}
	for i, c := range p.Spec.Containers {
		if c.Image == "" {
			errs = append(errs, field.Required(path.Index(i).Child("image"), ""))
		}
		for name, q := range c.Resources.Limits {
			if q.Sign() < 0 {
				errs = append(errs, field.Invalid(path.Index(i).Child("resources", "limits").Key(string(name)), q.String(), "must be greater than or equal to 0"))
			}
		}
	}
	return errs
}

func testValidateUpdate(next, old *corev1.Pod) field.ErrorList {
	n := next.Spec.DeepCopy()
	for i := range n.Containers {
		if i < len(old.Spec.Containers) {
			n.Containers[i].Image = old.Spec.Containers[i].Image
		}
	}
	if !equality.Semantic.DeepEqual(*n, old.Spec) {
		return field.ErrorList{field.Forbidden(field.NewPath("spec"), "pod updates may not change fields other than `spec.containers[*].image`")}
	}
	return nil
}

func testValidateResize(next, _ *corev1.Pod) field.ErrorList { return testValidate(next) }

func testStream(name string) func(http.ResponseWriter, *http.Request, *corev1.Pod) {
	return func(w http.ResponseWriter, _ *http.Request, p *corev1.Pod) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = fmt.Fprintf(w, "%s of %s\n", name, p.Name)
	}
}

func testBills(_ context.Context, namespace, name string) ([]v1alpha1.Bill, error) {
	all := []v1alpha1.Bill{
		{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a", UID: "u1"}, Currency: "USD", Lines: []v1alpha1.BillLine{},
			Total: v1alpha1.BillTotal{Milliseconds: 61_500, VCPUMilliseconds: 30_750, GiBMilliseconds: 15_375, Cost: "0.0012344999"}},
		{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "b", UID: "u2"}, Currency: "USD", Lines: []v1alpha1.BillLine{}},
	}
	var out []v1alpha1.Bill
	for _, b := range all {
		if (namespace == "" || b.Namespace == namespace) && (name == "" || b.Name == name) {
			out = append(out, b)
		}
	}
	return out, nil
}

func testAuthenticate(r *http.Request) (controlplane.User, error) {
	switch r.Header.Get("Authorization") {
	case "Bearer admin":
		return controlplane.User{Name: "admin", UID: "1", Groups: []string{"system:masters"}}, nil
	case "Bearer reader":
		return controlplane.User{Name: "reader"}, nil
	}
	return controlplane.User{}, errors.New("no credentials")
}

func resizeQuantity(milli int64) quantity.Quantity {
	return *quantity.NewMilliQuantity(milli, quantity.DecimalSI)
}
