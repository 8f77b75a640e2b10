package store

import "swell.dev/swell/controlplane"

// items are the objects of a list, at one version.
type items struct {
	store    *Store
	resource string
	records  []*record
}

func (x items) Len() int { return len(x.records) }

func (x items) Key(i int) controlplane.Key { return x.records[i].entry.key(x.resource) }

func (x items) Object(i int) controlplane.Object { return x.store.mustOpen(x.resource, x.view(i)) }

// Protobuf is controlplane.Items'. What is packed as a whole needs no decoding.
func (x items) Protobuf(i int) ([]byte, error) {
	v := x.view(i)
	if v.object == nil && v.packed.form == formWhole {
		return v.packed.body()
	}
	return controlplane.Protobuf(x.store.mustOpen(x.resource, v))
}

// Slice is controlplane.Items'.
func (x items) Slice(from, to int) controlplane.Items {
	x.records = x.records[from:to]
	return x
}

func (x items) view(i int) view {
	x.store.mu.RLock()
	defer x.store.mu.RUnlock()
	return x.records[i].viewLocked()
}
