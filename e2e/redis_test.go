package e2e

import (
	"bufio"
	"fmt"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"swell.dev/swell/internal/ociimage"
)

// TestRedisKeepsItsConnection resizes Debian's redis-server 50 times up and down while a client on one
// connection checks every answer.
func TestRedisKeepsItsConnection(t *testing.T) {
	ns := namespace(t)
	files, err := ociimage.Tree(filepath.Join(binDir, "../.cache/debian/redis-server"))
	if err != nil {
		t.Fatalf("%v: run make test-deps first", err)
	}
	img, err := ociimage.FromFiles(files, v1.Config{
		Cmd: []string{"/usr/bin/redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--appendonly", "no"},
	})
	if err != nil {
		t.Fatal(err)
	}
	registry, stop, err := ociimage.Serve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	ref := registry + "/redis:e2e"
	if err := ociimage.Push(t.Context(), ref, img); err != nil {
		t.Fatal(err)
	}

	pod := shellPod("redis", "")
	pod.Spec.Containers[0].Image = ref
	pod.Spec.Containers[0].Command = nil
	pod.Spec.Containers[0].ReadinessProbe = &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/usr/bin/redis-cli", "ping"}}}, PeriodSeconds: 1,
	}
	started := create(t, client, ns, pod)
	cgroup := inKernel(t, string(started.UID), "main")
	pid := pidOf(t, cgroup)

	conn, err := net.Dial("tcp", net.JoinHostPort(started.Status.PodIP, "6379"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var answers, stopping atomic.Int64
	lost := make(chan error, 1)
	go func() {
		r := bufio.NewReader(conn)
		for n := 1; stopping.Load() == 0; n++ {
			if err := increment(conn, r, n); err != nil {
				lost <- err
				return
			}
			answers.Add(1)
		}
		lost <- nil
	}()

	for i := range 50 {
		cpu, memory := int64(100+10*(i%7)), int64(64+8*(i%5))<<20
		if i%2 == 1 {
			cpu, memory = cpu*4, memory*3
		}
		patch := fmt.Sprintf(`{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"%dm","memory":"%d"},"limits":{"cpu":"%dm","memory":"%d"}}}]}}`, cpu, memory, cpu, memory)
		if _, err := client.CoreV1().Pods(ns).Patch(t.Context(), "redis", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "resize"); err != nil {
			t.Fatalf("resize %d: %v", i, err)
		}
		await(t, client, ns, "redis", fmt.Sprintf("%dm and %d bytes", cpu, memory), func(p *corev1.Pod) bool {
			res := p.Status.ContainerStatuses[0].Resources
			return res != nil && res.Limits.Cpu().Cmp(*resource.NewMilliQuantity(cpu, resource.DecimalSI)) == 0 && res.Limits.Memory().Value() == memory
		})
		gotCPU, gotMemory, err := cgroup.Limits()
		if err != nil {
			t.Fatal(err)
		}
		if gotCPU != cpu || gotMemory != memory {
			t.Fatalf("resize %d: the kernel has %dm and %d bytes, asked were %dm and %d", i, gotCPU, gotMemory, cpu, memory)
		}
	}
	stopping.Store(1)
	if err := <-lost; err != nil {
		t.Fatalf("after %d answers: %v", answers.Load(), err)
	}
	if now := pidOf(t, cgroup); now != pid {
		t.Errorf("the process changed: PID %d became %d", pid, now)
	}
	if answers.Load() == 0 {
		t.Error("the client got no answer at all")
	}
	t.Logf("%d answers over one connection through 50 resizes, PID %d throughout", answers.Load(), pid)
}

// increment counts up a key and checks that the server counted with it.
func increment(conn net.Conn, r *bufio.Reader, want int) error {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("INCR n\r\n")); err != nil {
		return err
	}
	line, err := r.ReadString('\n')
	if err != nil {
		return err
	}
	if line != fmt.Sprintf(":%d\r\n", want) {
		return fmt.Errorf("answer %q, not %d", line, want)
	}
	return nil
}
