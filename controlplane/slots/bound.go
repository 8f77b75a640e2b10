package slots

import (
	"cmp"
	"slices"

	"swell.dev/swell/controlplane"
)

// need is what the slots of a namespace take of all that slots may hold, which is 1.
type need struct {
	min, all float64 // what policies set as a minimum; everything
	gets     float64
}

// bound cuts what is wanted down to the share of the room that slots may have. Namespaces share that evenly: what
// one doesn't want is the others'. Within a namespace what policies set as a minimum is cut last.
func (c *core) bound(room controlplane.Demand) {
	cost := func(w *workload) float64 {
		return max(float64(w.demand.CPUMilli)/max(1, float64(room.CPUMilli)), float64(w.demand.MemoryBytes)/max(1, float64(room.MemoryBytes))) / c.share
	}
	least := func(w *workload) int { return min(w.wanted, c.policies.ruleOf(w).min) }
	needs := map[string]*need{}
	total := 0.0
	for _, w := range c.workloads {
		if w.wanted == 0 {
			continue
		}
		n := needs[w.key.Namespace]
		if n == nil {
			n = &need{}
			needs[w.key.Namespace] = n
		}
		each := cost(w)
		n.all += each * float64(w.wanted)
		n.min += each * float64(least(w))
		total += each * float64(w.wanted)
	}
	if total <= 1 {
		return
	}
	shareOut(needs)
	for _, w := range c.workloads {
		n := needs[w.key.Namespace]
		switch {
		case n == nil || n.gets >= n.all:
		case n.min >= n.gets:
			w.wanted = int(float64(least(w)) * n.gets / n.min)
		default:
			w.wanted = least(w) + int(float64(w.wanted-least(w))*(n.gets-n.min)/(n.all-n.min))
		}
	}
}

// shareOut shares 1 between those that need more than that together: who needs least first, each at most an even
// part of what is left.
func shareOut(needs map[string]*need) {
	order := make([]*need, 0, len(needs))
	for _, n := range needs {
		order = append(order, n)
	}
	slices.SortFunc(order, func(a, b *need) int { return cmp.Compare(a.all, b.all) })
	left := 1.0
	for i, n := range order {
		n.gets = min(n.all, left/float64(len(order)-i))
		left -= n.gets
	}
}
