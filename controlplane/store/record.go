package store

import (
	"fmt"

	"swell.dev/swell/controlplane"
)

// record is one version of an object: decoded, or packed once it has been left alone for a while. The
// table and the window share it. The store's mutex guards held; the rest never changes.
type record struct {
	held
	entry   *entry
	version uint64
	size    uint32 // about that of the encoded object; what windows are bounded by
}

// held is what a record holds.
type held struct {
	object controlplane.Object // nil: packed
	packed packed
}

// entry is the place of an object in its table. The store's mutex guards current and age.
type entry struct {
	name
	current *record
	age     *age
}

func (e *entry) key(resource string) controlplane.Key {
	return controlplane.Key{Resource: resource, Namespace: e.namespace, Name: e.name.name}
}

// view is a copy of a record that needs no lock.
type view struct {
	held
	version uint64
}

// viewLocked needs the store's mutex for reading.
func (r *record) viewLocked() view {
	if r == nil {
		return view{}
	}
	return view{r.held, r.version}
}

// open answers the object, nil where there is none. A packed one is decoded, each time anew.
func (s *Store) open(resource string, v view) (controlplane.Object, error) {
	if v.object != nil || v.version == 0 {
		return v.object, nil
	}
	o := s.cfg.New(resource)
	body, err := v.packed.body()
	if err == nil {
		err = o.(protobuf).Unmarshal(body)
	}
	if err != nil {
		return nil, fmt.Errorf("%s at version %d: packed: %w", resource, v.version, err)
	}
	if v.packed.form == formRestored {
		o = s.cfg.Restored(o)
	}
	o.SetResourceVersion(formatVersion(v.version))
	return o, nil
}

// mustOpen is open for what was read or packed by this process, and can be read again.
func (s *Store) mustOpen(resource string, v view) controlplane.Object {
	o, err := s.open(resource, v)
	if err != nil {
		panic(err)
	}
	return o
}

func sizeOf(o controlplane.Object) uint32 {
	if m, ok := o.(protobuf); ok {
		return uint32(min(m.Size(), 1<<31))
	}
	return 1 << 10 // few objects have no protobuf, and they are small
}
