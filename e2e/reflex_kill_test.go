package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/instance"
	"swell.dev/swell/internal/kernel"
)

// bursting is a pod that has more CPU and memory than its size until it is let go.
type bursting struct {
	name          string
	id            identity
	pod, main     *kernel.Container
	pid           int
	atSize, bound int64 // bytes
	billed        v1alpha1.BillBurst
}

// TestKillDuringBurst kills a nodelet while pods burst in CPU and memory: one goes on with it, one needs it no more
// when the next nodelet comes, and one may burst no more by then.
func TestKillDuringBurst(t *testing.T) {
	control, node, c := newRoles(t)

	known := map[string]identity{}
	pods := map[string]*bursting{}
	for _, name := range []string{"goes-on", "rests", "ends", "grows"} {
		pods[name] = startBursting(t, c, name)
		known[name] = pods[name].id
	}
	for _, p := range pods {
		p.billedMore(t, control) // what isn't written down yet is lost with the nodelet
		p.awaitBurst(t)
	}
	if err := node.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	pods["rests"].letGo(t)
	annotate(t, c, "ends", "null")
	pods["grows"].write(t, "more")
	pods["grows"].awaitAtLimit(t)
	start(t, node)

	pods["rests"].awaitSize(t)
	until(t, "ends has its CPU and keeps the memory that it uses", func() bool {
		cpu, memory := pods["ends"].limits(t)
		return cpu == 100 && memory > pods["ends"].atSize
	})
	pods["ends"].letGo(t)
	pods["ends"].awaitSize(t)
	pods["ends"].awaitUnguarded(t)

	until(t, "grows got more", func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/%d/root/tmp/got", pods["grows"].pid))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return err == nil
	})
	pods["goes-on"].awaitBurst(t)
	pods["goes-on"].billedMore(t, control) // what the killed one had written down
	pods["goes-on"].billedMore(t, control)
	pods["goes-on"].letGo(t)
	pods["grows"].letGo(t)
	for _, name := range []string{"goes-on", "rests", "grows"} {
		p := pods[name]
		p.awaitSize(t)
		annotate(t, c, name, "null")
		p.awaitUnguarded(t)
		await(t, c, metav1.NamespaceDefault, name, "at rest", conditionIs(v1alpha1.ConditionBursting, ""))
	}
	for name, p := range pods {
		if is := identify(await(t, c, metav1.NamespaceDefault, name, "ready", ready)); is != p.id {
			t.Errorf("pod %s was %+v and is %+v", name, p.id, is)
		}
		if pid := pidOf(t, p.main); pid != p.pid {
			t.Errorf("pod %s: process %d became %d", name, p.pid, pid)
		}
	}
	checkMetering(t, control, c, known)
	for _, bill := range bills(t, control) {
		checkBurst(t, bill, pods[bill.Name])
	}
}

// burstScript holds so many bytes, so many once there is the file more, for which it takes more than any limit that it was
// given for the first, and nothing once there is the file end. It
// never rests before.
const burstScript = `awk 'BEGIN {
	s = "x"; while (length(s) < %d) s = s s
	while ((getline l < "/tmp/more") < 0 && (getline l < "/tmp/end") < 0);
	if ((getline l < "/tmp/more") == 0) { while (length(s) < %d) s = s s; print > "/tmp/got"; close("/tmp/got") }
	while ((getline l < "/tmp/end") < 0);
}'
exec sleep 100000`

// startBursting makes a pod whose process holds more memory than the pod's size, and never rests, until it is let go.
func startBursting(t *testing.T, c *kubernetes.Clientset, name string) *bursting {
	t.Helper()
	p := &bursting{name: name, atSize: 64 << 20, bound: 512 << 20}
	pod := shellPod(name, fmt.Sprintf(burstScript, p.atSize, 2*p.atSize))
	pod.Annotations = map[string]string{v1alpha1.AnnotationBurst: "cpu=1,memory=512Mi,budget=10m"}
	pod = create(t, c, metav1.NamespaceDefault, pod)
	p.id, p.main = identify(pod), inKernel(t, string(pod.UID), "main")
	above := func(file string) string { return filepath.Join(filepath.Dir(file), "..", filepath.Base(file)) }
	group := *p.main
	group.CPU, group.Memory = above(p.main.CPU), above(p.main.Memory)
	p.pod, p.pid = &group, pidOf(t, p.main)
	return p
}

// until polls: what a test waits for here is the kernel's or the bill's, which tell nobody.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not so: %s", what)
		}
	}
}

// awaitBurst waits until the kernel has more CPU and memory for it than its size.
func (p *bursting) awaitBurst(t *testing.T) {
	t.Helper()
	until(t, p.name+" has more than its size", func() bool {
		cpu, memory := p.limits(t)
		return cpu > 100 && memory > p.atSize
	})
}

func (p *bursting) limits(t *testing.T) (cpuMilli, memory int64) {
	t.Helper()
	cpuMilli, memory, err := p.main.Limits()
	if err != nil {
		t.Fatal(err)
	}
	return cpuMilli, memory
}

// write makes a file where the process looks for it.
func (p *bursting) write(t *testing.T, file string) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/root/tmp/%s", p.pid, file), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// awaitAtLimit waits until the process is held up because it needs more than its limit.
func (p *bursting) awaitAtLimit(t *testing.T) {
	t.Helper()
	dir := filepath.Dir(p.main.Memory)
	until(t, p.name+" is at its limit", func() bool {
		if events, err := os.ReadFile(filepath.Join(dir, "memory.events")); err == nil {
			return !strings.Contains(string(events), "high 0\n")
		}
		for _, of := range []*kernel.Container{p.main, p.pod} {
			control, err := os.ReadFile(filepath.Join(filepath.Dir(of.Memory), "memory.oom_control"))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(control), "under_oom 1\n") {
				return true
			}
		}
		return false
	})
}

// letGo has the process give all back, and waits until it has. It needs no nodelet.
func (p *bursting) letGo(t *testing.T) {
	t.Helper()
	p.write(t, "end")
	proc := fmt.Sprintf("/proc/%d", p.pid)
	until(t, p.name+" sleeps", func() bool {
		comm, err := os.ReadFile(filepath.Join(proc, "comm"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(comm)) == "sleep"
	})
}

// awaitSize waits until the kernel has the size for the container and the pod.
func (p *bursting) awaitSize(t *testing.T) {
	t.Helper()
	for _, of := range []*kernel.Container{p.main, p.pod} {
		if _, err := of.Await(100, p.atSize, time.Now().Add(patience)); err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
	}
}

// awaitUnguarded waits until nothing waits at the limits of the container and the pod any more.
func (p *bursting) awaitUnguarded(t *testing.T) {
	t.Helper()
	for _, of := range []*kernel.Container{p.main, p.pod} {
		dir := filepath.Dir(of.Memory)
		until(t, p.name+" is unguarded", func() bool {
			if high, err := os.ReadFile(filepath.Join(dir, "memory.high")); err == nil {
				return string(high) == "max\n"
			}
			control, err := os.ReadFile(filepath.Join(dir, "memory.oom_control"))
			if err != nil {
				t.Fatal(err)
			}
			return strings.Contains(string(control), "oom_kill_disable 0\n")
		})
	}
}

// annotate says what a pod may burst, as JSON.
func annotate(t *testing.T, c *kubernetes.Clientset, name, burst string) {
	t.Helper()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, v1alpha1.AnnotationBurst, burst)
	if _, err := c.CoreV1().Pods(metav1.NamespaceDefault).Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// billedMore waits until the pod is billed for more of its bursts than when this was last called.
func (p *bursting) billedMore(t *testing.T, in *instance.Instance) {
	t.Helper()
	until(t, p.name+" is billed for its burst", func() bool {
		for _, bill := range bills(t, in) {
			was, is := p.billed, bill.Burst
			if bill.Name == p.name && is.VCPUMilliseconds > was.VCPUMilliseconds && is.GiBMilliseconds > was.GiBMilliseconds {
				p.billed = is
				return true
			}
		}
		return false
	})
}

// checkBurst: what a line says of bursts comes on top of the size, for no longer than the line is and no more than
// the pod allows, and the totals are the sums of the lines.
func checkBurst(t *testing.T, bill v1alpha1.Bill, p *bursting) {
	t.Helper()
	var total, burst v1alpha1.BillTotal
	add := func(to *v1alpha1.BillTotal, of v1alpha1.BillTotal) {
		to.Milliseconds += of.Milliseconds
		to.VCPUMilliseconds += of.VCPUMilliseconds
		to.GiBMilliseconds += of.GiBMilliseconds
	}
	const gib = 1 << 30
	for i, line := range bill.Lines {
		add(&total, line.BillTotal)
		add(&burst, line.Burst.BillTotal)
		vcpu, memory := line.VCPUMilliseconds-line.Burst.VCPUMilliseconds, line.GiBMilliseconds-line.Burst.GiBMilliseconds
		if want := line.CPUMilli * line.Milliseconds / 1000; vcpu < want-1 || vcpu > want+1 {
			t.Errorf("%s, line %d: %d vCPU-ms without bursts, want %d", bill.Name, i, vcpu, want)
		}
		if want := line.MemoryBytes * line.Milliseconds / gib; memory < want-1 || memory > want+1 {
			t.Errorf("%s, line %d: %d GiB-ms without bursts, want %d", bill.Name, i, memory, want)
		}
		if b := line.Burst; b.Milliseconds > line.Milliseconds || b.VCPUMilliseconds > 900*b.Milliseconds/1000+1 || b.GiBMilliseconds > (p.bound-p.atSize)*b.Milliseconds/gib+1 { // they are rounded
			t.Errorf("%s, line %d: more bursts than the pod allows: %+v", bill.Name, i, line)
		}
	}
	if total.Cost = bill.Total.Cost; total != bill.Total {
		t.Errorf("%s: a total of %+v, the lines come to %+v", bill.Name, bill.Total, total)
	}
	if burst.Cost = bill.Burst.Cost; burst != bill.Burst.BillTotal {
		t.Errorf("%s: bursts of %+v, the lines come to %+v", bill.Name, bill.Burst, burst)
	}
	if burst.VCPUMilliseconds == 0 || burst.GiBMilliseconds == 0 {
		t.Errorf("%s isn't billed for its bursts: %+v", bill.Name, bill.Burst)
	}
}
