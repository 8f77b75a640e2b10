package session

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/nodelet"
)

// patience is how long a test waits for what can't take long.
const patience = time.Minute

// fakePods is a nodelet of which the session is told everything.
type fakePods struct {
	changed chan struct{}
	heard   chan string // what the control plane said, in order

	mu       sync.Mutex // guards what follows
	all      map[string]nodelet.Report
	slots    map[string]nodelet.SlotReport
	newSlots []nodelet.SlotReport
	dirty    []string
	returned int
	sequence uint64
	unacked  []*nodev1.UsageHistory
}

func newFakePods() *fakePods {
	return &fakePods{changed: make(chan struct{}, 1), heard: make(chan string, 1000), all: map[string]nodelet.Report{}}
}

// set changes a pod's report.
func (p *fakePods) set(r nodelet.Report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all[r.UID] = r
	p.markLocked(r.UID)
}

func (p *fakePods) markLocked(uid string) {
	if !slices.Contains(p.dirty, uid) {
		p.dirty = append(p.dirty, uid)
	}
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// setSlot changes a slot's report.
func (p *fakePods) setSlot(r nodelet.SlotReport) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.slots == nil {
		p.slots = map[string]nodelet.SlotReport{}
	}
	if p.slots[r.UID] = r; r.Depth == nodelet.NoSlot {
		delete(p.slots, r.UID)
	}
	p.newSlots = append(p.newSlots, r)
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

func (p *fakePods) Slots() []nodelet.SlotReport {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Values(p.slots))
}

func (p *fakePods) TakeSlots(limit int) []nodelet.SlotReport {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := min(limit, len(p.newSlots))
	out := p.newSlots[:n:n]
	p.newSlots = p.newSlots[n:]
	return out
}

func (p *fakePods) Changed() <-chan struct{} { return p.changed }

func (p *fakePods) Reports() []nodelet.Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []nodelet.Report
	for _, r := range p.all {
		r.Events = nil
		out = append(out, r)
	}
	return out
}

func (p *fakePods) Take(limit int) []nodelet.Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []nodelet.Report
	for len(p.dirty) > 0 && len(out) < limit {
		out = append(out, p.all[p.dirty[0]])
		p.dirty = p.dirty[1:]
	}
	return out
}

func (p *fakePods) Return(in []nodelet.Report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.returned += len(in)
	for _, r := range in {
		p.markLocked(r.UID)
	}
}

func (p *fakePods) TakeHistory(uids []string, _ int) []*nodev1.UsageHistory {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sequence++
	m := &nodev1.UsageHistory{Instance: 7, Sequence: p.sequence, Pods: []*nodev1.PodHistory{{Uid: "all"}}}
	if uids != nil {
		m.Pods[0].Uid = fmt.Sprint(uids)
	}
	p.unacked = append(p.unacked, m)
	return []*nodev1.UsageHistory{m}
}

func (p *fakePods) UnackedHistory() []*nodev1.UsageHistory {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*nodev1.UsageHistory
	for _, m := range p.unacked {
		out = append(out, &nodev1.UsageHistory{Instance: m.Instance, Sequence: m.Sequence, Again: true, Pods: m.Pods})
	}
	return out
}

func (p *fakePods) AckHistory(sequence uint64) {
	p.mu.Lock()
	p.unacked = slices.DeleteFunc(p.unacked, func(m *nodev1.UsageHistory) bool { return m.Sequence <= sequence })
	p.mu.Unlock()
	p.heard <- fmt.Sprint("history ack ", sequence)
}

func (p *fakePods) Usage(context.Context) []*nodev1.PodUsage {
	return []*nodev1.PodUsage{{Uid: "u1"}}
}

func (p *fakePods) Sync(all []nodelet.Assignment) {
	var names []string
	for _, a := range all {
		names = append(names, describe(a))
	}
	slices.Sort(names)
	p.heard <- fmt.Sprint("sync ", names)
}

func (p *fakePods) Assign(a nodelet.Assignment) { p.heard <- "assign " + describe(a) }
func (p *fakePods) Remove(uid string)           { p.heard <- "remove " + uid }
func (p *fakePods) Boost(uid string, g nodelet.BoostGrant) {
	p.heard <- fmt.Sprintf("boost %s: %d to wish %d", uid, g.CPU, g.Ask)
}

func describe(a nodelet.Assignment) string {
	out := a.Pod.Name
	if a.Slot != nodelet.NoSlot {
		out = "slot " + a.Slot.String() + " " + out
	}
	for _, c := range a.ConfigMaps {
		out += " with " + c.Name
	}
	for _, s := range a.Secrets {
		out += " with " + s.Name
	}
	return out
}

func (p *fakePods) expect(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-p.heard:
		if got != want {
			t.Fatalf("the nodelet is told %q, want %q", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("the nodelet isn't told %q", want)
	}
}

// fakeJournal keeps segments until they are acknowledged.
type fakeJournal struct {
	changed chan struct{}

	mu     sync.Mutex // guards what follows
	closed []usagev1.Segment
	open   []usagev1.Segment
	acked  chan usagev1.ID
	refuse error // of Ack
}

func newFakeJournal() *fakeJournal {
	return &fakeJournal{changed: make(chan struct{}, 1), acked: make(chan usagev1.ID, 100_000)}
}

func (j *fakeJournal) add(s ...usagev1.Segment) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, seg := range s {
		if seg.Open() {
			j.open = append(j.open, seg)
		} else {
			j.closed = append(j.closed, seg)
		}
	}
	select {
	case j.changed <- struct{}{}:
	default:
	}
}

func (j *fakeJournal) Changed() <-chan struct{} { return j.changed }

func (j *fakeJournal) Open() []usagev1.Segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.open)
}

func (j *fakeJournal) Pending(limit int) []usagev1.Segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.closed[:min(limit, len(j.closed))])
}

func (j *fakeJournal) Ack(ids []usagev1.ID) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.refuse != nil {
		return j.refuse
	}
	known := make(map[usagev1.ID]bool, len(ids))
	for _, id := range ids {
		known[id] = true
		j.acked <- id
	}
	j.closed = slices.DeleteFunc(j.closed, func(s usagev1.Segment) bool { return known[s.ID] })
	return nil
}

func (j *fakeJournal) left() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.closed)
}

func closedSegment(pod string, sequence int64) usagev1.Segment {
	return usagev1.Segment{
		ID: usagev1.ID{PodUID: pod, Generation: 1, Sequence: sequence}, Pod: pod, Namespace: "default", Node: "a",
		Start: time.UnixMilli(1000 * sequence), End: time.UnixMilli(1000 * (sequence + 1)), Labels: map[string]string{"k": "v"},
	}
}

func openSegment(pod string, sequence int64) usagev1.Segment {
	s := closedSegment(pod, sequence)
	s.End = time.Time{}
	return s
}

func reportOf(uid string, phase corev1.PodPhase) nodelet.Report {
	return nodelet.Report{UID: uid, Namespace: "default", Name: uid, Status: corev1.PodStatus{Phase: phase}}
}
