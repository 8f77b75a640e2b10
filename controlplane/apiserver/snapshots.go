package apiserver

import (
	"cmp"
	"sort"
	"sync"
	"time"

	"swell.dev/swell/controlplane"
)

// Bounds of the states that are kept for lists in pages. Kubernetes keeps them for about five minutes too,
// until etcd compacts.
const (
	snapshotsKept  = 32
	snapshotsItems = 4 << 20 // in all of them together
	snapshotLife   = 5 * time.Minute
)

type snapshotKey struct {
	resource, namespace string
	version             uint64
}

type snapshot struct {
	key   snapshotKey
	items controlplane.Items
	until time.Time
}

// snapshots keep the states that clients are paging through. When there are too many the oldest goes, and
// its clients start again (410).
type snapshots struct {
	mu   sync.Mutex
	kept []snapshot // guarded by mu; oldest first
}

func newSnapshots() *snapshots { return &snapshots{} }

func (s *snapshots) put(key snapshotKey, items controlplane.Items) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expireLocked()
	for _, k := range s.kept {
		if k.key == key {
			return
		}
	}
	room := snapshotsItems - items.Len()
	for i := len(s.kept) - 1; i >= 0; i-- {
		room -= s.kept[i].items.Len()
		if room < 0 || len(s.kept)-i == snapshotsKept {
			s.kept = append([]snapshot(nil), s.kept[i+1:]...)
			break
		}
	}
	s.kept = append(s.kept, snapshot{key: key, items: items, until: time.Now().Add(snapshotLife)})
}

func (s *snapshots) get(key snapshotKey) (controlplane.Items, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expireLocked()
	for _, k := range s.kept {
		if k.key == key {
			return k.items, true
		}
	}
	return nil, false
}

func (s *snapshots) expireLocked() {
	now, n := time.Now(), 0
	for n < len(s.kept) && s.kept[n].until.Before(now) {
		n++
	}
	s.kept = append([]snapshot(nil), s.kept[n:]...)
}

// search answers the index of the first item after c.
func search(items controlplane.Items, c continuation) int {
	return sort.Search(items.Len(), func(i int) bool {
		key := items.Key(i)
		if d := cmp.Compare(key.Namespace, c.Namespace); d != 0 {
			return d > 0
		}
		return key.Name > c.Name
	})
}
