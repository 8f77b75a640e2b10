package scheduler

import "hash/fnv"

// tree is a search tree of nodes by free CPU, free memory and name: a treap whose priorities are hashes of
// the names, so that its shape depends on its contents alone. The zero tree is empty.
type tree struct {
	root *branch

	// Of a tree for a label: whose it is, and when it was last asked for.
	pool  *pool
	label label
	asked uint64
}

type branch struct {
	slot
	priority    uint32
	left, right *branch
	maxMemory   int64 // in this subtree
}

// slot is a node's place in a tree: its free room when it was put there.
type slot struct {
	cpu, memory int64
	node        *node
}

func (a slot) before(b slot) bool {
	switch {
	case a.cpu != b.cpu:
		return a.cpu < b.cpu
	case a.memory != b.memory:
		return a.memory < b.memory
	}
	return a.node.spec.Name < b.node.spec.Name
}

func priority(name string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(name))
	x := h.Sum32() // mixed further: names that count up hash into a pattern
	x ^= x >> 16
	x *= 0x85ebca6b
	x ^= x >> 13
	x *= 0xc2b2ae35
	return x ^ x>>16
}

func (t *tree) insert(s slot) {
	t.root = t.root.insert(&branch{slot: s, priority: s.node.priority, maxMemory: s.memory})
}

func (t *tree) remove(s slot) { t.root = t.root.remove(s) }

// bestFit answers the first node, in the tree's order, with room for the pod that the search accepts.
// Without refusals it looks at O(log nodes) branches. When many nodes with room are refused it goes on from
// the other end: the tightest nodes are often those that have pods of the same kind already, which spread and
// anti-affinity rule out; the roomiest ones then seldom are. What is only wished for isn't sought beyond that.
func (t *tree) bestFit(s *search) *node {
	s.rejects = 0
	n := t.root.bestFit(s)
	if n == nil && s.rejects > s.fleet.patience {
		n = t.root.roomiest(s)
	}
	return n
}

func (b *branch) bestFit(s *search) *node {
	if b == nil || b.maxMemory < s.req.Demand.MemoryBytes || s.rejects > s.fleet.patience {
		return nil
	}
	if b.cpu >= s.req.Demand.CPUMilli {
		if n := b.left.bestFit(s); n != nil {
			return n
		}
		if b.memory >= s.req.Demand.MemoryBytes && s.rejects <= s.fleet.patience && s.accepts(b.node) {
			return b.node
		}
	}
	return b.right.bestFit(s)
}

func (b *branch) roomiest(s *search) *node {
	if b == nil || b.maxMemory < s.req.Demand.MemoryBytes || s.also != nil && s.rejects > 2*s.fleet.patience {
		return nil
	}
	if n := b.right.roomiest(s); n != nil {
		return n
	}
	if b.cpu < s.req.Demand.CPUMilli {
		return nil
	}
	if b.memory >= s.req.Demand.MemoryBytes && s.accepts(b.node) {
		return b.node
	}
	return b.left.roomiest(s)
}

func (b *branch) update() *branch {
	b.maxMemory = b.memory
	if b.left != nil {
		b.maxMemory = max(b.maxMemory, b.left.maxMemory)
	}
	if b.right != nil {
		b.maxMemory = max(b.maxMemory, b.right.maxMemory)
	}
	return b
}

func (b *branch) insert(x *branch) *branch {
	if b == nil {
		return x
	}
	if x.priority > b.priority {
		x.left, x.right = b.split(x.slot)
		return x.update()
	}
	if x.before(b.slot) {
		b.left = b.left.insert(x)
	} else {
		b.right = b.right.insert(x)
	}
	return b.update()
}

// split parts what is before s from what is after.
func (b *branch) split(s slot) (before, after *branch) {
	if b == nil {
		return nil, nil
	}
	if b.before(s) {
		b.right, after = b.right.split(s)
		return b.update(), after
	}
	before, b.left = b.left.split(s)
	return before, b.update()
}

func (b *branch) remove(s slot) *branch {
	switch {
	case b == nil:
		return nil
	case s.before(b.slot):
		b.left = b.left.remove(s)
	case b.before(s):
		b.right = b.right.remove(s)
	default:
		return merge(b.left, b.right)
	}
	return b.update()
}

// merge joins two trees of which all of the first comes before all of the second.
func merge(a, b *branch) *branch {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.priority > b.priority:
		a.right = merge(a.right, b)
		return a.update()
	}
	b.left = merge(a, b.left)
	return b.update()
}
