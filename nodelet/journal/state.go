package journal

import (
	"fmt"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// state is what the records add up to. It is pure: the file and the clock are elsewhere.
type state struct {
	pods   map[string]*pod
	closed []usagev1.Segment // not acknowledged, oldest first; acknowledged ones are taken out lazily
	acked  map[usagev1.ID]bool
	last   time.Time // the latest boundary
}

type pod struct {
	open     *usagev1.Segment
	sequence int64 // of the newest segment
	boundary time.Time
	unacked  int
}

func newState() *state {
	return &state{pods: map[string]*pod{}, acked: map[usagev1.ID]bool{}}
}

func (s *state) apply(r record) error {
	if r.Stop != nil {
		if err := s.stop(*r.Stop); err != nil {
			return err
		}
	}
	if r.Start != nil {
		if err := s.start(*r.Start); err != nil {
			return err
		}
	}
	for _, id := range r.Ack {
		s.ack(id)
	}
	if r.Next != nil {
		s.pods[r.Next.PodUID] = &pod{sequence: r.Next.Sequence, boundary: r.Next.Boundary}
		s.reach(r.Next.Boundary)
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
	if p == nil {
		p = &pod{}
		s.pods[seg.PodUID] = p
	}
	if p.open != nil {
		return fmt.Errorf("segment %s starts while %s is open", seg.ID, p.open.ID)
	}
	if seg.Sequence <= p.sequence || seg.Start.Before(p.boundary) {
		return fmt.Errorf("segment %s at %s doesn't follow sequence %d at %s", seg.ID, seg.Start, p.sequence, p.boundary)
	}
	p.sequence, p.boundary = seg.Sequence, seg.Start
	s.reach(seg.Start)
	if seg.End.IsZero() {
		p.open = &seg
		return nil
	}
	s.close(p, seg) // a closed one, as a rewritten file has them
	return nil
}

func (s *state) stop(st stop) error {
	p := s.pods[st.PodUID]
	if p == nil || p.open == nil {
		return fmt.Errorf("pod %s stops without an open segment", st.PodUID)
	}
	if st.At.Before(p.open.Start) {
		return fmt.Errorf("segment %s ends at %s, before it started", p.open.ID, st.At)
	}
	seg := *p.open
	seg.End = st.At
	p.open = nil
	s.close(p, seg)
	return nil
}

func (s *state) close(p *pod, seg usagev1.Segment) {
	p.boundary = seg.End
	p.unacked++
	s.reach(seg.End)
	s.closed = append(s.closed, seg)
}

func (s *state) ack(id usagev1.ID) {
	if s.acked[id] {
		return
	}
	if p := s.pods[id.PodUID]; p != nil && id.Sequence <= p.sequence && (p.open == nil || p.open.Sequence != id.Sequence) {
		s.acked[id] = true
		if p.unacked--; p.unacked <= 0 && p.open == nil {
			p.unacked = 0
		}
	}
	s.trim()
}

// trim takes acknowledged segments out, once they stand in front.
func (s *state) trim() {
	n := 0
	for n < len(s.closed) && s.acked[s.closed[n].ID] {
		delete(s.acked, s.closed[n].ID)
		n++
	}
	s.closed = s.closed[n:]
}

func (s *state) pending(limit int) []usagev1.Segment {
	var out []usagev1.Segment
	for i := range s.closed {
		if len(out) == limit {
			break
		}
		if !s.acked[s.closed[i].ID] {
			out = append(out, s.closed[i])
		}
	}
	return out
}
