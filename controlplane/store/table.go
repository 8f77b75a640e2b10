package store

import (
	"container/list"

	"k8s.io/utils/third_party/forked/golang/btree"

	"swell.dev/swell/controlplane"
)

// table holds the objects of one resource: by name for Get, in order for List. The store's mutex guards it.
type table struct {
	objects map[name]*entry
	order   *btree.BTree[*entry]
	window  window
	subs    map[*subscription]struct{}

	volatile bool
	ages     *list.List // of *entry, oldest first; volatile tables only
}

type name struct{ namespace, name string }

type entry struct {
	key    controlplane.Key
	object controlplane.Object
	age    *list.Element
}

// treeDegree is etcd's for its key index.
const treeDegree = 32

func newTable(volatile bool, windowLimit int, floor uint64) *table {
	return &table{
		objects: map[name]*entry{},
		order: btree.New(treeDegree, func(a, b *entry) bool {
			if a.key.Namespace != b.key.Namespace {
				return a.key.Namespace < b.key.Namespace
			}
			return a.key.Name < b.key.Name
		}),
		window:   window{limit: windowLimit, floor: floor},
		subs:     map[*subscription]struct{}{},
		volatile: volatile,
		ages:     list.New(),
	}
}

func nameOf(k controlplane.Key) name { return name{k.Namespace, k.Name} }

func (t *table) get(k controlplane.Key) controlplane.Object {
	if e := t.objects[nameOf(k)]; e != nil {
		return e.object
	}
	return nil
}

func (t *table) put(k controlplane.Key, o controlplane.Object) {
	if e := t.objects[nameOf(k)]; e != nil {
		e.object = o
		return
	}
	e := &entry{key: k, object: o}
	t.objects[nameOf(k)] = e
	t.order.ReplaceOrInsert(e)
	if t.volatile {
		e.age = t.ages.PushBack(e)
	}
}

func (t *table) remove(k controlplane.Key) {
	e := t.objects[nameOf(k)]
	if e == nil {
		return
	}
	delete(t.objects, nameOf(k))
	t.order.Delete(e)
	if e.age != nil {
		t.ages.Remove(e.age)
	}
}

// list answers the objects of a namespace, or all, sorted by namespace and name.
func (t *table) list(namespace string) []controlplane.Object {
	if namespace == "" {
		out := make([]controlplane.Object, 0, t.order.Len())
		t.order.Ascend(func(e *entry) bool {
			out = append(out, e.object)
			return true
		})
		return out
	}
	var out []controlplane.Object
	t.order.AscendGreaterOrEqual(&entry{key: controlplane.Key{Namespace: namespace}}, func(e *entry) bool {
		if e.key.Namespace != namespace {
			return false
		}
		out = append(out, e.object)
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
