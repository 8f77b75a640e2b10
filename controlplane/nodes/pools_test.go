package nodes

import (
	"strings"
	"testing"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

func poolReport(want, held *nodev1.Pool, heard int64) *nodev1.PoolReport {
	return &nodev1.PoolReport{Want: want, Held: held, Heard: heard}
}

func (n *fakeNodelet) expectGrant(number, milli, bytes int64) {
	n.t.Helper()
	if p := n.next().GetPool(); p.GetNumber() != number || p.GetCpuMilli() != milli || p.GetMemoryBytes() != bytes {
		n.t.Fatalf("got %v, want grant %d of %d and %d", p, number, milli, bytes)
	}
}

func grantOf(node string, number, milli, bytes int64) controlplane.PoolGrant {
	return controlplane.PoolGrant{Node: node, Number: number, Room: controlplane.Demand{CPUMilli: milli, MemoryBytes: bytes}}
}

func TestPoolIsReportedAndGranted(t *testing.T) {
	w := newWorld(t)
	// The ledger grants when the node connects, before that is announced.
	w.sched.onPool = func(name string, _ *controlplane.PoolReport, connected bool) {
		if connected {
			w.hub.Grant(grantOf(name, 3, 1000, 1<<20))
		}
	}
	n := w.open(w.dial(w.certificate("n1")))
	hello := helloOf("n1")
	hello.GetHello().Pool = poolReport(&nodev1.Pool{CpuMilli: 2000, MemoryBytes: 2 << 20}, &nodev1.Pool{CpuMilli: 10}, 0)
	n.send(hello)
	n.expectGrant(3, 1000, 1<<20)
	if n.next().GetSync() == nil {
		t.Fatal("no sync follows")
	}
	w.until(t, "the report is passed on", func() bool {
		p := w.sched.pool("n1")
		return p.connected && p.Want == (controlplane.Demand{CPUMilli: 2000, MemoryBytes: 2 << 20}) && p.Held.CPUMilli == 10
	})
	n.send(&nodev1.FromNode{Message: &nodev1.FromNode_Pool{Pool: poolReport(&nodev1.Pool{CpuMilli: 2000}, &nodev1.Pool{CpuMilli: -5, MemoryBytes: 7}, 3)}})
	w.until(t, "the next report is passed on", func() bool {
		p := w.sched.pool("n1")
		return !p.connected && p.Heard == 3 && p.Held == controlplane.Demand{MemoryBytes: 7}
	})

	// What a heartbeat finds is shown on the node.
	n.send(&nodev1.FromNode{Message: &nodev1.FromNode_Heartbeat{Heartbeat: &nodev1.Heartbeat{}}})
	w.until(t, "the pool is shown", func() bool {
		o, ok := w.store.Get(nodeKey("n1"))
		return ok && o.GetAnnotations()[v1alpha1.AnnotationReflexPool] == "granted cpu=1,memory=1Mi; held cpu=0,memory=7; want cpu=2,memory=0"
	})
	w.hub.Grant(grantOf("elsewhere", 1, 1, 1)) // nobody is there to be told

	// A node that comes back without a pool shows none.
	n.leave()
	w.sched.onPool = nil
	w.connect("n1")
	w.until(t, "no pool is shown", func() bool {
		o, _ := w.store.Get(nodeKey("n1"))
		return o.GetAnnotations()[v1alpha1.AnnotationReflexPool] == "" && w.sched.pool("n1").PoolReport == nil
	})
}

// TestGrantPrecedesAssignment has a grant shrink and a pod assigned at once, as a decision does: the node hears
// of the smaller grant first, and only of the last one.
func TestGrantPrecedesAssignment(t *testing.T) {
	w := newWorld(t)
	n, _ := w.connect("n1")
	for i := range int64(50) {
		pod := podOn("n1", "p"+string(rune('a'+i%26))+string(rune('a'+i/26)))
		w.hub.Grant(grantOf("n1", 2*i+1, 1000, 1000))
		w.hub.Grant(grantOf("n1", 2*i+2, 1000-i, 1000-i))
		w.hub.Grant(grantOf("n1", 2*i+1, 1000, 1000)) // late, and void
		w.store.put(pod)
		last := int64(0)
		for {
			m := n.next()
			if p := m.GetPool(); p != nil {
				last = p.Number
				continue
			}
			if a := m.GetAssign(); a == nil || !strings.Contains(string(a.Pod), pod.Name) {
				t.Fatalf("got %v", m)
			}
			break
		}
		if last != 2*i+2 {
			t.Fatalf("pod %d was assigned when grant %d had been heard of", i, last)
		}
	}
}
