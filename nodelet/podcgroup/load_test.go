package podcgroup

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"swell.dev/swell/cgroups"
	"swell.dev/swell/nodelet"
)

// patience bounds waits; nothing passes or fails by being fast.
const patience = 60 * time.Second

var page = int64(os.Getpagesize())

// loaded is a pod of a server under load, and of a container beside it.
type loaded struct {
	name   string // of the server's container, and the pod's UID
	client *client
	sizes  map[string]corev1.ResourceRequirements

	tight [2]int64 // MiB that the server doesn't fit in, from and to
	roomy [2]int64 // MiB that it does
}

// resizes of each pod under load.
const resizes = 55

// TestResizeUnderLoad resizes a pod of Debian's redis-server, and one of a Go web server, up and down at random while a
// client talks to it. Some of the limits are less than what is in use.
func TestResizeUnderLoad(t *testing.T) {
	t.Run("redis", func(t *testing.T) {
		tree, h := testTree(t)
		p := &loaded{name: "redis", tight: [2]int64{4, 20}, roomy: [2]int64{72, 200}}
		cmd, addr := startRedis(t, makeLoaded(t, tree, h, p))
		p.client = talkRedis(t, addr)
		resizeLoaded(t, tree, h, p)
		endLoaded(t, tree, p, cmd.Process.Pid)
	})
	t.Run("web", func(t *testing.T) {
		tree, h := testTree(t)
		p := &loaded{name: "web", tight: [2]int64{8, 28}, roomy: [2]int64{80, 224}}
		cmd, addr := startServer(t, makeLoaded(t, tree, h, p), 32)
		p.client = talkHTTP(t, addr, cmd.Process.Pid)
		resizeLoaded(t, tree, h, p)
		for _, milli := range []int64{1000, 2500, 4000} {
			followsQuota(t, tree, p, addr, milli)
		}
		endLoaded(t, tree, p, cmd.Process.Pid)
	})
}

// makeLoaded makes the pod, and answers the server's group as a runtime makes it.
func makeLoaded(t *testing.T, tree *Tree, h *cgroups.Hierarchy, p *loaded) *cgroups.Group {
	t.Helper()
	p.sizes = map[string]corev1.ResourceRequirements{p.name: size(2000, 256*mib), "beside": size(100, 32*mib)}
	must(t, tree.EnsurePod(p.name, nodelet.PodSize{Containers: p.sizes}))
	start(t, tree, h, p.name, "beside", p.sizes["beside"], 1)
	g := h.Group(tree.ContainerPath(p.name, p.name))
	must(t, g.Create())
	l := limits(p.sizes[p.name])
	must(t, g.SetMemory(t.Context(), l.Memory))
	must(t, g.SetCPU(l.Shares, l.Quota))
	return g
}

func resizeLoaded(t *testing.T, tree *Tree, h *cgroups.Hierarchy, p *loaded) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var refused, looks int
	for i := range resizes {
		tight := i%12 == 5
		if tight {
			refused++
		}
		over := keepLooking(tree, p)
		resizeOnce(t, tree, h, p, tight, random)
		looks += over(t)
		p.client.more(t)
	}
	t.Logf("%d resizes, %d of them refused; %d answers over one connection; %d looks at all limits meanwhile",
		resizes, refused, p.client.answers.Load(), looks)
}

// endLoaded: the server is the process that it was, and nothing was killed.
func endLoaded(t *testing.T, tree *Tree, p *loaded, pid int) {
	t.Helper()
	p.client.stop(t)
	usage, err := tree.Usage(p.name, []string{p.name, "beside"})
	must(t, err)
	if len(usage) != 2 || usage[p.name].OOMKills != 0 || usage["beside"].OOMKills != 0 {
		t.Errorf("%s: killed for want of memory: %+v", p.name, usage)
	}
	if pids, err := tree.pod(p.name).Child(p.name).Procs(); err != nil || !slices.Equal(pids, []int{pid}) {
		t.Errorf("%s is process %d, in its group are %v, %v", p.name, pid, pids, err)
	}
}

// size is a request and limit, in thousandths and bytes.
func size(milli, bytes int64) corev1.ResourceRequirements {
	list := corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(milli, resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(bytes, resource.BinarySI),
	}
	return corev1.ResourceRequirements{Requests: list, Limits: list}
}

// resizeOnce gives the pod another size, or one that its server doesn't fit in, which is refused and changes nothing.
func resizeOnce(t *testing.T, tree *Tree, h *cgroups.Hierarchy, p *loaded, tight bool, random *rand.Rand) {
	t.Helper()
	memory := p.roomy
	if tight {
		memory = p.tight
	}
	between := func(least, most int64) int64 { return least + random.Int64N(most-least+1) }
	pages := func(least, most int64) int64 { return between(least*mib/page, most*mib/page) * page }
	next := map[string]corev1.ResourceRequirements{
		p.name:   size(between(200, 4000), pages(memory[0], memory[1])),
		"beside": size(between(10, 1000), pages(16, 96)),
	}
	actual, err := tree.Resize(t.Context(), p.name, nodelet.PodSize{Containers: next})
	if tight && !errors.Is(err, nodelet.ErrMemoryInUse) {
		t.Fatalf("%s is given less than it uses, %v: %v", p.name, next, err)
	}
	if !tight {
		must(t, err)
		p.sizes = next
	}
	wantKernel(t, h, tree.pod(p.name).Path(), podLimits(nodelet.PodSize{Containers: p.sizes}))
	for name, r := range p.sizes {
		wantKernel(t, h, tree.ContainerPath(p.name, name), limits(r))
		got := actual[name].Limits
		if err == nil && (got.Cpu().Cmp(*r.Limits.Cpu()) != 0 || got.Memory().Cmp(*r.Limits.Memory()) != 0) {
			t.Errorf("%s is said to have %v, its size is %v", name, got, r.Limits)
		}
	}
}

// keepLooking reads the limits of the pod and of its containers again and again until over is called, which answers
// how often.
func keepLooking(tree *Tree, p *loaded) (over func(*testing.T) int) {
	stop := make(chan struct{})
	var looks int
	var found error
	var looking sync.WaitGroup
	looking.Go(func() {
		for ; found == nil; looks++ {
			select {
			case <-stop:
				return
			default:
				pod := tree.pod(p.name)
				found = errors.Join(lookOnce(pod, pod.Child(p.name)), lookOnce(pod, pod.Child("beside")))
			}
		}
	})
	return func(t *testing.T) int {
		t.Helper()
		close(stop)
		if looking.Wait(); found != nil {
			t.Error(found)
		}
		return looks
	}
}

// lookOnce reads each twice. What stands still from one reading to the next was so at once: the child may have no
// more than the pod then.
func lookOnce(pod, child *cgroups.Group) error {
	var l [4]cgroups.Limits
	for i, g := range []*cgroups.Group{pod, child, pod, child} {
		var err error
		if l[i], err = g.Read(); err != nil {
			return err
		}
	}
	for what, of := range map[string]func(cgroups.Limits) int64{
		"bytes":          func(l cgroups.Limits) int64 { return l.Memory },
		"µs in a period": func(l cgroups.Limits) int64 { return l.Quota },
	} {
		p, c := of(l[0]), of(l[1])
		if p == of(l[2]) && c == of(l[3]) && (c > p || c == cgroups.Unlimited) {
			return fmt.Errorf("%s has %d %s, its pod %d", child.Path(), c, what, p)
		}
	}
	return nil
}

// followsQuota: the Go runtime runs on as many CPUs as the quota has, at least two, and at most all of the machine.
func followsQuota(t *testing.T, tree *Tree, p *loaded, addr string, milli int64) {
	t.Helper()
	next := map[string]corev1.ResourceRequirements{p.name: size(milli, p.roomy[1]*mib), "beside": p.sizes["beside"]}
	_, err := tree.Resize(t.Context(), p.name, nodelet.PodSize{Containers: next})
	must(t, err)
	conn := dial(t, addr)
	defer conn.Close() //nolint:errcheck // all was answered
	r := bufio.NewReader(conn)
	want := fmt.Sprint(min(runtime.NumCPU(), max(2, int(milli+999)/1000)))
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		got, err := httpAsk(conn, r, "http://"+addr+"/gomaxprocs")
		must(t, err)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("GOMAXPROCS is %s with %dm, want %s", got, milli, want)
		}
	}
}
