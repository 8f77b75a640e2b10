package nodelet

import (
	"fmt"
	"sync"
)

// saver writes one pod's record behind its actions. Of several versions only the latest is written.
type saver struct {
	records *records
	uid     string

	write sync.Mutex // orders writes; taken before mu
	mu    sync.Mutex // guards the rest
	next  [recordRemoval]any
	gone  bool
}

func newSaver(r *records, uid string) *saver { return &saver{records: r, uid: uid} }

// put names what the record shall hold after the next flush: an Assignment, or a checkpoint's bytes. It must
// not change any more.
func (s *saver) put(kind recordKind, v any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next[kind] = v
}

func (s *saver) pending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return (s.next[recordAssignment] != nil || s.next[recordCheckpoint] != nil) && !s.gone
}

// flush makes durable what was put before. What could not be written is put back unless newer is there.
func (s *saver) flush() error {
	s.write.Lock()
	defer s.write.Unlock()
	s.mu.Lock()
	next, gone := s.next, s.gone
	s.next = [recordRemoval]any{}
	s.mu.Unlock()
	if gone {
		return nil
	}
	var entries []entry
	var err error
	for kind, v := range next {
		var raw []byte
		switch v := v.(type) {
		case nil:
			continue
		case []byte:
			raw = v
		case Assignment:
			if raw, err = encodeAssignment(v); err != nil {
				return fmt.Errorf("record %s: %w", s.uid, err)
			}
		}
		entries = append(entries, entry{recordKind(kind), s.uid, raw})
	}
	if len(entries) == 0 {
		return nil
	}
	if err = s.records.put(entries...); err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for kind, v := range next {
		if s.next[kind] == nil {
			s.next[kind] = v
		}
	}
	return fmt.Errorf("record %s: %w", s.uid, err)
}

// remove forgets the pod for good: nothing is written any more.
func (s *saver) remove() error {
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.records.remove(s.uid); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	return nil
}
