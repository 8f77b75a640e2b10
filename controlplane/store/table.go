package store

import (
	"cmp"
	"container/list"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unique"

	"k8s.io/utils/third_party/forked/golang/btree"

	"swell.dev/swell/controlplane"
)

// table holds the objects of one resource: by name for Get, in order for List. The store's mutex guards it.
type table struct {
	resource string
	objects  map[name]*entry
	order    *btree.BTree[*entry] // but for volatile tables, which change much and are sorted when they are listed
	window   window
	subs     map[*subscription]struct{}

	kin    func(controlplane.Object) string // nil: its objects stay decoded
	due    []*record                        // to be packed: current, and no longer in the window
	latest uint64                           // the version at the last mark
	marked uint64                           // that at the mark before: up to here all has been left alone for long enough
	done   uint64                           // what is in the window up to here is packed

	volatile bool
	ages     *list.List   // of *entry, oldest first; volatile tables only
	listed   atomic.Int64 // when somebody last asked for a list, in Unix nanoseconds; volatile tables only
}

// listedFor is how long one who has listed what is volatile may take to watch it from there.
const listedFor = time.Minute

// followed tells whether somebody may want to know what changes in a volatile table. While nobody does, its
// window keeps nothing: there are several events for each pod.
func (t *table) followed() bool {
	return len(t.subs) > 0 || time.Since(time.Unix(0, t.listed.Load())) < listedFor
}

type name struct{ namespace, name string }

type age = list.Element

// treeDegree is etcd's for its key index.
const treeDegree = 32

func newTable(resource string, cfg *Config, floor uint64) *table {
	return &table{
		resource: resource,
		objects:  map[name]*entry{},
		order: btree.New(treeDegree, func(a, b *entry) bool {
			if a.namespace != b.namespace {
				return a.namespace < b.namespace
			}
			return a.name.name < b.name.name
		}),
		window:   window{limit: cfg.Window, byteLimit: cfg.WindowBytes, floor: floor},
		subs:     map[*subscription]struct{}{},
		kin:      cfg.Pack[resource],
		volatile: cfg.Volatile[resource],
		ages:     list.New(),
	}
}

func nameOf(k controlplane.Key) name { return name{k.Namespace, k.Name} }

// current is nil where there is none.
func (t *table) current(k controlplane.Key) *record {
	if e := t.objects[nameOf(k)]; e != nil {
		return e.current
	}
	return nil
}

// place answers the entry of a key, a new one if need be. Its strings are its own: those of a key may be
// parts of something larger.
func (t *table) place(k controlplane.Key) *entry {
	if e := t.objects[nameOf(k)]; e != nil {
		return e
	}
	return &entry{name: name{unique.Make(k.Namespace).Value(), strings.Clone(k.Name)}}
}

// put makes a record of an entry the present one.
func (t *table) put(r *record) {
	e := r.entry
	added := e.current == nil
	e.current = r
	if !added {
		return
	}
	t.objects[e.name] = e
	if t.volatile {
		e.age = t.ages.PushBack(e)
	} else {
		t.order.ReplaceOrInsert(e)
	}
}

func (t *table) remove(e *entry) {
	e.current = nil
	delete(t.objects, e.name)
	if e.age != nil {
		t.ages.Remove(e.age)
	} else {
		t.order.Delete(e)
	}
}

// append adds a change to the window. What leaves it decoded, and is still the present state, is to be
// packed.
func (t *table) append(c change) {
	t.window.append(c, func(old change) {
		if r := old.is; t.kin != nil && r.object != nil && r.entry.current == r {
			t.due = append(t.due, r)
		}
	})
}

// list answers the present records of a namespace, or all, sorted by namespace and name.
func (t *table) list(namespace string) []*record {
	if t.volatile {
		var out []*record
		for e := t.ages.Front(); e != nil; e = e.Next() {
			if e := e.Value.(*entry); namespace == "" || e.namespace == namespace {
				out = append(out, e.current)
			}
		}
		slices.SortFunc(out, func(a, b *record) int {
			return cmp.Or(strings.Compare(a.entry.namespace, b.entry.namespace), strings.Compare(a.entry.name.name, b.entry.name.name))
		})
		return out
	}
	if namespace == "" {
		out := make([]*record, 0, t.order.Len())
		t.order.Ascend(func(e *entry) bool {
			out = append(out, e.current)
			return true
		})
		return out
	}
	var out []*record
	t.order.AscendGreaterOrEqual(&entry{name: name{namespace: namespace}}, func(e *entry) bool {
		if e.namespace != namespace {
			return false
		}
		out = append(out, e.current)
		return true
	})
	return out
}

// oldest is the entry that was added first, of a volatile table.
func (t *table) oldest() *entry {
	if e := t.ages.Front(); e != nil {
		return e.Value.(*entry)
	}
	return nil
}

func (t *table) wake() {
	for s := range t.subs {
		select {
		case s.wake <- struct{}{}:
		default: // it is awake
		}
	}
}
