package scheduler

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"swell.dev/swell/controlplane"
)

// TestPropertiesHold makes random calls and checks after each that nothing was promised twice, that the
// choice was the best one, that nobody waits for room that is there, and that a replay decides alike.
func TestPropertiesHold(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			first := walk(t, seed, true)
			if again := walk(t, seed, false); !slices.Equal(first, again) {
				t.Error("a replay decided otherwise")
			}
		})
	}
}

func walk(t *testing.T, seed uint64, check bool) []string {
	random := rand.New(rand.NewPCG(seed, 7))
	c := newCore()
	var log []string
	capacity := map[string]controlplane.Demand{}
	for step := range 1500 {
		uid := fmt.Sprintf("p%d", random.IntN(120))
		d := controlplane.Demand{CPUMilli: random.Int64N(8) * 250, MemoryBytes: random.Int64N(8) * 256}
		switch random.IntN(12) {
		case 0:
			name := fmt.Sprintf("n%d", random.IntN(12))
			grown := capacity[name].Max(controlplane.Demand{CPUMilli: random.Int64N(5000), MemoryBytes: random.Int64N(5000)})
			capacity[name] = grown // never less than was promised
			c.setNode(controlplane.Node{
				Name: name, Capacity: grown, MaxPods: 12, Ready: random.IntN(5) > 0, Cordoned: random.IntN(5) == 0,
				Labels: map[string]string{"zone": fmt.Sprint(random.IntN(3)), "disk": fmt.Sprint(random.IntN(2))},
			})
		case 1:
			if random.IntN(5) == 0 {
				c.removeNode(fmt.Sprintf("n%d", random.IntN(12)))
			}
		case 2, 3, 4, 5:
			req := randomRequest(random, uid, d, step)
			held, best := c.pods[uid], bruteForce(c, &req)
			got, err := c.place(req)
			if check && held == nil && (best == nil) != (err != nil) {
				t.Fatalf("step %d: place %+v: %q, %v, but %v would do", step, req, got, err, best)
			}
			if check && held == nil && best != nil && got != best.spec.Name {
				t.Fatalf("step %d: place %+v on %s, best is %s", step, req, got, best.spec.Name)
			}
			if err != nil {
				c.pend(req)
			}
			log = append(log, fmt.Sprint("place ", uid, got, err))
		case 6, 7:
			c.release(uid)
		case 8, 9:
			v, err := c.resize(uid, d)
			log = append(log, fmt.Sprint("resize ", uid, v, err))
			if random.IntN(3) == 0 {
				c.revert(uid)
			}
		default:
			if r := c.pods[uid]; r != nil {
				c.actuated(uid, r.allocated)
			}
		}
		for _, d := range c.take() {
			log = append(log, d.String())
		}
		if check {
			checkInvariants(t, c, step)
		}
	}
	return log
}

func randomRequest(random *rand.Rand, uid string, d controlplane.Demand, step int) controlplane.PlaceRequest {
	req := controlplane.PlaceRequest{UID: uid, Demand: d, Created: time.Unix(int64(step), 0)}
	switch random.IntN(6) {
	case 0:
		req.NodeName = fmt.Sprintf("n%d", random.IntN(12))
	case 1:
		req.NodeSelector = map[string]string{"zone": fmt.Sprint(random.IntN(4))}
	case 2:
		req.NodeSelector = map[string]string{"zone": fmt.Sprint(random.IntN(3)), "disk": fmt.Sprint(random.IntN(2))}
	case 3:
		req.HostPorts = []controlplane.HostPort{{Protocol: "TCP", IP: []string{"", "192.0.2.1", "192.0.2.2"}[random.IntN(3)], Port: 80 + random.Int32N(2)}}
	}
	return req
}

// bruteForce is the choice by a look at all nodes.
func bruteForce(c *core, req *controlplane.PlaceRequest) *node {
	var best *node
	for _, n := range c.fleet.nodes {
		if !n.takes(req) {
			continue
		}
		f := n.free()
		if s := (slot{f.CPUMilli, f.MemoryBytes, n}); best == nil || s.before(slot{best.free().CPUMilli, best.free().MemoryBytes, best}) {
			best = n
		}
	}
	return best
}

func checkInvariants(t *testing.T, c *core, step int) {
	t.Helper()
	used := map[*node]controlplane.Demand{}
	pods := map[*node]int{}
	ports := map[*node][]controlplane.HostPort{}
	wishes := 0
	for uid, r := range c.pods {
		used[r.node] = used[r.node].Add(r.reserved())
		pods[r.node]++
		if c.pending.pods[uid] != nil {
			t.Fatalf("step %d: %s has a node and pends", step, uid)
		}
		if r.wish != nil {
			wishes++
			if c.admits(r, *r.wish) {
				t.Fatalf("step %d: %s's resize is deferred, though there is room", step, uid)
			}
		}
		ports[r.node] = append(ports[r.node], r.ports...)
		if c.fleet.nodes[r.node.spec.Name] != r.node {
			t.Fatalf("step %d: %s is on a node that is forgotten", step, uid)
		}
	}
	indexed := 0
	for name, n := range c.fleet.nodes {
		if n.used != used[n] || n.pods != pods[n] {
			t.Fatalf("step %d: %s counts %v in %d pods, its pods hold %v in %d", step, name, n.used, n.pods, used[n], pods[n])
		}
		if len(n.ports) != len(ports[n]) {
			t.Fatalf("step %d: %s counts the ports %v, its pods have %v", step, name, n.ports, ports[n])
		}
		for i, p := range n.ports {
			if slices.ContainsFunc(n.ports[:i], p.Conflicts) {
				t.Fatalf("step %d: %s has given port %v out twice: %v", step, name, p, n.ports)
			}
		}
		if f := n.free(); n.known && (f.CPUMilli < 0 || f.MemoryBytes < 0) {
			t.Fatalf("step %d: %s is promised beyond its capacity: %v free", step, name, f)
		}
		if n.known && n.pods > n.spec.MaxPods {
			t.Fatalf("step %d: %s has %d pods", step, name, n.pods)
		}
		wishes -= len(n.deferred)
		if n.indexed != n.open() {
			t.Fatalf("step %d: %s is indexed: %v, open: %v", step, name, n.indexed, n.open())
		}
		if n.indexed {
			indexed++
		}
	}
	if wishes != 0 {
		t.Fatalf("step %d: the nodes' deferred resizes aren't the pods' wishes", step)
	}
	if n := checkTree(t, c.fleet.all.root, step); n != indexed {
		t.Fatalf("step %d: %d nodes in the tree, %d indexed", step, n, indexed)
	}
	for _, tr := range c.fleet.trees {
		checkTree(t, tr.root, step)
	}
	inLines := 0
	for s, l := range c.pending.lines {
		inLines += len(*l)
		if n := bruteForce(c, &(*l)[0].req); n != nil {
			t.Fatalf("step %d: a pod of shape %+v pends, though %s has room", step, s, n.spec.Name)
		}
	}
	if inLines != len(c.pending.pods) {
		t.Fatalf("step %d: %d pods in lines, %d pending", step, inLines, len(c.pending.pods))
	}
}

func checkTree(t *testing.T, b *branch, step int) int {
	t.Helper()
	if b == nil {
		return 0
	}
	most := b.memory
	for _, child := range []*branch{b.left, b.right} {
		if child != nil {
			most = max(most, child.maxMemory)
			if child.priority > b.priority {
				t.Fatalf("step %d: the tree isn't a heap", step)
			}
		}
	}
	if b.maxMemory != most || !b.node.indexed || b.node.at != b.slot ||
		(b.left != nil && !b.left.before(b.slot)) || (b.right != nil && !b.before(b.right.slot)) {
		t.Fatalf("step %d: the tree is broken at %s", step, b.node.spec.Name)
	}
	return 1 + checkTree(t, b.left, step) + checkTree(t, b.right, step)
}

// BenchmarkPlace places a pod and releases another, on nodes that are half full. The cost must hardly grow
// with the fleet.
func BenchmarkPlace(b *testing.B) {
	for _, selector := range []map[string]string{nil, {"zone": "1"}} {
		for _, nodes := range []int{100, 1000, 10_000} {
			b.Run(fmt.Sprintf("nodes=%d/labels=%d", nodes, len(selector)), func(b *testing.B) {
				random := rand.New(rand.NewPCG(1, 2))
				c := newCore()
				for i := range nodes {
					c.setNode(controlplane.Node{
						Name: fmt.Sprintf("node-%d", i), Capacity: controlplane.Demand{CPUMilli: 64_000, MemoryBytes: 256 << 30}, MaxPods: 1000, Ready: true,
						Labels: map[string]string{"zone": fmt.Sprint(i % 3), "kubernetes.io/hostname": fmt.Sprint(i), "kubernetes.io/os": "linux"},
					})
				}
				demand := func() controlplane.Demand {
					return controlplane.Demand{CPUMilli: 250 * (1 + random.Int64N(8)), MemoryBytes: (512 << 20) * (1 + random.Int64N(8))}
				}
				for i := range nodes * 28 {
					c.restore(controlplane.PlaceRequest{UID: fmt.Sprint(i), NodeName: fmt.Sprintf("node-%d", random.IntN(nodes)), Demand: demand()})
				}
				uids := make([]string, 256)
				for i := range uids {
					uids[i] = fmt.Sprintf("new-%d", i)
				}
				b.ReportAllocs()
				b.ResetTimer()
				for i := range b.N {
					uid := uids[i%len(uids)]
					c.release(uid)
					if _, err := c.place(controlplane.PlaceRequest{UID: uid, Demand: demand(), NodeSelector: selector}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
