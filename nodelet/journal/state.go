package journal

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/internal/bootclock"
)

// state is what the records add up to. It is pure: the file and the clock are elsewhere, and the same
// apply serves what is read at the start and what was just written.
type state struct {
	anchor  bootclock.Anchor
	pods    map[string]pod
	closed  []usagev1.Segment // not acknowledged, oldest first
	last    time.Time         // the latest time that was noted
	opening int               // pods with an open segment
	over    []string          // pods that settle has left with nothing
}

// pod is where a pod's segments stand. It is kept until the pod was stopped and everything acknowledged.
type pod struct {
	open     *usagev1.Segment // never changed in place
	sequence int64            // of the newest segment
	boundary time.Time        // the latest
	unacked  int
}

func newState() *state { return &state{pods: map[string]pod{}} }

func (s *state) apply(r record) error {
	switch {
	case r.Anchor != nil:
		s.anchor = *r.Anchor
	case r.Start != nil:
		return s.start(*r.Start)
	case r.Stop != nil:
		return s.stop(*r.Stop)
	case r.Burst != nil:
		return s.burst(*r.Burst)
	case r.Ack != nil:
		s.settle(r.Ack)
		s.forget(len(s.over))
	case r.Alive != nil:
		s.reach(*r.Alive)
	case r.Pod != nil:
		p := pod{open: r.Pod.Open, sequence: r.Pod.Sequence, boundary: r.Pod.Boundary}
		if p.open != nil {
			s.opening++
		}
		s.pods[r.Pod.PodUID] = p
		s.reach(p.boundary)
	case r.Closed != nil:
		p := s.pods[r.Closed.PodUID]
		p.unacked++
		s.pods[r.Closed.PodUID] = p
		s.closed = append(s.closed, *r.Closed)
	default:
		return fmt.Errorf("a record of an unknown kind")
	}
	return nil
}

func (s *state) reach(t time.Time) {
	if t.After(s.last) {
		s.last = t
	}
}

func (s *state) start(seg usagev1.Segment) error {
	p := s.pods[seg.PodUID]
	if seg.Sequence != p.sequence+1 || seg.Start.Before(p.boundary) || !seg.Open() {
		return fmt.Errorf("segment %s at %s doesn't follow sequence %d at %s", seg.ID, seg.Start, p.sequence, p.boundary)
	}
	if p.open != nil {
		s.close(&p, seg.Start)
	}
	p.open, p.sequence, p.boundary = &seg, seg.Sequence, seg.Start
	s.opening++
	s.pods[seg.PodUID] = p
	s.reach(seg.Start)
	return nil
}

func (s *state) stop(st stop) error {
	p := s.pods[st.PodUID]
	if p.open == nil || st.At.Before(p.boundary) {
		return fmt.Errorf("pod %s stops at %s with no open segment from before", st.PodUID, st.At)
	}
	s.close(&p, st.At)
	s.pods[st.PodUID] = p
	s.reach(st.At)
	return nil
}

func (s *state) burst(b burst) error {
	p := s.pods[b.PodUID]
	if p.open == nil {
		return fmt.Errorf("pod %s bursts with no open segment", b.PodUID)
	}
	p.open = withBurst(p.open, b.Burst)
	s.pods[b.PodUID] = p
	return nil
}

func (s *state) close(p *pod, at time.Time) {
	seg := *p.open
	seg.End = at
	p.open, p.boundary = nil, at
	p.unacked++
	s.opening--
	s.closed = append(s.closed, seg)
}

// settle takes acknowledged segments out; those that it doesn't know are out already.
func (s *state) settle(ids []usagev1.ID) {
	known := make(map[usagev1.ID]bool, len(ids))
	for _, id := range ids {
		known[id] = true
	}
	s.closed = slices.DeleteFunc(s.closed, func(seg usagev1.Segment) bool {
		if !known[seg.ID] {
			return false
		}
		p := s.pods[seg.PodUID]
		p.unacked--
		if s.pods[seg.PodUID] = p; p.settled() {
			s.over = append(s.over, seg.PodUID)
		}
		return true
	})
}

// forget drops the first n pods that settle left with nothing, once the file knows it too: a pod that it
// forgot begins again at sequence 1.
func (s *state) forget(n int) {
	for _, uid := range s.over[:n] {
		if s.pods[uid].settled() { // it may have started again
			delete(s.pods, uid)
		}
	}
	s.over = s.over[n:]
}

func (p pod) settled() bool { return p.open == nil && p.unacked == 0 }

// open answers the open segments, sorted by pod.
func (s *state) open() []usagev1.Segment {
	out := make([]usagev1.Segment, 0, s.opening)
	for _, p := range s.pods {
		if p.open != nil {
			out = append(out, *p.open)
		}
	}
	slices.SortFunc(out, func(a, b usagev1.Segment) int { return strings.Compare(a.PodUID, b.PodUID) })
	return out
}

// snapshotFrame is how many records of a snapshot share a frame.
const snapshotFrame = 1000

// snapshot answers the contents of a file that makes the same state.
func (s *state) snapshot() ([]byte, error) {
	records := []record{{Anchor: &s.anchor}, {Alive: &s.last}}
	for _, uid := range slices.Sorted(maps.Keys(s.pods)) {
		p := s.pods[uid]
		records = append(records, record{Pod: &position{PodUID: uid, Sequence: p.sequence, Boundary: p.boundary, Open: p.open}})
	}
	for i := range s.closed {
		records = append(records, record{Closed: &s.closed[i]})
	}
	b := []byte(format)
	for some := range slices.Chunk(records, snapshotFrame) {
		var err error
		if b, err = appendFrame(b, some); err != nil {
			return nil, err
		}
	}
	return b, nil
}
