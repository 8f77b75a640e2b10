package store

import (
	"sort"

	"swell.dev/swell/controlplane"
)

// window holds the last changes of one resource, in a ring that grows to its limit. Every change with a
// version above floor is in it.
type window struct {
	ring      []change
	head      int // index of the oldest
	n         int
	bytes     int // what the objects after the changes take, encoded
	limit     int // of changes
	byteLimit int
	floor     uint64
}

// change is an event whose objects may be packed.
type change struct {
	kind    controlplane.EventType
	is, was *record // was is nil for Added
}

// append adds a change and tells drop of those that it pushes out.
func (w *window) append(c change, drop func(change)) {
	w.bytes += int(c.is.size)
	for w.n > 0 && (w.n == w.limit || w.bytes > w.byteLimit) {
		oldest := &w.ring[w.head]
		w.floor = oldest.is.version
		w.bytes -= int(oldest.is.size)
		drop(*oldest)
		*oldest = change{}
		w.head = (w.head + 1) % len(w.ring)
		w.n--
	}
	if w.n == len(w.ring) {
		grown := make([]change, min(max(64, 2*w.n), w.limit))
		for i := range w.n {
			grown[i] = *w.at(i)
		}
		w.ring, w.head = grown, 0
	}
	*w.at(w.n) = c
	w.n++
}

// skip forgets everything up to a version.
func (w *window) skip(version uint64) {
	if w.n > 0 {
		*w = window{limit: w.limit, byteLimit: w.byteLimit}
	}
	w.floor = version
}

func (w *window) at(i int) *change { return &w.ring[(w.head+i)%len(w.ring)] }

// after answers the index of the first change above a version.
func (w *window) after(version uint64) int {
	return sort.Search(w.n, func(i int) bool { return w.at(i).is.version > version })
}

// glimpse is a change as a subscription takes it out of the window.
type glimpse struct {
	kind    controlplane.EventType
	entry   *entry
	is, was view
}

// readLocked appends to into, up to its capacity, the changes of a namespace (empty: of all) with versions
// above after. It answers how far it has looked, and false if changes after that version have been dropped.
func (w *window) readLocked(after uint64, namespace string, into []glimpse) ([]glimpse, uint64, bool) {
	if after < w.floor {
		return into, after, false
	}
	for i := w.after(after); i < w.n && len(into) < cap(into); i++ {
		c := w.at(i)
		after = c.is.version
		if namespace == "" || namespace == c.is.entry.namespace {
			into = append(into, glimpse{c.kind, c.is.entry, c.is.viewLocked(), c.was.viewLocked()})
		}
	}
	return into, after, true
}
