package journal

import (
	"errors"
	"fmt"
	"maps"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/internal/bootclock"
)

// plan gathers the records of one frame. It sees the state as it will be with them, without touching it:
// nobody may count what isn't on the disk.
type plan struct {
	state   *state // read only
	clock   *bootclock.Clock
	pods    map[string]pod // those that the records change
	opening int
	records []record
	rolled  bool // a segment ends with its day
}

func newPlan(s *state, clock *bootclock.Clock) *plan {
	return &plan{state: s, clock: clock, pods: map[string]pod{}, opening: s.opening}
}

func (p *plan) pod(uid string) pod {
	if changed, ok := p.pods[uid]; ok {
		return changed
	}
	return p.state.pods[uid]
}

func (p *plan) now() time.Time { return p.clock.Now().Truncate(time.Millisecond) }

// start plans a Start. See nodelet.Journal.
func (p *plan) start(template usagev1.Segment) error {
	if template.PodUID == "" || template.CPUMilli < 0 || template.MemoryBytes < 0 {
		return fmt.Errorf("segment %s: %d milli-CPU, %d bytes: %w", template.ID, template.CPUMilli, template.MemoryBytes, errSegment)
	}
	was := p.pod(template.PodUID)
	if was.open != nil && sameSize(*was.open, template) {
		return nil
	}
	if p.opening == 0 {
		if next, moved := p.clock.Forward(); moved {
			anchor := next.Anchor()
			p.clock, p.records = next, append(p.records, record{Anchor: &anchor})
		}
	}
	template.Labels = maps.Clone(template.Labels)
	at := later(p.now(), was.boundary)
	if was.open == nil && was.sequence > 0 && at.After(was.boundary) {
		p.open(nothing(template), was.boundary)
	}
	p.open(template, at)
	return nil
}

var errSegment = errors.New("a pod and sizes that aren't negative are required")

// open plans that a segment follows all others of its pod.
func (p *plan) open(seg usagev1.Segment, at time.Time) {
	was := p.pod(seg.PodUID)
	if was.open == nil {
		p.opening++
	}
	seg.Sequence, seg.Start, seg.End, seg.Burst = was.sequence+1, at, time.Time{}, usagev1.Burst{}
	p.pods[seg.PodUID] = pod{open: &seg, sequence: seg.Sequence, boundary: at}
	p.records = append(p.records, record{Start: &seg})
}

// rollGrace is for how long after a midnight, or after the journal was opened, an end before that midnight may still
// be told without having been overtaken by it.
const rollGrace = 5 * time.Minute

// roll plans that open segments end with their day, UTC, and go on as new ones, so that what a day has used is in
// facts soon after it is over. Since is when the journal was opened, in its own time.
func (p *plan) roll(since time.Time) {
	now := p.now()
	last := now.Add(-rollGrace).Truncate(day)
	if now.Before(since.Add(rollGrace)) {
		return
	}
	for _, seg := range p.state.open() {
		if p.pod(seg.PodUID).open == nil {
			continue // it ends in this plan
		}
		for at := p.pod(seg.PodUID).boundary.Truncate(day).Add(day); !at.After(last); at = at.Add(day) {
			p.open(*p.pod(seg.PodUID).open, at)
			p.rolled = true
		}
	}
}

const day = 24 * time.Hour // of Unix time, which has no others

// stop plans a Stop. See nodelet.Journal.
func (p *plan) stop(podUID string, at time.Time) {
	was := p.pod(podUID)
	if was.open == nil {
		return
	}
	end := p.now()
	if !at.IsZero() {
		end = p.clock.At(at).Truncate(time.Millisecond)
	}
	end = later(end, was.boundary)
	was.open, was.boundary = nil, end
	p.pods[podUID] = was
	p.opening--
	p.records = append(p.records, record{Stop: &stop{PodUID: podUID, At: end}})
}

// burst plans a Burst. See nodelet.Journal.
func (p *plan) burst(podUID string, add usagev1.Burst) error {
	if add.Millis < 0 || add.CPUMillis < 0 || add.MemoryMillis < 0 {
		return fmt.Errorf("pod %s: burst of %+v: %w", podUID, add, errSegment)
	}
	was := p.pod(podUID)
	if was.open == nil || add == (usagev1.Burst{}) {
		return nil
	}
	was.open = withBurst(was.open, add)
	p.pods[podUID] = was
	p.records = append(p.records, record{Burst: &burst{PodUID: podUID, Burst: add}})
	return nil
}

// withBurst answers an open segment, which is never changed in place, with more of a burst.
func withBurst(seg *usagev1.Segment, add usagev1.Burst) *usagev1.Segment {
	next := *seg
	next.Burst = next.Burst.Add(add)
	return &next
}

// interrupt plans the end of everything that a former boot left open.
func (p *plan) interrupt(at time.Time) {
	for _, seg := range p.state.open() {
		if seg.CPUMilli != 0 || seg.MemoryBytes != 0 {
			p.open(nothing(seg), later(at, seg.Start))
		}
	}
}

// nothing is a segment of no size.
func nothing(seg usagev1.Segment) usagev1.Segment {
	seg.CPUMilli, seg.MemoryBytes, seg.Burst = 0, 0, usagev1.Burst{}
	return seg
}

func sameSize(a, b usagev1.Segment) bool {
	return a.CPUMilli == b.CPUMilli && a.MemoryBytes == b.MemoryBytes && a.ComputeClass == b.ComputeClass && a.QoS == b.QoS &&
		a.GPU == b.GPU && a.StorageBytes == b.StorageBytes
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
