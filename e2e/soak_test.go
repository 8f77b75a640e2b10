package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"swell.dev/swell/internal/instance"
)

// What TestResizeSoak does. The pods can't all have their largest size at once, so that some resizes wait.
const (
	soakPods    = 50
	soakResizes = 10_000
	soakKills   = 12
	soakClients = 8
	soakCPU     = 32_000 // milli-CPU of the node
	soakMemory  = 16 << 30
)

// TestResizeSoak resizes 50 pods 10,000 times at random while control plane and nodelet are killed again and
// again. In the end the kernel, the status, the ledger and the bill agree with what was asked for last, and no
// container was restarted.
func TestResizeSoak(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dir := t.TempDir()
	nodes, err := instance.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	control := newRole(t, "controlplane", filepath.Join(dir, "control"), "--node-listen", nodes, "--prescheduling", "off")
	start(t, control)
	node := newRole(t, "nodelet", filepath.Join(dir, "node"), append(join(t, control, nodes), "--node-name", "apart", "--capacity", fmt.Sprintf("cpu=%dm,memory=%d", soakCPU, soakMemory))...)
	start(t, node)
	c, err := control.Client()
	if err != nil {
		t.Fatal(err)
	}
	awaitNode(t, c, "apart")
	importBusybox(t, control)

	soak := &soak{c: c, known: map[string]identity{}, sizes: make([]size, soakPods), more: make(chan struct{}, 1)}
	for i := range soakPods {
		name := soak.name(i)
		p := shellPod(name, "exec sleep 100000")
		if _, err := c.CoreV1().Pods(metav1.NamespaceDefault).Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range soakPods {
		soak.known[soak.name(i)] = identify(await(t, c, metav1.NamespaceDefault, soak.name(i), "ready", ready))
	}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var clients sync.WaitGroup
	for i := range soakClients {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		clients.Go(func() { soak.resizeAtRandom(ctx, t, i, random) })
	}
	random := rand.New(rand.NewPCG(seed, soakClients))
	victims := [][]*instance.Instance{{control}, {node}, {control, node}}
	for kill := range soakKills {
		for want := int64(soakResizes) * int64(kill+1) / (soakKills + 1); soak.answered.Load() < want && !t.Failed(); {
			<-soak.more
		}
		group := victims[random.IntN(len(victims))]
		for _, victim := range group {
			if err := victim.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		for _, victim := range group {
			start(t, victim)
		}
	}
	clients.Wait()
	if t.Failed() {
		return
	}
	t.Logf("%d resizes answered, %d of them to wait for room, %d refused as larger than the node, %d without an answer, %d kills",
		soak.answered.Load(), soak.waited.Load(), soak.refused.Load(), soak.unanswered.Load(), soakKills)
	soak.settle(t)
	soak.checkLedger(t)
	soak.checkBill(t, control)
}

type size struct{ cpuMilli, memory int64 }

func (s size) list() corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(s.cpuMilli, resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(s.memory, resource.BinarySI),
	}
}

type soak struct {
	c     *kubernetes.Clientset
	known map[string]identity
	sizes []size        // at the end
	more  chan struct{} // something was answered, or a client gave up

	answered, waited, refused, unanswered atomic.Int64
}

func (s *soak) name(i int) string { return fmt.Sprintf("p%02d", i) }

// resize asks for a size until there is an answer.
func (s *soak) resize(ctx context.Context, i int, to size) error {
	patch := fmt.Sprintf(`{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"%dm","memory":"%d"},"limits":{"cpu":"%dm","memory":"%d"}}}]}}`,
		to.cpuMilli, to.memory, to.cpuMilli, to.memory)
	for {
		pod, err := s.c.CoreV1().Pods(metav1.NamespaceDefault).Patch(ctx, s.name(i), types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "resize")
		if status := apierrors.APIStatus(nil); err == nil || errors.As(err, &status) && status.Status().Code < 500 && !apierrors.IsTooManyRequests(err) {
			if err == nil && condition(pod, corev1.PodResizePending) {
				s.waited.Add(1)
			}
			return err
		}
		s.unanswered.Add(1)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		timer := time.NewTimer(20 * time.Millisecond)
		<-timer.C
	}
}

// resizeAtRandom resizes pods of its own, which are every soakClients-th, until all clients together are done.
func (s *soak) resizeAtRandom(ctx context.Context, t *testing.T, client int, random *rand.Rand) {
	own := (soakPods - client + soakClients - 1) / soakClients
	for s.answered.Load() < soakResizes {
		to := size{1 + random.Int64N(999), (16 + random.Int64N(500)) << 20}
		switch random.IntN(50) {
		case 0:
			to.cpuMilli = soakCPU / 4 // may have to wait
		case 1:
			to.memory = soakMemory / 2
		case 2:
			to.cpuMilli = soakCPU + 1 // never
		}
		err := s.resize(ctx, client+random.IntN(own)*soakClients, to)
		switch {
		case err == nil:
			s.answered.Add(1)
		case to.cpuMilli > soakCPU && apierrors.IsForbidden(err):
			s.refused.Add(1)
		default:
			t.Errorf("a resize to %+v: %v", to, err)
		}
		select {
		case s.more <- struct{}{}:
		default:
		}
		if t.Failed() {
			return
		}
	}
}

// settle gives each pod a last size, which all have room for, and compares what is said of it.
func (s *soak) settle(t *testing.T) {
	for i := range soakPods {
		s.sizes[i] = size{int64(20 + i), int64(32+i) << 20}
		if err := s.resize(t.Context(), i, s.sizes[i]); err != nil {
			t.Fatalf("the last resize of %s: %v", s.name(i), err)
		}
	}
	for i, want := range s.sizes {
		pod := await(t, s.c, metav1.NamespaceDefault, s.name(i), fmt.Sprintf("%+v", want), func(p *corev1.Pod) bool {
			st := &p.Status.ContainerStatuses[0]
			return ready(p) && !condition(p, corev1.PodResizePending) && !condition(p, corev1.PodResizeInProgress) && st.Resources != nil && has(st.Resources.Limits, want) && has(st.Resources.Requests, want) && has(st.AllocatedResources, want)
		})
		if spec := pod.Spec.Containers[0].Resources; !has(spec.Limits, want) || !has(spec.Requests, want) {
			t.Errorf("%s: the spec has %+v, asked was %+v", pod.Name, spec, want)
		}
		cpu, memory, err := inKernel(t, string(pod.UID), "main").Limits()
		if err != nil {
			t.Fatal(err)
		}
		if cpu != want.cpuMilli || memory != want.memory {
			t.Errorf("%s: the kernel has %dm and %d bytes, asked was %+v", pod.Name, cpu, memory, want)
		}
		if is := identify(pod); is != s.known[pod.Name] {
			t.Errorf("%s was %+v and is %+v", pod.Name, s.known[pod.Name], is)
		}
	}
}

func condition(p *corev1.Pod, of corev1.PodConditionType) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == of })
}

func has(list corev1.ResourceList, want size) bool {
	return list.Cpu().MilliValue() == want.cpuMilli && list.Memory().Value() == want.memory
}

// checkLedger shows that the node's free room is what the sizes leave of it: a pod that takes all of it runs, and one
// that takes the least more than nothing then has no room, in either quantity.
func (s *soak) checkLedger(t *testing.T) {
	left := size{soakCPU, soakMemory}
	for _, one := range s.sizes {
		left.cpuMilli -= one.cpuMilli
		left.memory -= one.memory
	}
	sized := func(name string, to size) *corev1.Pod {
		p := shellPod(name, "exec sleep 100000")
		p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: to.list(), Limits: to.list()}
		return p
	}
	for _, over := range []size{{left.cpuMilli + 1, 16 << 20}, {1, left.memory + 1<<20}} {
		if _, err := s.c.CoreV1().Pods(metav1.NamespaceDefault).Create(t.Context(), sized("over", over), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		p := await(t, s.c, metav1.NamespaceDefault, "over", "decided", func(p *corev1.Pod) bool {
			return p.Spec.NodeName != "" || len(p.Status.Conditions) > 0
		})
		if p.Spec.NodeName != "" {
			t.Errorf("a pod of %+v was placed, where %+v is left", over, left)
		}
		none := int64(0)
		if err := s.c.CoreV1().Pods(metav1.NamespaceDefault).Delete(t.Context(), "over", metav1.DeleteOptions{GracePeriodSeconds: &none}); err != nil {
			t.Fatal(err)
		}
		awaitGone(t, s.c, metav1.NamespaceDefault, "over")
	}
	s.known["rest"] = identify(create(t, s.c, metav1.NamespaceDefault, sized("rest", left)))
}

// checkBill shows that each pod's bill comes to its last size, and that each second was metered once.
func (s *soak) checkBill(t *testing.T, control *instance.Instance) {
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(500 * time.Millisecond) // open lines are told every two seconds
	defer tick.Stop()
	for wrong := s.wrongBills(t, control); len(wrong) > 0; wrong = s.wrongBills(t, control) {
		if time.Now().After(deadline) {
			t.Fatalf("bills that don't end with the last size: %v", wrong)
		}
		<-tick.C
	}
	checkMetering(t, control, s.c, s.known)
}

func (s *soak) wrongBills(t *testing.T, control *instance.Instance) []string {
	var wrong []string
	seen := 0
	for _, bill := range bills(t, control) {
		var i int
		if n, _ := fmt.Sscanf(bill.Name, "p%02d", &i); n == 0 {
			continue
		}
		seen++
		last := bill.Lines[len(bill.Lines)-1]
		if got := (size{last.CPUMilli, last.MemoryBytes}); got != s.sizes[i] || !last.End.IsZero() {
			wrong = append(wrong, fmt.Sprintf("%s: %+v to %s, not %+v", bill.Name, got, last.End, s.sizes[i]))
		}
	}
	if seen != soakPods {
		wrong = append(wrong, fmt.Sprintf("%d bills of %d pods", seen, soakPods))
	}
	return wrong
}
