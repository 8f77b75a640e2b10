package quota

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"swell.dev/swell/controlplane"
)

// tally is what one namespace with quotas holds.
type tally struct {
	mark func() // is called when changed is set; it is quick

	mu      sync.Mutex // guards what follows
	bounds  []*bound
	objects map[string]map[string]*object // by resource and name
	known   map[string]uint64             // by resource: what events up to that version tell is known
	leaving map[string]bool               // names of pods whose claims expire
	dropped bool                          // there are no quotas any more
	changed bool                          // since it was published
}

// object is one that counts, or may.
type object struct {
	stored  *claim // nil: it isn't there
	version uint64 // of the last word about it
	gone    bool   // it was said to be removed before its event came
	charged []*claim
}

func newTally(mark func()) *tally {
	return &tally{mark: mark, objects: map[string]map[string]*object{}, known: map[string]uint64{}, leaving: map[string]bool{}}
}

// versionOf answers 0 for an object that was never stored.
func versionOf(o controlplane.Object) uint64 {
	v, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return v
}

// objectLocked answers a new one where nothing is known.
func (t *tally) objectLocked(key controlplane.Key) *object {
	all := t.objects[key.Resource]
	o := all[key.Name]
	if o == nil {
		o = &object{}
		all[key.Name] = o
	}
	return o
}

// changeLocked changes an object, and the sums with it.
func (t *tally) changeLocked(key controlplane.Key, o *object, change func()) {
	var few [4]use
	before := few[:0]
	for _, b := range t.bounds {
		before = append(before, b.counts(o))
	}
	change()
	for i, b := range t.bounds {
		if after := b.counts(o); after != before[i] {
			b.add(key.Resource, before[i], after)
			t.changedLocked()
		}
	}
	if key.Resource == podsResource {
		if o.stored != nil && !o.stored.expires.IsZero() {
			t.leaving[key.Name] = true
		} else {
			delete(t.leaving, key.Name)
		}
	}
	if o.stored == nil && !o.gone && len(o.charged) == 0 {
		delete(t.objects[key.Resource], key.Name)
	}
}

func (t *tally) changedLocked() {
	if !t.changed {
		t.changed = true
		t.mark()
	}
}

// charge answers nil without an error where the resource isn't counted.
func (t *tally) charge(key controlplane.Key, c *claim) (*charge, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dropped {
		return nil, errDropped
	}
	if t.objects[key.Resource] == nil {
		return nil, nil
	}
	o := t.objects[key.Resource][key.Name]
	if o == nil {
		o = &object{}
	}
	for _, b := range t.bounds {
		if !b.about(c) {
			continue
		}
		before := b.counts(o)
		if err := b.refuse(key.Resource, before, before.max(c.use)); err != nil {
			return nil, err
		}
	}
	o = t.objectLocked(key)
	t.changeLocked(key, o, func() { o.charged = append(o.charged, c) })
	return &charge{t, key, o, c}, nil
}

// charge is a claim on its way into the store.
type charge struct {
	tally  *tally
	key    controlplane.Key
	object *object
	claim  *claim
}

// settle is told what was stored, nil if nothing was.
func (c *charge) settle(stored controlplane.Object) {
	t := c.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	o := c.object
	if t.dropped || t.objects[c.key.Resource][c.key.Name] != o {
		return // it isn't counted any more
	}
	t.changeLocked(c.key, o, func() {
		if i := slices.Index(o.charged, c.claim); i >= 0 {
			o.charged = slices.Delete(o.charged, i, i+1)
		}
		if stored == nil {
			return
		}
		if v := versionOf(stored); v > o.version {
			o.stored, o.version, o.gone = claimOf(stored, time.Now()), v, false
		}
	})
}

// told takes over what became of an object at a version. A word that its event is still to bring is early.
func (t *tally) told(key controlplane.Key, now controlplane.Object, version uint64, early bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.objects[key.Resource] == nil || version <= t.known[key.Resource] {
		return
	}
	if !early { // events come in order
		t.known[key.Resource] = version
	}
	o := t.objectLocked(key)
	t.changeLocked(key, o, func() {
		switch {
		case version < o.version:
		case now != nil && version > o.version:
			o.stored, o.version, o.gone = claimOf(now, time.Now()), version, false
		case now == nil:
			o.stored, o.version, o.gone = nil, version, early
		}
	})
}

// replaceLocked takes over the list of a resource at a version. It was made with the tally locked: whatever was told
// before was stored before.
func (t *tally) replaceLocked(res string, items controlplane.Items, version uint64) {
	now := time.Now()
	there := make(map[string]bool, items.Len())
	if t.objects[res] == nil {
		t.objects[res] = make(map[string]*object, items.Len())
	}
	for i := range items.Len() {
		item := items.Object(i)
		key := items.Key(i)
		there[key.Name] = true
		o := t.objectLocked(key)
		t.changeLocked(key, o, func() { o.stored, o.version, o.gone = claimOf(item, now), versionOf(item), false })
	}
	for name, o := range t.objects[res] {
		if there[name] {
			continue
		}
		t.changeLocked(controlplane.Key{Resource: res, Name: name}, o, func() { o.stored, o.version, o.gone = nil, version, false })
	}
	t.known[res] = max(t.known[res], version)
}

// expire ends the claims of pods that should be gone by now.
func (t *tally) expire(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name := range t.leaving {
		o := t.objects[podsResource][name]
		if o == nil || o.stored == nil {
			delete(t.leaving, name)
			continue
		}
		if !now.After(o.stored.expires) {
			continue
		}
		t.changeLocked(controlplane.Key{Resource: podsResource, Name: name}, o, func() {
			ended := *o.stored
			ended.end()
			ended.expires = time.Time{}
			o.stored = &ended
		})
	}
}

// boundsLocked takes over the quotas, and counts again.
func (t *tally) boundsLocked(bounds []*bound) {
	t.bounds = bounds
	t.changedLocked()
	for _, b := range bounds {
		for res := range b.used {
			for _, o := range t.objects[res] {
				b.add(res, use{}, b.counts(o))
			}
		}
	}
}
