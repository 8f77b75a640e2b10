package nodelet

import (
	"cmp"
	"slices"
	"time"
)

// slots are the latest reports of the slots that have no pod yet, and of those that are gone until that was
// taken.
type slots struct {
	reports map[string]SlotReport // by UID
	dirty   map[string]bool       // UIDs with something to tell
}

func (s *slots) set(r SlotReport) { s.reports[r.UID], s.dirty[r.UID] = r, true }

func (s *slots) drop(uid string) {
	delete(s.reports, uid)
	delete(s.dirty, uid)
}

// publishSlot is called by a worker whose slot has come further, doesn't, or is gone.
func (n *Nodelet) publishSlot(w *worker, r SlotReport) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r.Depth == NoSlot {
		delete(n.workers, w.uid)
		if next := w.machine.successor; next != nil && n.state == stateRunning {
			n.slots.drop(w.uid)
			n.spawnLocked(*next, false, nil, inList{At: time.Now()})
			return
		}
	}
	n.slots.set(r)
	n.tellLocked()
}

// Slots answers every slot that has no pod yet.
func (n *Nodelet) Slots() []SlotReport {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]SlotReport, 0, len(n.slots.reports))
	for _, r := range n.slots.reports {
		if r.Depth != NoSlot {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b SlotReport) int { return cmp.Compare(a.UID, b.UID) })
	return out
}

// TakeSlots answers at most limit slots that changed since they were taken last. Nothing of it needs to be
// put back: Slots tells all after a loss.
func (n *Nodelet) TakeSlots(limit int) []SlotReport {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := &n.slots
	out := make([]SlotReport, 0, min(limit, len(s.dirty)))
	for uid := range s.dirty {
		if len(out) == limit {
			n.tellLocked()
			break
		}
		r := s.reports[uid]
		out = append(out, r)
		delete(s.dirty, uid)
		if r.Depth == NoSlot {
			s.drop(uid)
		}
	}
	return out
}
