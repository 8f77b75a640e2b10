package scheduler

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/controlplane"
)

// label is one of a node's labels.
type label struct{ key, value string }

// fleet holds the nodes, and the indexes in which they are found.
type fleet struct {
	nodes  map[string]*node
	list   []*node                        // the known ones, in no order
	having map[label]map[*node]struct{}   // known nodes, by label
	values map[string]map[string]struct{} // the values of each label
	keyed  map[string]int                 // how many known nodes have the label, with whatever value
	pools  []*pool                        // none is empty
	inert  pools                          // those that keep no pod away
	shapes uint64                         // grows with each change of pools
	trees  []*tree                        // of labels, in all pools

	lenders map[*node]struct{} // nodes with reflex pools
	due     []*node            // of them those whose room has changed, none of them twice
	asked   uint64             // counts searches in trees of labels

	few      int // so many nodes with a label are looked at one by one; more get a tree
	patience int // so many nodes with room may be refused by rules; see tree.bestFit
}

// pool is the nodes of one kind: with the same taints, that offer the same classes. Nodes of a kind that a
// pod can't have are never looked at.
type pool struct {
	taints  []corev1.Taint
	repels  bool // who doesn't tolerate them
	avoided bool // there is a taint PreferNoSchedule
	expels  bool // and NoExecute
	classes controlplane.Classes
	nodes   int

	all   tree            // its open nodes
	trees map[label]*tree // its open nodes with a label that somebody asked for
}

// pools are some kinds of nodes: those to take first, and those to take if there is no other way.
type pools struct{ wanted, avoided []*pool }

// What the two are outside of tests.
const (
	fewNodes   = 32
	maxRejects = 256
)

// maxTrees bounds the trees for labels; the one that was not asked for the longest is given up.
const maxTrees = 256

func newFleet() fleet {
	return fleet{
		nodes: map[string]*node{}, having: map[label]map[*node]struct{}{},
		values: map[string]map[string]struct{}{}, keyed: map[string]int{}, lenders: map[*node]struct{}{},
		few: fewNodes, patience: maxRejects,
	}
}

// get answers a node, made if nothing is known of it.
func (f *fleet) get(name string) *node {
	n := f.nodes[name]
	if n == nil {
		n = &node{spec: controlplane.Node{Name: name}, priority: priority(name)}
		f.nodes[name] = n
	}
	return n
}

// differs tells whether the node is another one to rules than it was.
func (n *node) differs(spec *controlplane.Node) bool {
	return !n.known || !maps.Equal(n.spec.Labels, spec.Labels) || !slices.EqualFunc(n.spec.Taints, spec.Taints, sameTaint)
}

func sameTaint(a, b corev1.Taint) bool {
	return a.Key == b.Key && a.Value == b.Value && a.Effect == b.Effect
}

func (f *fleet) set(spec controlplane.Node) *node {
	n := f.get(spec.Name)
	f.unindex(n)
	if n.differs(&spec) {
		f.leave(n)
		spec.Labels, spec.Taints = maps.Clone(spec.Labels), slices.Clone(spec.Taints)
		n.spec = spec
		f.enter(n)
	} else {
		spec.Labels, spec.Taints = n.spec.Labels, n.spec.Taints
		n.spec = spec
	}
	f.reindex(n)
	return n
}

// remove forgets the host. What was promised on it stays until it is released.
func (f *fleet) remove(n *node) {
	f.unindex(n)
	f.leave(n)
	n.spec = controlplane.Node{Name: n.spec.Name}
	f.forget(n)
}

func (f *fleet) forget(n *node) {
	if !n.known && n.pods == 0 {
		delete(f.nodes, n.spec.Name)
		delete(f.lenders, n)
	}
}

// enter makes a node known by its labels and its kind.
func (f *fleet) enter(n *node) {
	n.known = true
	n.listed = len(f.list)
	f.list = append(f.list, n)
	for k, v := range n.spec.Labels {
		l := label{k, v}
		if f.having[l] == nil {
			f.having[l] = map[*node]struct{}{}
			if f.values[k] == nil {
				f.values[k] = map[string]struct{}{}
			}
			f.values[k][v] = struct{}{}
		}
		f.having[l][n] = struct{}{}
		f.keyed[k]++
	}
	n.pool = f.poolOf(&n.spec)
	n.pool.nodes++
	for k, v := range n.spec.Labels {
		if t := n.pool.trees[label{k, v}]; t != nil {
			n.trees = append(n.trees, t)
		}
	}
}

func (f *fleet) leave(n *node) {
	if !n.known {
		return
	}
	n.known = false
	last := f.list[len(f.list)-1]
	f.list[n.listed], last.listed = last, n.listed
	f.list[len(f.list)-1] = nil
	f.list = f.list[:len(f.list)-1]
	n.trees = nil
	for k, v := range n.spec.Labels {
		l := label{k, v}
		f.keyed[k]--
		if delete(f.having[l], n); len(f.having[l]) > 0 {
			continue
		}
		delete(f.having, l)
		if delete(f.values[k], v); len(f.values[k]) == 0 {
			delete(f.values, k)
			delete(f.keyed, k)
		}
	}
	if n.pool.nodes--; n.pool.nodes == 0 {
		for l := range n.pool.trees {
			f.drop(n.pool.trees[l])
		}
		f.pools = slices.DeleteFunc(f.pools, func(p *pool) bool { return p == n.pool })
		f.repool()
	}
	n.pool = nil
}

func (f *fleet) poolOf(spec *controlplane.Node) *pool {
	classes := controlplane.NodeClasses(spec.Labels)
	for _, p := range f.pools {
		if p.classes == classes && slices.EqualFunc(p.taints, spec.Taints, sameTaint) {
			return p
		}
	}
	p := &pool{taints: spec.Taints, classes: classes, trees: map[label]*tree{}}
	for i := range spec.Taints {
		t := &spec.Taints[i]
		p.repels = p.repels || controlplane.Repels(t)
		p.avoided = p.avoided || t.Effect == corev1.TaintEffectPreferNoSchedule
		p.expels = p.expels || t.Effect == corev1.TaintEffectNoExecute
	}
	f.pools = append(f.pools, p)
	f.repool()
	return p
}

func (f *fleet) repool() {
	f.shapes++
	f.inert = f.tolerated(nil)
}

// tolerated are the pools that these tolerations open.
func (f *fleet) tolerated(tolerations []corev1.Toleration) pools {
	var out pools
pool:
	for _, p := range f.pools {
		avoided := false
		for i := range p.taints {
			t := &p.taints[i]
			if controlplane.Tolerates(tolerations, t) {
				continue
			}
			if controlplane.Repels(t) {
				continue pool
			}
			avoided = true
		}
		if avoided {
			out.avoided = append(out.avoided, p)
		} else {
			out.wanted = append(out.wanted, p)
		}
	}
	return out
}

// reindex moves the node to where its free room belongs.
func (f *fleet) reindex(n *node) {
	f.unindex(n)
	if n.lends != nil {
		f.look(n)
	}
	if !n.open() {
		return
	}
	free := n.free()
	n.at, n.indexed = slot{free.CPUMilli, free.MemoryBytes, n}, true
	n.pool.all.insert(n.at)
	for _, t := range n.trees {
		t.insert(n.at)
	}
}

func (f *fleet) unindex(n *node) {
	if !n.indexed {
		return
	}
	n.pool.all.remove(n.at)
	for _, t := range n.trees {
		t.remove(n.at)
	}
	n.indexed = false
}

// treeFor answers the tree of a pool's nodes with a label, made if nobody has asked for it lately.
func (f *fleet) treeFor(p *pool, l label) *tree {
	f.asked++
	if t := p.trees[l]; t != nil {
		t.asked = f.asked
		return t
	}
	if len(f.trees) >= maxTrees {
		f.drop(slices.MinFunc(f.trees, func(a, b *tree) int { return int(int64(a.asked - b.asked)) }))
	}
	t := &tree{pool: p, label: l, asked: f.asked}
	for n := range f.having[l] {
		if n.pool != p {
			continue
		}
		n.trees = append(n.trees, t)
		if n.indexed {
			t.insert(n.at)
		}
	}
	p.trees[l] = t
	f.trees = append(f.trees, t)
	return t
}

func (f *fleet) drop(t *tree) {
	delete(t.pool.trees, t.label)
	f.trees = slices.DeleteFunc(f.trees, func(o *tree) bool { return o == t })
	for n := range f.having[t.label] {
		n.trees = slices.DeleteFunc(n.trees, func(o *tree) bool { return o == t })
	}
}
