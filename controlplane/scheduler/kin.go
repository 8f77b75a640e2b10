package scheduler

import (
	"hash/maphash"
	"maps"
)

// kin are the pods of a namespace with the same labels, to rules all the same. Each would keep a map of its
// own otherwise.
type kin struct {
	namespace string
	labels    map[string]string
	hash      uint64
	uses      int
}

// kins finds the kin that a pod belongs to. Of two with the same hash the second isn't shared.
type kins struct {
	seed maphash.Seed
	all  map[uint64]*kin
}

func newKins() kins { return kins{seed: maphash.MakeSeed(), all: map[uint64]*kin{}} }

// join answers a pod's kin, made if it is the first. The labels are kept, and aren't changed by anybody.
func (k *kins) join(namespace string, labels map[string]string) *kin {
	h := maphash.String(k.seed, namespace)
	for key, value := range labels { // in any order
		h += maphash.String(k.seed, key) * (2*maphash.String(k.seed, value) + 1)
	}
	x := k.all[h]
	if x == nil {
		x = &kin{namespace: namespace, labels: labels, hash: h}
		k.all[h] = x
	} else if x.namespace != namespace || !maps.Equal(x.labels, labels) {
		return &kin{namespace: namespace, labels: labels, hash: h, uses: 1}
	}
	x.uses++
	return x
}

func (k *kins) leave(x *kin) {
	if x.uses--; x.uses == 0 && k.all[x.hash] == x {
		delete(k.all, x.hash)
	}
}
