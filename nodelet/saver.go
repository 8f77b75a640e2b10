package nodelet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"
)

// saver writes one pod's record behind its actions. Of several versions of a file only the latest is
// written.
type saver struct {
	records records
	uid     string

	write sync.Mutex // orders writes; taken before mu
	mu    sync.Mutex // guards the rest
	next  map[string]any
	last  map[string][]byte // as written
	gone  bool
}

func newSaver(r records, uid string) *saver {
	return &saver{records: r, uid: uid, next: make(map[string]any), last: make(map[string][]byte)}
}

// put names what file shall hold after the next flush. v must not change any more.
func (s *saver) put(file string, v any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next[file] = v
}

func (s *saver) pending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.next) > 0 && !s.gone
}

// flush makes durable what was put before. What could not be written is put back unless newer is there.
func (s *saver) flush() error {
	s.write.Lock()
	defer s.write.Unlock()
	for _, file := range []string{fileAssignment, fileCheckpoint} {
		if err := s.flushFile(file); err != nil {
			return err
		}
	}
	return nil
}

func (s *saver) flushFile(file string) error {
	s.mu.Lock()
	v, ok := s.next[file]
	delete(s.next, file)
	last := s.last[file]
	gone := s.gone
	s.mu.Unlock()
	if !ok || gone {
		return nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("record %s/%s: %w", s.uid, file, err)
	}
	if bytes.Equal(raw, last) {
		return nil
	}
	err = s.records.write(s.uid, file, raw)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if _, newer := s.next[file]; !newer {
			s.next[file] = v
		}
		return err
	}
	s.last[file] = raw
	return nil
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
