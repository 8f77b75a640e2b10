package store

import (
	"time"

	"swell.dev/swell/controlplane"
)

const (
	packBatch = 64
	// packRest is how many times the time of a batch the packer rests after it, so that it takes a small
	// part of one core however much there is to do.
	packRest = 3
)

// packLoop packs what has been left alone, until the store ends.
func (s *Store) packLoop() {
	defer s.wg.Done()
	tick := time.NewTicker(s.cfg.PackAfter)
	defer tick.Stop()
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-s.ended:
			return
		case <-tick.C:
			s.mark()
		case <-s.packable:
		}
		for {
			began := time.Now()
			if !s.packSome() {
				break
			}
			rest.Reset(packRest * time.Since(began))
			select {
			case <-rest.C:
			case <-s.ended:
				return
			}
		}
	}
}

// mark makes what was in the windows at the last mark due for packing.
func (s *Store) mark() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tables {
		if t.kin != nil {
			t.marked, t.latest = t.latest, s.version
		}
	}
}

// packSome packs a batch and answers whether there was anything to pack. Only one goroutine calls it.
func (s *Store) packSome() bool {
	type job struct {
		record *record
		object controlplane.Object
		kin    func(controlplane.Object) string
		packed packed
	}
	var jobs []job
	s.mu.Lock()
	for _, t := range s.tables {
		t.takeDue(packBatch-len(jobs), func(r *record) { jobs = append(jobs, job{record: r, object: r.object, kin: t.kin}) })
	}
	s.mu.Unlock()
	if len(jobs) == 0 {
		return false
	}
	for i := range jobs {
		j := &jobs[i]
		if body, err := j.object.(protobuf).Marshal(); err == nil { // which it was when it was stored
			j.packed = s.family.pack(j.kin(j.object), formWhole, body)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range jobs {
		if j.packed.data != "" {
			j.record.held = held{packed: j.packed}
		}
	}
	return true
}

// takeDue hands out up to n decoded records that are due.
func (t *table) takeDue(n int, take func(*record)) {
	if t.kin == nil {
		return
	}
	for len(t.due) > 0 && n > 0 {
		if r := t.due[0]; r.object != nil && r.entry.current == r {
			take(r)
			n--
		}
		t.due[0] = nil
		t.due = t.due[1:]
	}
	if len(t.due) == 0 {
		t.due = nil
	}
	w := &t.window
	for i := w.after(t.done); i < w.n && n > 0; i++ {
		c := w.at(i)
		if c.is.version > t.marked {
			return
		}
		for _, r := range []*record{c.was, c.is} {
			if r != nil && r.object != nil {
				take(r)
				n--
			}
		}
		t.done = c.is.version
	}
}
