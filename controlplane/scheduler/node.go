package scheduler

import (
	"maps"
	"slices"

	"swell.dev/swell/controlplane"
)

// node is a host and what was promised on it.
type node struct {
	spec     controlplane.Node
	known    bool // false: pods are there, the host isn't announced (yet, or any more)
	priority uint32
	used     controlplane.Demand // the sum of its pods' reserved
	pods     int
	ports    []controlplane.HostPort // that its pods have; few do
	deferred []*reservation          // resizes that wait for room, in the order they were asked for

	slots    []*reservation      // those of its pods that are slots
	slotRoom controlplane.Demand // that they hold
	heldAt   slot                // among the nodes with slots; valid if holds
	holds    bool

	indexed bool
	at      slot // in the trees; valid if indexed
}

func (n *node) free() controlplane.Demand {
	return controlplane.Demand{
		CPUMilli:    n.spec.Capacity.CPUMilli - n.used.CPUMilli,
		MemoryBytes: n.spec.Capacity.MemoryBytes - n.used.MemoryBytes,
	}
}

// open tells whether a pod may be placed there that nobody assigned to it by name.
func (n *node) open() bool {
	return n.known && n.spec.Ready && !n.spec.Cordoned && n.pods < n.spec.MaxPods
}

func (n *node) matches(selector map[string]string) bool {
	for k, v := range selector {
		if got, ok := n.spec.Labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// takes tells whether this node may have the pod now.
func (n *node) takes(req *controlplane.PlaceRequest) bool {
	if req.NodeName != "" {
		if req.NodeName != n.spec.Name || !n.known || !n.spec.Ready || n.pods >= n.spec.MaxPods {
			return false
		}
	} else if !n.open() {
		return false
	}
	return req.Demand.Fits(n.free()) && n.accepts(req)
}

// accepts tells whether what isn't a quantity fits.
func (n *node) accepts(req *controlplane.PlaceRequest) bool {
	return n.matches(req.NodeSelector) && n.hasPorts(req.HostPorts)
}

func (n *node) hasPorts(wanted []controlplane.HostPort) bool {
	for _, p := range wanted {
		if slices.ContainsFunc(n.ports, p.Conflicts) {
			return false
		}
	}
	return true
}

// giveBack takes ports of a pod out, each once: pods that were restored may share some.
func (n *node) giveBack(ports []controlplane.HostPort) {
	for _, p := range ports {
		if i := slices.Index(n.ports, p); i >= 0 {
			n.ports = slices.Delete(n.ports, i, i+1)
		}
	}
}

// label is one of a node's labels.
type label struct{ key, value string }

// fleet holds the nodes and finds them.
type fleet struct {
	nodes  map[string]*node
	all    tree                         // open nodes
	having map[label]map[*node]struct{} // known nodes, by label
	trees  map[label]*tree              // open nodes with a label that some selector has asked for
}

// maxTrees bounds the trees for labels; beyond it all are dropped and made again as they are asked for.
const maxTrees = 256

func newFleet() fleet {
	return fleet{nodes: map[string]*node{}, having: map[label]map[*node]struct{}{}, trees: map[label]*tree{}}
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

func (f *fleet) set(spec controlplane.Node) *node {
	n := f.get(spec.Name)
	f.unindex(n)
	if !n.known || !maps.Equal(n.spec.Labels, spec.Labels) {
		f.unlabel(n)
		for k, v := range spec.Labels {
			l := label{k, v}
			if f.having[l] == nil {
				f.having[l] = map[*node]struct{}{}
			}
			f.having[l][n] = struct{}{}
		}
		spec.Labels = maps.Clone(spec.Labels)
	} else {
		spec.Labels = n.spec.Labels
	}
	n.spec, n.known = spec, true
	f.reindex(n)
	return n
}

// remove forgets the host. What was promised on it stays until it is released.
func (f *fleet) remove(n *node) {
	f.unindex(n)
	f.unlabel(n)
	n.spec, n.known = controlplane.Node{Name: n.spec.Name}, false
	f.forget(n)
}

func (f *fleet) forget(n *node) {
	if !n.known && n.pods == 0 {
		delete(f.nodes, n.spec.Name)
	}
}

func (f *fleet) unlabel(n *node) {
	for k, v := range n.spec.Labels {
		l := label{k, v}
		if delete(f.having[l], n); len(f.having[l]) == 0 {
			delete(f.having, l)
			delete(f.trees, l)
		}
	}
}

// reindex moves the node to where its free room belongs.
func (f *fleet) reindex(n *node) {
	f.unindex(n)
	if !n.open() {
		return
	}
	free := n.free()
	n.at, n.indexed = slot{free.CPUMilli, free.MemoryBytes, n}, true
	f.all.insert(n.at)
	f.eachTree(n, func(t *tree) { t.insert(n.at) })
}

func (f *fleet) unindex(n *node) {
	if !n.indexed {
		return
	}
	f.all.remove(n.at)
	f.eachTree(n, func(t *tree) { t.remove(n.at) })
	n.indexed = false
}

func (f *fleet) eachTree(n *node, do func(*tree)) {
	if len(f.trees) == 0 {
		return
	}
	for k, v := range n.spec.Labels {
		if t := f.trees[label{k, v}]; t != nil {
			do(t)
		}
	}
}

// find answers the best node for the pod, nil if none has room.
func (f *fleet) find(req *controlplane.PlaceRequest) *node {
	if req.NodeName != "" {
		if n := f.nodes[req.NodeName]; n != nil && n.takes(req) {
			return n
		}
		return nil
	}
	cpu, memory := req.Demand.CPUMilli, req.Demand.MemoryBytes
	if len(req.NodeSelector) == 0 {
		return f.all.bestFit(cpu, memory, func(n *node) bool { return n.hasPorts(req.HostPorts) })
	}
	t := f.treeFor(req.NodeSelector)
	if t == nil {
		return nil
	}
	return t.bestFit(cpu, memory, func(n *node) bool { return n.accepts(req) })
}

// treeFor answers the tree of the selector's rarest label, nil if no node has one of its labels.
func (f *fleet) treeFor(selector map[string]string) *tree {
	var rarest label
	fewest := -1
	for k, v := range selector {
		l := label{k, v}
		n := len(f.having[l])
		if n == 0 {
			return nil
		}
		if fewest < 0 || n < fewest || (n == fewest && l.key < rarest.key) {
			rarest, fewest = l, n
		}
	}
	if t := f.trees[rarest]; t != nil {
		return t
	}
	if len(f.trees) >= maxTrees {
		clear(f.trees)
	}
	t := &tree{}
	for n := range f.having[rarest] {
		if n.indexed {
			t.insert(n.at)
		}
	}
	f.trees[rarest] = t
	return t
}
