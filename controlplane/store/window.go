package store

import (
	"sort"

	"swell.dev/swell/controlplane"
)

// window holds the last events of one resource, in a ring that grows to its limit. Every event with a
// version above floor is in it.
type window struct {
	ring  []controlplane.Event
	head  int // index of the oldest
	n     int
	limit int
	floor uint64
}

func (w *window) append(e controlplane.Event) {
	if w.n == w.limit {
		w.floor = w.ring[w.head].Version
		w.ring[w.head] = e
		w.head = (w.head + 1) % w.n
		return
	}
	if w.n == len(w.ring) {
		grown := make([]controlplane.Event, min(max(64, 2*w.n), w.limit))
		for i := range w.n {
			grown[i] = w.at(i)
		}
		w.ring, w.head = grown, 0
	}
	w.ring[(w.head+w.n)%len(w.ring)] = e
	w.n++
}

func (w *window) at(i int) controlplane.Event { return w.ring[(w.head+i)%len(w.ring)] }

// read appends to into, up to its capacity, the events of a namespace (empty: of all) with versions above
// after. It answers how far it has looked, and false if events after that version have been dropped.
func (w *window) read(after uint64, namespace string, into []controlplane.Event) ([]controlplane.Event, uint64, bool) {
	if after < w.floor {
		return into, after, false
	}
	i := sort.Search(w.n, func(i int) bool { return w.ring[(w.head+i)%len(w.ring)].Version > after })
	for ; i < w.n && len(into) < cap(into); i++ {
		e := &w.ring[(w.head+i)%len(w.ring)]
		after = e.Version
		if namespace == "" || namespace == e.Key.Namespace {
			into = append(into, *e)
		}
	}
	return into, after, true
}
