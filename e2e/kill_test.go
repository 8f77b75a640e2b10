package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/instance"
)

// rounds of kill -9 in each loop.
const rounds = 20

// identity is what a container keeps for as long as it isn't restarted.
type identity struct {
	uid, containerID string
	started          time.Time
	restarts         int32
}

func identify(p *corev1.Pod) identity {
	st := p.Status.ContainerStatuses[0]
	id := identity{uid: string(p.UID), containerID: st.ContainerID, restarts: st.RestartCount}
	if st.State.Running != nil {
		id.started = st.State.Running.StartedAt.Time
	}
	return id
}

// newInstance is an instance of the test's own, started, with the busybox image.
func newInstance(t *testing.T, args ...string) (*instance.Instance, *kubernetes.Clientset) {
	t.Helper()
	in, err := instance.New(instance.Config{
		Binary: filepath.Join(binDir, "swell"), DataDir: filepath.Join(t.TempDir(), "data"),
		Args: append([]string{"--capacity", capacity}, args...),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if t.Failed() {
			if out, err := runSwell(ctx, in, "nodes"); err == nil {
				t.Logf("nodes:\n%s", out)
			}
			events, _ := command(ctx, in, "kubectl", "get", "events", "-A").CombinedOutput()
			t.Logf("events:\n%s", events[max(0, len(events)-8<<10):])
			if log, err := os.ReadFile(filepath.Join(filepath.Dir(in.Kubeconfig()), "swell.log")); err == nil {
				t.Logf("swell.log ends with:\n%s", log[max(0, len(log)-8<<10):])
			}
		}
		if err := in.Down(ctx); err != nil {
			t.Error(err)
		}
	})
	start(t, in)
	c, err := in.Client()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := runSwell(t.Context(), in, "image", "import", archive); err != nil {
		t.Fatalf("image import: %v\n%s", err, out)
	}
	return in, c
}

func start(t *testing.T, in *instance.Instance) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := in.Start(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestKillEverything kills the whole process at random moments, also in the middle of creates and
// resizes, and shows that nothing that was answered is lost, no container restarts, and every second is
// metered once.
func TestKillEverything(t *testing.T) {
	in, c := newInstance(t)
	const ns = metav1.NamespaceDefault
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	known := map[string]identity{}
	p := create(t, c, ns, shellPod("steady", "exec sleep 100000"))
	known["steady"] = identify(p)
	sizes := []string{"100m", "150m", "200m"}

	for round := range rounds {
		// Creates and resizes go on while the process is killed. Whatever was answered must hold.
		name := fmt.Sprintf("p%d", round)
		answered := make(chan bool, 1)
		go func() {
			_, err := c.CoreV1().Pods(ns).Create(context.WithoutCancel(t.Context()), shellPod(name, "exec sleep 100000"), metav1.CreateOptions{})
			answered <- err == nil
		}()
		resized := make(chan struct{})
		go func() {
			defer close(resized)
			size := sizes[round%len(sizes)]
			patch := fmt.Sprintf(`{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":%q},"limits":{"cpu":%q}}}]}}`, size, size)
			_, _ = c.CoreV1().Pods(ns).Patch(context.WithoutCancel(t.Context()), "steady", "application/strategic-merge-patch+json", []byte(patch), metav1.PatchOptions{}, "resize")
		}()
		timer := time.NewTimer(time.Duration(random.IntN(300)) * time.Millisecond)
		<-timer.C
		if err := in.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		created := <-answered
		<-resized
		start(t, in)
		if created {
			pod := await(t, c, ns, name, "ready", ready)
			known[name] = identify(pod)
		} else if pod, err := c.CoreV1().Pods(ns).Get(t.Context(), name, metav1.GetOptions{}); err == nil {
			known[name] = identify(await(t, c, ns, pod.Name, "ready", ready)) // committed, though the answer was lost
		}
		for name, was := range known {
			is := identify(await(t, c, ns, name, "ready again", ready))
			if is != was {
				t.Fatalf("round %d: pod %s was %+v and is %+v", round, name, was, is)
			}
		}
	}
	checkMetering(t, in, c, known)
}

// checkMetering compares what was metered with how long each container ran.
func checkMetering(t *testing.T, in *instance.Instance, c *kubernetes.Clientset, known map[string]identity) {
	t.Helper()
	const ns = metav1.NamespaceDefault
	ends := map[string]time.Time{}
	for name := range known {
		zero := int64(1)
		if err := c.CoreV1().Pods(ns).Delete(t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
			t.Fatal(err)
		}
	}
	for name := range known {
		awaitGone(t, c, ns, name)
		ends[name] = time.Now()
	}
	for _, bill := range bills(t, in) {
		was, ok := known[bill.Name]
		if !ok {
			t.Errorf("a bill for pod %s, which is not known", bill.Name)
			continue
		}
		delete(known, bill.Name)
		if string(bill.UID) != was.uid {
			t.Errorf("pod %s: billed as %s, was %s", bill.Name, bill.UID, was.uid)
		}
		var sum time.Duration
		for i, line := range bill.Lines {
			if line.End.IsZero() {
				t.Errorf("pod %s: line %d is open after the pod ended", bill.Name, i)
			}
			if i > 0 && !line.Start.Time.Equal(bill.Lines[i-1].End.Time) {
				t.Errorf("pod %s: line %d starts at %s, the one before ends at %s", bill.Name, i, line.Start, bill.Lines[i-1].End)
			}
			sum += time.Duration(line.Milliseconds) * time.Millisecond
		}
		// Kubernetes' times are whole seconds, so the process started up to one second after startedAt says.
		wall := ends[bill.Name].Sub(was.started)
		if sum > wall+time.Second || sum < bill.Lines[len(bill.Lines)-1].End.Sub(was.started)-2*time.Second {
			t.Errorf("pod %s: metered %s, ran %s", bill.Name, sum, wall)
		}
	}
	for name := range known {
		t.Errorf("pod %s ran and has no bill", name)
	}
}

func bills(t *testing.T, in *instance.Instance) []v1alpha1.Bill {
	t.Helper()
	out, err := runSwell(t.Context(), in, "bill", "-A", "-o", "json")
	if err != nil {
		t.Fatalf("swell bill: %v\n%s", err, out)
	}
	var list v1alpha1.BillList
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&list); err != nil {
		t.Fatalf("swell bill -o json: %v\n%s", err, out)
	}
	return list.Items
}
