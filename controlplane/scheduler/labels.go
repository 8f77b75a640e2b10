package scheduler

import (
	"hash/maphash"
	"maps"
)

// labelSets lets pods with equal labels share them: the pods of a workload are many, and whatever holds the
// map of one pod holds all its strings.
type labelSets struct {
	seed  maphash.Seed
	known map[uint64]map[string]string
}

// maxLabelSets bounds what is remembered; beyond it sharing begins anew.
const maxLabelSets = 1 << 14

func newLabelSets() labelSets {
	return labelSets{seed: maphash.MakeSeed(), known: map[uint64]map[string]string{}}
}

// share answers an equal map, mostly one that is there already.
func (l *labelSets) share(labels map[string]string) map[string]string {
	if len(labels) == 0 {
		return nil
	}
	var sum uint64 // of the labels in whatever order
	for k, v := range labels {
		sum += maphash.String(l.seed, k) * (maphash.String(l.seed, v) | 1)
	}
	same, ok := l.known[sum]
	switch {
	case ok && maps.Equal(same, labels):
		return same
	case ok:
		return labels // another set with that sum
	case len(l.known) >= maxLabelSets:
		clear(l.known)
	}
	l.known[sum] = labels
	return labels
}
