package role

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"swell.dev/swell/controlplane"
	"swell.dev/swell/controlplane/admission"
	"swell.dev/swell/controlplane/nodes"
)

// What the fleet of the benchmark looks like.
const (
	fleetTemplates   = 20
	fleetPodsPerNode = 100
)

// BenchmarkFootprint fills a control plane with running pods, as creates and nodelets leave them, and
// reports what each costs of the heap, and how long the control plane takes to serve again after a restart.
// SWELL_HEAP_PROFILE names a file for where the heap went.
//
//	go test ./cmd/swell/role -run '^$' -bench Footprint/pods=100000 -benchtime 1x
func BenchmarkFootprint(b *testing.B) {
	for _, pods := range []int{10_000, 100_000, 500_000} {
		b.Run(fmt.Sprintf("pods=%d", pods), func(b *testing.B) {
			for range b.N {
				footprint(b, pods)
			}
		})
	}
}

func footprint(b *testing.B, pods int) {
	path := b.TempDir()
	c := startBench(b, path)
	empty := liveHeap()
	fillFleet(b, c, pods)
	settle(b, c)
	b.ReportMetric(float64(liveHeap()-empty)/float64(pods), "heap-B/pod")
	if file := os.Getenv("SWELL_HEAP_PROFILE"); file != "" {
		f, err := os.Create(file)
		if err != nil {
			b.Fatal(err)
		}
		if err := pprof.WriteHeapProfile(f); err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
	stopBench(b, c)
	c = nil
	runtime.GC()

	began, cpu := time.Now(), cpuTime()
	c = startBench(b, path)
	b.ReportMetric(time.Since(began).Seconds(), "restart-s")
	b.ReportMetric((cpuTime() - cpu).Seconds(), "restart-cpu-s")
	b.ReportMetric(float64(liveHeap()-empty)/float64(pods), "restarted-B/pod")
	if items, _ := c.store.Items("pods", ""); items.Len() != pods {
		b.Fatalf("%d pods after the restart", items.Len())
	}
	stopBench(b, c)
}

// settle waits until what is packed in the background has been.
func settle(b *testing.B, c *controlPlane) {
	look := time.NewTicker(6 * time.Second) // longer than what is left alone needs to be packed
	defer look.Stop()
	deadline := time.Now().Add(2 * time.Minute)
	last := int64(0)
	for now := range look.C {
		heap := liveHeap()
		if last > 0 && heap > last-last/100 || now.After(deadline) {
			return
		}
		last = heap
	}
}

func liveHeap() int64 {
	runtime.GC()
	runtime.GC() // the first frees what finalizers held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// startBench returns when the REST API answers.
func startBench(b *testing.B, path string) *controlPlane {
	dir, err := openDataDir(path)
	if err != nil {
		b.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	c, err := startControlPlane(context.Background(), dir, controlPlaneConfig{Listen: "127.0.0.1:0", NodeListen: "127.0.0.1:0"}, "bench", log)
	if err != nil {
		b.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	resp, err := client.Get("https://" + c.apiAddr + "/readyz")
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Fatal(resp, err)
	}
	resp.Body.Close()
	return c
}

func stopBench(b *testing.B, c *controlPlane) {
	if err := c.close(); err != nil {
		b.Fatal(err)
	}
	c.dir.close()
}

// fillFleet creates the pods as the API does and tells them to be running as the hub does.
func fillFleet(b *testing.B, c *controlPlane, pods int) {
	for n := range (pods + fleetPodsPerNode - 1) / fleetPodsPerNode {
		name := fmt.Sprintf("node-%04d", n)
		host := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("64"), corev1.ResourceMemory: resource.MustParse("256Gi"), corev1.ResourcePods: resource.MustParse("110")}
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{
			Allocatable: host, Capacity: host, Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		}}
		key := controlplane.Key{Resource: "nodes", Name: name}
		if _, err := c.store.Commit(context.Background(), put(key, node)); err != nil {
			b.Fatal(err)
		}
		c.sched.SetNode(nodes.SchedulerNode(node))
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 256 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < pods; i = int(next.Add(1)) - 1 {
				if err := fillPod(c, i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

func put(key controlplane.Key, o controlplane.Object) controlplane.Mutation {
	return controlplane.Mutation{Key: key, Change: func(controlplane.Object) (controlplane.Object, error) { return o, nil }}
}

func fillPod(c *controlPlane, i int) error {
	pod := fleetPod(i)
	req, err := controlplane.PodPlacement(pod)
	if err != nil {
		return err
	}
	placed, err := c.sched.Place(context.Background(), req)
	if err != nil {
		return err
	}
	pod.Spec.NodeName = placed.Node
	pod.Status.Conditions = []corev1.PodCondition{condition(corev1.PodScheduled, pod.CreationTimestamp)}
	if _, err = c.store.Commit(context.Background(), put(req.Key, pod)); err != nil {
		return err
	}
	raw, err := runningStatus(pod, i).Marshal()
	if err != nil {
		return err
	}
	var st corev1.PodStatus // as it comes from the wire
	if err := st.Unmarshal(raw); err != nil {
		return err
	}
	_, err = c.store.Observe(req.Key, func(current controlplane.Object) controlplane.Object {
		out := *current.(*corev1.Pod)
		st.Conditions = append(st.Conditions, out.Status.Conditions...)
		out.Status = st
		return &out
	})
	return err
}

func condition(kind corev1.PodConditionType, at metav1.Time) corev1.PodCondition {
	return corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: at, ObservedGeneration: 1}
}

func fleetPod(i int) *corev1.Pod {
	app := fmt.Sprintf("shop-%d", i%fleetTemplates)
	sizes := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("512Mi")}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: fmt.Sprintf("team-%d", i%fleetTemplates%7), Name: fmt.Sprintf("%s-7d9f8b6c5-%06x", app, i),
			UID: types.UID(uuid.NewString()), CreationTimestamp: metav1.Now().Rfc3339Copy(), Generation: 1,
			Labels: map[string]string{
				"app.kubernetes.io/name": app, "app.kubernetes.io/version": "1.4.2", "pod-template-hash": "7d9f8b6c5", "tier": "frontend",
			},
			Annotations: map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": "9090"},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "main", Image: "registry.example/shop/" + app + ":1.4.2", Args: []string{"--listen=:8080", "--metrics=:9090"},
			Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}, {Name: "metrics", ContainerPort: 9090}},
			Env: []corev1.EnvVar{
				{Name: "LOG_LEVEL", Value: "info"}, {Name: "DATABASE_URL", Value: "postgres://db.shop.example:5432/" + app},
				{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
			},
			EnvFrom:        []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: app + "-settings"}}}},
			Resources:      corev1.ResourceRequirements{Requests: sizes, Limits: sizes.DeepCopy()},
			ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{}}},
		}}},
	}
	admission.DefaultPod(pod)
	pod.Status = corev1.PodStatus{Phase: corev1.PodPending, QOSClass: corev1.PodQOSGuaranteed}
	return pod
}

func runningStatus(pod *corev1.Pod, i int) *corev1.PodStatus {
	at := metav1.Now().Rfc3339Copy()
	ip, host := fmt.Sprintf("10.%d.%d.%d", 1+i>>16, i>>8&255, i&255), fmt.Sprintf("192.168.%d.%d", i/fleetPodsPerNode>>8, i/fleetPodsPerNode&255)
	spec, started := &pod.Spec.Containers[0], true
	st := &corev1.PodStatus{
		Phase: corev1.PodRunning, ObservedGeneration: 1, QOSClass: corev1.PodQOSGuaranteed, StartTime: &at,
		HostIP: host, HostIPs: []corev1.HostIP{{IP: host}}, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}},
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: spec.Name, Image: spec.Image, Ready: true, Started: &started,
			ImageID:            "registry.example/shop/main@sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
			ContainerID:        "containerd://" + string(pod.UID) + "-main-0",
			State:              corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at}},
			AllocatedResources: spec.Resources.Requests, Resources: &spec.Resources,
		}},
	}
	for _, kind := range []corev1.PodConditionType{corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady} {
		st.Conditions = append(st.Conditions, condition(kind, at))
	}
	return st
}
