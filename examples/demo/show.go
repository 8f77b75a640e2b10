package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/instance"
	"swell.dev/swell/internal/kernel"
	"swell.dev/swell/internal/loadgen"
	"swell.dev/swell/internal/ociimage"
)

//go:embed pod.yaml
var manifest string

// The sizes that the demo goes between, in thousandths of a CPU and in bytes.
const (
	smallCPU, smallMemory = 250, 128 << 20
	largeCPU, largeMemory = 2000, 256 << 20
	clients               = 8
)

// show is one run of the demo against an instance that is up.
type show struct {
	cfg    config
	bin    string
	in     *instance.Instance
	client *kubernetes.Clientset
	pod    *corev1.Pod
	kernel *kernel.Container
}

func (s *show) run(ctx context.Context) error {
	var err error
	if s.client, err = s.in.Client(); err != nil {
		return err
	}
	if err := s.create(ctx); err != nil {
		return err
	}
	if err := s.resizeUnderLoad(ctx); err != nil {
		return err
	}
	if err := s.bill(ctx); err != nil {
		return err
	}
	return s.remove(ctx)
}

// create serves the image from a registry of its own, posts the manifest and waits for the pod.
func (s *show) create(ctx context.Context) error {
	img, err := ociimage.FromFiles(map[string]string{"/httpserver": filepath.Join(s.bin, "httpserver")}, v1.Config{Entrypoint: []string{"/httpserver"}})
	if err != nil {
		return err
	}
	registry, stop, err := ociimage.Serve()
	if err != nil {
		return err
	}
	defer stop() // the image is on the node by then
	ref := registry + "/demo/httpserver:v1"
	if err := ociimage.Push(ctx, ref, img); err != nil {
		return err
	}
	say("image    a static Go server, served by a registry on %s", registry)

	var pod corev1.Pod
	if err := yaml.UnmarshalStrict([]byte(strings.ReplaceAll(manifest, "IMAGE", ref)), &pod); err != nil {
		return err
	}
	pods := s.client.CoreV1().Pods(metav1.NamespaceDefault)
	began := time.Now()
	created, err := pods.Create(ctx, &pod, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	answered := time.Since(began)
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var process time.Time
	var group errgroup.Group
	group.Go(func() (err error) {
		s.kernel, process, err = kernel.AwaitProcess(starting, string(created.UID), "web", "/httpserver")
		return err
	})
	_, err = s.await(ctx, func(p *corev1.Pod) (bool, error) {
		if p.Status.Phase == corev1.PodFailed {
			return false, fmt.Errorf("pod failed: %s %s", p.Status.Reason, p.Status.Message)
		}
		return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Running != nil, nil
	})
	seen := time.Since(began)
	if err != nil {
		cancel()
		return errors.Join(err, group.Wait())
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if s.pod, err = s.await(ctx, isReady); err != nil {
		return err
	}
	say("create   POST answered 201 in %s, already on node %s, durable in etcd", ms(answered), created.Spec.NodeName)
	say("running  the process runs %s after the POST, image pull included; a watch says so after %s", ms(process.Sub(began)), ms(seen))
	say("ready    by its readiness probe after %s, at %s", ms(time.Since(began)), s.pod.Status.PodIP)
	return nil
}

func isReady(p *corev1.Pod) (bool, error) {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return true, nil
		}
	}
	return false, nil
}

// await watches the pod until it is as wanted.
func (s *show) await(ctx context.Context, wanted func(*corev1.Pod) (bool, error)) (*corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	pods := s.client.CoreV1().Pods(metav1.NamespaceDefault)
	last, err := pods.Get(ctx, "web", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if done, err := wanted(last); err != nil || done {
		return last, err
	}
	w, err := pods.Watch(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", "web").String(), ResourceVersion: last.ResourceVersion,
	})
	if err != nil {
		return nil, err
	}
	defer w.Stop()
	for ev := range w.ResultChan() {
		pod, ok := ev.Object.(*corev1.Pod)
		if !ok {
			return nil, fmt.Errorf("watch: %s %v", ev.Type, ev.Object)
		}
		last = pod
		if done, err := wanted(pod); err != nil || done {
			return pod, err
		}
	}
	return nil, fmt.Errorf("pod web isn't as wanted in time: %s", summary(last))
}

// resizeUnderLoad loads the server at its small size, resizes it while the load goes on, and compares.
func (s *show) resizeUnderLoad(ctx context.Context) error {
	pid, err := s.kernel.PID()
	if err != nil {
		return err
	}
	load, err := loadgen.Start(ctx, loadgen.Config{URL: fmt.Sprintf("http://%s:8080/", s.pod.Status.PodIP), Connections: clients})
	if err != nil {
		return err
	}
	defer load.Stop()
	small, err := s.measure(ctx, load)
	if err != nil {
		return err
	}
	say("before   %.0f requests/s at 250m CPU", small)
	if err := s.sayLimits(smallCPU, smallMemory); err != nil {
		return err
	}

	patch := fmt.Sprintf(`{"spec":{"containers":[{"name":"web","resources":{"requests":{"cpu":"%dm","memory":"%d"},"limits":{"cpu":"%dm","memory":"%d"}}}]}}`,
		largeCPU, largeMemory, largeCPU, largeMemory)
	began := time.Now()
	patched := make(chan error, 1)
	go func() {
		_, err := s.client.CoreV1().Pods(metav1.NamespaceDefault).Patch(ctx, "web", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "resize")
		patched <- err
	}()
	at, err := s.kernel.Await(largeCPU, largeMemory, began.Add(10*time.Second))
	if perr := <-patched; perr != nil {
		return fmt.Errorf("resize: %w", perr)
	}
	if err != nil {
		return fmt.Errorf("resize: %w", err)
	}
	say("resize   250m → 2 CPU, 128 → 256 MiB: the kernel has it %s after the API call", ms(at.Sub(began)))

	large, err := s.measure(ctx, load)
	if err != nil {
		return err
	}
	total := load.Stop()
	say("after    %.0f requests/s at 2 CPU, %.1f times as many", large, large/small)
	if err := s.sayLimits(largeCPU, largeMemory); err != nil {
		return err
	}
	now, err := s.kernel.PID()
	if err != nil {
		return err
	}
	say("kept     PID %d before and after; %d requests, %d failed", now, total.Requests, total.Failures)

	var broken []error
	if now != pid {
		broken = append(broken, fmt.Errorf("the process changed: PID %d became %d", pid, now))
	}
	if total.Failures != 0 {
		broken = append(broken, fmt.Errorf("%d of %d requests failed, the first with: %v", total.Failures, total.Requests, total.FirstError))
	}
	if large <= small {
		broken = append(broken, fmt.Errorf("eight times the CPU served %.0f requests/s, not more than %.0f", large, small))
	}
	return errors.Join(broken...)
}

// sayLimits prints what the kernel has, which must be these.
func (s *show) sayLimits(cpuMilli, memory int64) error {
	cpu, bytes, err := s.kernel.Limits()
	if err != nil {
		return err
	}
	for _, file := range []string{s.kernel.CPU, s.kernel.Memory} {
		value, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		say("         %s: %s", filepath.Base(file), strings.TrimSpace(string(value)))
	}
	if cpu != cpuMilli || bytes != memory {
		return fmt.Errorf("the kernel has %dm CPU and %d bytes, not %dm and %d", cpu, bytes, cpuMilli, memory)
	}
	return nil
}

// measure answers the requests per second over the configured time.
func (s *show) measure(ctx context.Context, load *loadgen.Load) (float64, error) {
	before, began := load.Snapshot(), time.Now()
	select {
	case <-time.After(s.cfg.load):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	after := load.Snapshot()
	return float64(after.Requests-before.Requests) / time.Since(began).Seconds(), nil
}

// bill shows what the pod has cost, one line per size.
func (s *show) bill(ctx context.Context) error {
	raw, err := s.client.RESTClient().Get().AbsPath("/apis/swell.dev/v1alpha1/namespaces/default/bills/web").DoRaw(ctx)
	if err != nil {
		return err
	}
	var b v1alpha1.Bill
	if err := json.Unmarshal(raw, &b); err != nil {
		return fmt.Errorf("bill: %w", err)
	}
	say("bill     $ swell bill web")
	table, err := exec.CommandContext(ctx, filepath.Join(s.bin, "swell"), "bill", "web", "--kubeconfig", s.in.Kubeconfig()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("swell bill: %w\n%s", err, table)
	}
	for line := range strings.Lines(string(table)) {
		fmt.Fprint(out, "           "+line)
	}
	if len(b.Lines) != 2 {
		return fmt.Errorf("bill: %d lines, not one for each of the two sizes", len(b.Lines))
	}
	first, second := b.Lines[0], b.Lines[1]
	if first.CPUMilli != smallCPU || second.CPUMilli != largeCPU || first.MemoryBytes != smallMemory || second.MemoryBytes != largeMemory {
		return fmt.Errorf("bill: lines of %dm and %dm CPU, not of the two sizes", first.CPUMilli, second.CPUMilli)
	}
	if !first.End.Equal(&second.Start) {
		return fmt.Errorf("bill: the first line ends at %s and the second starts at %s", first.End, second.Start)
	}
	return nil
}

// remove deletes the pod and waits until it is gone.
func (s *show) remove(ctx context.Context) error {
	pods := s.client.CoreV1().Pods(metav1.NamespaceDefault)
	current, err := pods.Get(ctx, "web", metav1.GetOptions{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	w, err := pods.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=web", ResourceVersion: current.ResourceVersion})
	if err != nil {
		return err
	}
	defer w.Stop()
	began := time.Now()
	if err := pods.Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
		return err
	}
	for ev := range w.ResultChan() {
		if ev.Type == "DELETED" {
			say("delete   the pod ended in %s", ms(time.Since(began)))
			return nil
		}
	}
	return errors.New("delete: the pod is still there after a minute")
}

// summary is what a person needs to know of a pod that isn't as it should be.
func summary(pod *corev1.Pod) string {
	if pod == nil {
		return "nothing was heard of it"
	}
	out := string(pod.Status.Phase)
	for _, st := range pod.Status.ContainerStatuses {
		if w := st.State.Waiting; w != nil {
			out += fmt.Sprintf("; container %s waits: %s %s", st.Name, w.Reason, w.Message)
		}
		if end := st.LastTerminationState.Terminated; end != nil {
			out += fmt.Sprintf("; it ended before: %s %s", end.Reason, end.Message)
		}
	}
	return out
}
