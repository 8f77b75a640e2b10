package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"swell.dev/swell/internal/instance"
	"swell.dev/swell/internal/kernel"
)

// patience bounds every wait of these tests; none of them passes or fails by being fast.
const patience = 90 * time.Second

func namespaceObject(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// shellPod runs a busybox shell script in a small container.
func shellPod(name, script string) *corev1.Pod {
	size := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("64Mi")}
	grace := int64(1)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{{
				Name: "main", Image: busybox, Command: []string{"sh", "-c", script},
				Resources: corev1.ResourceRequirements{Requests: size, Limits: size},
			}},
		},
	}
}

// await watches a pod until it is as wanted and answers it.
func await(t *testing.T, client kubernetes.Interface, namespace, name, what string, wanted func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	pod, err := awaitPod(ctx, client, namespace, name, wanted)
	if err != nil {
		t.Fatalf("pod %s/%s isn't %s: %v", namespace, name, what, err)
	}
	return pod
}

// awaitPod answers the pod as wanted, or with an error as it was seen last.
func awaitPod(ctx context.Context, client kubernetes.Interface, namespace, name string, wanted func(*corev1.Pod) bool) (*corev1.Pod, error) {
	var last *corev1.Pod
	for {
		pod, err := client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return last, err
		}
		if last = pod; wanted(pod) {
			return pod, nil
		}
		w, err := client.CoreV1().Pods(namespace).Watch(ctx, metav1.ListOptions{
			FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String(), ResourceVersion: pod.ResourceVersion,
		})
		if err != nil {
			return last, err
		}
		for ev := range w.ResultChan() {
			pod, ok := ev.Object.(*corev1.Pod)
			if !ok {
				break // the watch ended with a Status; begin again
			}
			if ev.Type == watch.Deleted {
				break // the next get says NotFound, or finds another pod of that name
			}
			if last = pod; wanted(pod) {
				w.Stop()
				return pod, nil
			}
		}
		w.Stop()
		if ctx.Err() != nil {
			return last, fmt.Errorf("%w; last seen: %s", ctx.Err(), describe(last))
		}
	}
}

// awaitGone waits until no pod of that name is left, and answers it as it was seen last.
func awaitGone(t *testing.T, client kubernetes.Interface, namespace, name string) *corev1.Pod {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	last, err := awaitPod(ctx, client, namespace, name, func(*corev1.Pod) bool { return false })
	if !apierrors.IsNotFound(err) {
		t.Fatalf("pod %s/%s isn't gone: %v", namespace, name, err)
	}
	return last
}

func describe(pod *corev1.Pod) string {
	if pod == nil {
		return "nothing"
	}
	return fmt.Sprintf("%s node=%q deleted=%v %+v", pod.Status.Phase, pod.Spec.NodeName, pod.DeletionTimestamp, pod.Status.ContainerStatuses)
}

func ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// inKernel is where the kernel has a container.
func inKernel(t *testing.T, podUID, container string) *kernel.Container {
	t.Helper()
	c, err := kernel.Find(podUID, container)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// pidOf is the container's first process.
func pidOf(t *testing.T, c *kernel.Container) int {
	t.Helper()
	pid, err := c.PID()
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// create posts a pod and waits until it is ready.
func create(t *testing.T, client kubernetes.Interface, namespace string, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	if _, err := client.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return await(t, client, namespace, pod.Name, "ready", ready)
}

// command is kubectl or swell, against an instance, with a home of its own.
func command(ctx context.Context, in *instance.Instance, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(binDir, program), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+in.Kubeconfig(), "HOME="+workingDir)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

func runSwell(ctx context.Context, in *instance.Instance, args ...string) (string, error) {
	out, err := command(ctx, in, "swell", args...).CombinedOutput()
	return string(out), err
}

// kubectl runs kubectl against the shared instance and must succeed.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, code := kubectlCode(t, "", args...)
	if code != 0 {
		t.Fatalf("kubectl %s: exit %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// kubectlOf runs kubectl against an instance and must succeed.
func kubectlOf(t *testing.T, in *instance.Instance, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := command(ctx, in, "kubectl", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// kubectlCode runs kubectl with standard input and answers its output and exit code.
func kubectlCode(t *testing.T, stdin string, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := command(ctx, shared, "kubectl", args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// follow runs a command in the background and lets a test wait for what it prints.
type follow struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	more chan struct{} // capacity 1
}

func (f *follow) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case f.more <- struct{}{}:
	default:
	}
	return f.buf.Write(b)
}

func (f *follow) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.buf.String()
}

func (f *follow) await(t *testing.T, what string) {
	t.Helper()
	timeout := time.After(patience)
	for !strings.Contains(f.String(), what) {
		select {
		case <-f.more:
		case <-timeout:
			t.Fatalf("no %q in:\n%s", what, f.String())
		}
	}
}

func startFollowing(t *testing.T, program string, args ...string) *follow {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &follow{more: make(chan struct{}, 1)}
	cmd := command(ctx, shared, program, args...)
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // killed
	})
	return f
}
