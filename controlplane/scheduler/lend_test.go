package scheduler

import (
	"math/rand/v2"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/controlplane"
)

// poolNode is a node as it may behave: it hears of grants late, holds anything that it has ever been allowed
// since, and says so when it likes.
type poolNode struct {
	sent  []controlplane.PoolGrant // and not heard of yet, in order
	heard controlplane.PoolGrant
	held  controlplane.Demand
}

// poolNodes are the nodes that have pools, by name.
type poolNodes map[string]*poolNode

func (p poolNodes) hear(d decision) {
	if n := p[d.node]; d.kind == granted && n != nil {
		n.sent = append(n.sent, d.grant)
	}
}

// say has something happen on a node, and mostly be told.
func (p poolNodes) say(random *rand.Rand, c *core, name string) {
	if c.fleet.nodes[name] == nil || !c.fleet.nodes[name].known {
		return
	}
	n := p[name]
	connected := n == nil || random.IntN(10) == 0
	if connected {
		if n == nil {
			n = &poolNode{}
			p[name] = n
		}
		n.sent = nil // what was on its way is lost
	}
	if len(n.sent) > 0 && random.IntN(2) == 0 {
		n.heard, n.sent = n.sent[0], n.sent[1:]
		n.held = controlplane.Demand{CPUMilli: min(n.held.CPUMilli, n.heard.Room.CPUMilli), MemoryBytes: min(n.held.MemoryBytes, n.heard.Room.MemoryBytes)}
	}
	if random.IntN(2) == 0 { // a burst
		n.held = controlplane.Demand{CPUMilli: random.Int64N(n.heard.Room.CPUMilli + 1), MemoryBytes: random.Int64N(n.heard.Room.MemoryBytes + 1)}
	}
	if connected { // it goes no further than what it holds
		n.heard = controlplane.PoolGrant{Room: n.held}
	}
	want := controlplane.Demand{CPUMilli: random.Int64N(5000), MemoryBytes: random.Int64N(5000)}
	c.pooled(name, &controlplane.PoolReport{Want: want, Held: n.held, Heard: n.heard.Number}, connected)
}

// forget drops nodes that were removed: they begin anew.
func (p poolNodes) forget(c *core) {
	for name := range p {
		if n := c.fleet.nodes[name]; n == nil || !n.known || n.lends == nil {
			delete(p, name)
		}
	}
}

// check finds memory that is promised and may be used by a burst, whatever the node does next, and grants of
// what there isn't.
func (p poolNodes) check(t *testing.T, c *core, step int) {
	t.Helper()
	for name, pn := range p {
		n := c.fleet.nodes[name]
		most := max(pn.held.MemoryBytes, pn.heard.Room.MemoryBytes)
		for _, g := range pn.sent {
			most = max(most, g.Room.MemoryBytes)
		}
		if free := n.spec.Capacity.Sub(n.used); most > free.MemoryBytes {
			t.Fatalf("step %d: %s may use %d bytes for bursts, and has %v beyond its pods", step, name, most, free)
		}
		spare := n.unclaimed().Sub(n.wished).Max(controlplane.Demand{})
		want := controlplane.Demand{CPUMilli: min(spare.CPUMilli, n.lends.Want.CPUMilli), MemoryBytes: min(spare.MemoryBytes, n.lends.Want.MemoryBytes)}
		if n.lends.granted.Room != want {
			t.Fatalf("step %d: %s lends %v, wanted is and there is %v", step, name, n.lends.granted.Room, want)
		}
	}
}

func randomResize(random *rand.Rand, d controlplane.Demand) controlplane.ResizeRequest {
	return controlplane.ResizeRequest{
		Demand: d, Priority: random.Int32N(2), QOS: []corev1.PodQOSClass{corev1.PodQOSGuaranteed, corev1.PodQOSBurstable}[random.IntN(2)],
		Patient: random.IntN(2) == 0,
	}
}

// TestANodeThatDoesntAnswer has its grants bounded, and loses nothing.
func TestANodeThatDoesntAnswer(t *testing.T) {
	l := &loan{}
	for i := range int64(1000) {
		l.grant(controlplane.Demand{MemoryBytes: 1000 - i})
	}
	if len(l.past) > maxPast || l.memory() != 1000 {
		t.Errorf("%d grants remembered, %d bytes counted", len(l.past), l.memory())
	}
	if l.hear(10); l.memory() != 991 {
		t.Errorf("after the tenth was heard of %d bytes count", l.memory())
	}
	if l.hear(500); l.memory() < 501 {
		t.Errorf("after the 500th was heard of %d bytes count", l.memory())
	}
	if l.hear(1000); l.memory() != 1 {
		t.Errorf("after the last one %d bytes count", l.memory())
	}
}
