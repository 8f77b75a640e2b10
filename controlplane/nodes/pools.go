package nodes

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// Grant tells a node how much its reflex pool has from now on. The ledger calls it within the decision that
// changes it, so the grant is on its way before any assignment that takes the room. A node that isn't connected
// is told when it connects.
func (h *Hub) Grant(g controlplane.PoolGrant) {
	h.mu.Lock()
	s := h.sessions[g.Node]
	h.mu.Unlock()
	if s != nil {
		s.push(func() {
			if s.grant == nil || s.grant.Number < g.Number {
				s.grant, s.granted = &g, g.Room
			}
		})
	}
}

// poolReport passes on what a node says of its pool; nil, in a hello only: that it has none.
func (h *Hub) poolReport(s *session, r *nodev1.PoolReport, connected bool) {
	var report *controlplane.PoolReport
	if r != nil {
		report = &controlplane.PoolReport{Want: poolDemand(r.Want), Held: poolDemand(r.Held), Heard: r.Heard}
		s.mu.Lock()
		s.pool = report
		s.mu.Unlock()
	}
	h.cfg.Scheduler.Pool(s.node, report, connected)
}

// poolDemand reads a quantity; what makes no sense is none.
func poolDemand(p *nodev1.Pool) controlplane.Demand {
	return controlplane.Demand{CPUMilli: max(p.GetCpuMilli(), 0), MemoryBytes: max(p.GetMemoryBytes(), 0)}
}

func grantMessage(g *controlplane.PoolGrant) *nodev1.ToNode {
	return &nodev1.ToNode{Message: &nodev1.ToNode_Pool{Pool: &nodev1.Pool{
		CpuMilli: g.Room.CPUMilli, MemoryBytes: g.Room.MemoryBytes, Number: g.Number,
	}}}
}

// describePool is what a node shows of its pool; empty: it has none.
func (s *session) describePool() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pool == nil {
		return ""
	}
	text := func(d controlplane.Demand) string {
		cpu, memory := resource.NewMilliQuantity(d.CPUMilli, resource.DecimalSI), resource.NewQuantity(d.MemoryBytes, resource.BinarySI)
		return fmt.Sprintf("cpu=%s,memory=%s", cpu, memory)
	}
	return "granted " + text(s.granted) + "; held " + text(s.pool.Held) + "; want " + text(s.pool.Want)
}

// showPool writes it on the node, with a heartbeat: pools change far more often than anybody looks.
func showPool(n *corev1.Node, text string) (changed bool) {
	if n.Annotations[v1alpha1.AnnotationReflexPool] == text {
		return false
	}
	if text == "" {
		delete(n.Annotations, v1alpha1.AnnotationReflexPool)
		return true
	}
	if n.Annotations == nil {
		n.Annotations = map[string]string{}
	}
	n.Annotations[v1alpha1.AnnotationReflexPool] = text
	return true
}
