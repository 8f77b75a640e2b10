package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/instance"
	"swell.dev/swell/internal/postgres"
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
	in := newRole(t, "up", filepath.Join(t.TempDir(), "data"), append([]string{"--capacity", capacity}, args...)...)
	start(t, in)
	c, err := in.Client()
	if err != nil {
		t.Fatal(err)
	}
	importBusybox(t, in)
	return in, c
}

func importBusybox(t *testing.T, in *instance.Instance) {
	t.Helper()
	if out, err := runSwell(t.Context(), in, "image", "import", archive); err != nil {
		t.Fatalf("image import: %v\n%s", err, out)
	}
}

// newRole is a role of the test's own, not started. What it made is removed at the test's end.
func newRole(t *testing.T, role, dataDir string, args ...string) *instance.Instance {
	t.Helper()
	in, err := instance.New(instance.Config{Binary: filepath.Join(binDir, "swell"), DataDir: dataDir, Role: role, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if t.Failed() {
			explain(ctx, t, in)
		}
		if err := in.Down(ctx); err != nil {
			t.Error(err)
		}
	})
	return in
}

// explain logs what helps to understand a failure.
func explain(ctx context.Context, t *testing.T, in *instance.Instance) {
	t.Helper()
	dir := filepath.Dir(in.Kubeconfig())
	if _, err := os.Stat(in.Kubeconfig()); err == nil {
		events, _ := command(ctx, in, "kubectl", "get", "events", "-A").CombinedOutput()
		t.Logf("events:\n%s", events[max(0, len(events)-8<<10):])
	}
	if log, err := os.ReadFile(filepath.Join(dir, "swell.log")); err == nil {
		t.Logf("%s/swell.log ends with:\n%s", dir, log[max(0, len(log)-8<<10):])
	}
}

func start(t *testing.T, in *instance.Instance) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := in.Start(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestKillEverything kills the whole system, which is one process, at random moments.
func TestKillEverything(t *testing.T) {
	in, c := newInstance(t)
	killLoop(t, in, c, [][]victim{{asVictim(in)}})
}

// TestKillRoles runs the roles apart and kills the control plane, the nodelet, or both.
func TestKillRoles(t *testing.T) {
	control, node, c := newRoles(t)
	killLoop(t, control, c, [][]victim{{asVictim(control)}, {asVictim(node)}, {asVictim(control), asVictim(node)}})
}

// TestKillLedger kills, beside the roles, the PostgreSQL that the ledger is in, or all of them.
func TestKillLedger(t *testing.T) {
	db, err := postgres.Start(t.Context(), "..")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Stop(); err != nil {
			t.Error(err)
		}
	})
	url, err := db.CreateDatabase(t.Context(), "ledger")
	if err != nil {
		t.Fatal(err)
	}
	control, node, c := newRoles(t, "--ledger", url)
	ledger := victim{kill: db.Kill, again: func(t *testing.T) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := db.Restart(ctx); err != nil {
			t.Fatal(err)
		}
	}}
	killLoop(t, control, c, [][]victim{{ledger}, {ledger, asVictim(control)}, {ledger, asVictim(node)}, {ledger, asVictim(control), asVictim(node)}})
}

// victim is what killLoop kills, and how it is started again.
type victim struct {
	kill  func() error
	again func(*testing.T)
}

func asVictim(in *instance.Instance) victim {
	return victim{
		kill:  func() error { return in.Signal(syscall.SIGKILL) },
		again: func(t *testing.T) { t.Helper(); start(t, in) },
	}
}

// newRoles are a control plane, with flags, and a nodelet that has joined it, started, with the busybox image.
func newRoles(t *testing.T, flags ...string) (control, node *instance.Instance, c *kubernetes.Clientset) {
	t.Helper()
	dir := t.TempDir()
	nodes, err := instance.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	control = newRole(t, "controlplane", filepath.Join(dir, "control"), append(flags, "--node-listen", nodes)...)
	start(t, control)
	node = newRole(t, "nodelet", filepath.Join(dir, "node"), append(join(t, control, nodes), "--node-name", "apart", "--capacity", capacity)...)
	start(t, node)
	if c, err = control.Client(); err != nil {
		t.Fatal(err)
	}
	awaitNode(t, c, "apart")
	importBusybox(t, control)
	return control, node, c
}

// join makes a token and answers the flags with which a nodelet joins.
func join(t *testing.T, control *instance.Instance, nodes string) []string {
	t.Helper()
	out, err := runSwell(t.Context(), control, "nodes", "token", "-o", "json")
	if err != nil {
		t.Fatalf("nodes token: %v\n%s", err, out)
	}
	var token v1alpha1.JoinToken
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&token); err != nil {
		t.Fatalf("nodes token: %v\n%s", err, out)
	}
	return []string{"--join", nodes, "--token", token.Status.Token, "--ca-hash", token.Status.CAHash}
}

// killLoop kills one of the groups of victims at random moments, also in the middle of creates and
// resizes, starts them again, and shows that nothing that was answered is lost, no container restarts, and
// every second is metered once.
func killLoop(t *testing.T, in *instance.Instance, c *kubernetes.Clientset, victims [][]victim) {
	t.Helper()
	const ns = metav1.NamespaceDefault
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	known := map[string]identity{}
	p := create(t, c, ns, shellPod("steady", "exec sleep 100000"))
	known["steady"] = identify(p)
	sizes := []string{"100m", "150m", "200m"}

	for round := range rounds {
		// Creates and resizes go on meanwhile. Whatever was answered must hold.
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
		group := victims[random.IntN(len(victims))]
		for _, victim := range group {
			if err := victim.kill(); err != nil {
				t.Fatal(err)
			}
		}
		created := <-answered
		<-resized
		for _, victim := range group {
			victim.again(t)
		}
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
	t.Logf("%d kills, %d pods", rounds, len(known))
	checkMetering(t, in, c, known)
}

// killAndBill kills an instance and starts it again: its pods are those that they were, and were metered as they ran.
func killAndBill(t *testing.T, in *instance.Instance, c *kubernetes.Clientset, known map[string]identity) {
	t.Helper()
	if err := in.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	start(t, in)
	for name, was := range known {
		if is := identify(await(t, c, metav1.NamespaceDefault, name, "ready again", ready)); is != was {
			t.Errorf("pod %s was %+v and is %+v", name, was, is)
		}
	}
	checkMetering(t, in, c, known)
}

// checkMetering ends the pods and compares what was metered with how long each container ran.
func checkMetering(t *testing.T, in *instance.Instance, c *kubernetes.Clientset, known map[string]identity) {
	t.Helper()
	ran := map[string]time.Duration{}
	var mu sync.Mutex // guards ran
	var wg sync.WaitGroup
	for name, id := range known {
		wg.Go(func() {
			end, err := remove(t.Context(), c, metav1.NamespaceDefault, name)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ran[name] = end.Sub(id.started)
		})
	}
	wg.Wait()
	for _, bill := range bills(t, in) {
		wall, ok := ran[bill.Name]
		if !ok {
			t.Errorf("a bill for pod %s, which is not known, or another one", bill.Name)
			continue
		}
		delete(ran, bill.Name)
		if string(bill.UID) != known[bill.Name].uid {
			t.Errorf("pod %s: billed as %s, was %s", bill.Name, bill.UID, known[bill.Name].uid)
		}
		sum := seamless(t, bill)
		// The resolution is a second, and Kubernetes' times of start and end are cut to whole ones.
		if off := sum - wall; off < -2*time.Second || off > 2*time.Second {
			t.Errorf("pod %s: metered %s, ran %s", bill.Name, sum, wall)
		}
	}
	for name := range ran {
		t.Errorf("pod %s ran and has no bill", name)
	}
	verifyBills(t, in, len(known))
}

// verifyBills has the bills worked out again, and compared with when at least so many ended pods ran.
func verifyBills(t *testing.T, in *instance.Instance, pods int) {
	t.Helper()
	out, err := runSwell(t.Context(), in, "bill", "verify", "-o", "json")
	if err != nil {
		t.Errorf("swell bill verify: %v\n%s", err, out)
		return
	}
	var v v1alpha1.BillVerification
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&v); err != nil {
		t.Fatalf("swell bill verify: %v\n%s", err, out)
	}
	if !v.OK || v.Segments == 0 || v.Lifecycles < int64(pods) {
		t.Errorf("of %d pods that ended: %s", pods, out)
	}
}

// remove deletes a pod and answers when its container ended.
func remove(ctx context.Context, c *kubernetes.Clientset, ns, name string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	grace := int64(1)
	if err := c.CoreV1().Pods(ns).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &grace}); err != nil {
		return time.Time{}, err
	}
	ended := func(p *corev1.Pod) bool {
		return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Terminated != nil
	}
	pod, err := awaitPod(ctx, c, ns, name, ended)
	if pod == nil || !ended(pod) {
		return time.Time{}, fmt.Errorf("pod %s/%s doesn't end: %w", ns, name, err)
	}
	if _, err := awaitPod(ctx, c, ns, name, func(*corev1.Pod) bool { return false }); !apierrors.IsNotFound(err) {
		return time.Time{}, fmt.Errorf("pod %s/%s isn't gone: %w", ns, name, err)
	}
	return pod.Status.ContainerStatuses[0].State.Terminated.FinishedAt.Time, nil
}

// seamless checks that the lines of an ended pod's bill abut, and answers for how long it was metered.
func seamless(t *testing.T, bill v1alpha1.Bill) time.Duration {
	t.Helper()
	var sum time.Duration
	for i, line := range bill.Lines {
		if line.End.IsZero() {
			t.Errorf("pod %s: line %d is open after the pod ended", bill.Name, i)
		}
		if i > 0 && !line.Start.Time.Equal(bill.Lines[i-1].End.Time) {
			t.Errorf("pod %s: line %d starts at %s, the one before ends at %s", bill.Name, i, line.Start, bill.Lines[i-1].End)
		}
		if line.CPUMilli > 0 || line.MemoryBytes > 0 { // a line of no size stands for time in which nothing ran
			sum += time.Duration(line.Milliseconds) * time.Millisecond
		}
	}
	return sum
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
