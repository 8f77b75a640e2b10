package sizing

import (
	"time"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/controlplane"
)

// workload is what is known of an owner's pods.
type workload struct {
	owner      controlplane.Owner
	containers map[string]*usage
	heard      time.Time
	unsaved    bool
}

// maxContainers bounds the containers of a workload: pods of one owner needn't have the same.
const maxContainers = 32

// core keeps the workloads.
type core struct {
	day       time.Duration
	most      int // workloads that are kept
	workloads map[controlplane.Owner]*workload
	dropped   []controlplane.Owner // forgotten since they were taken: their checkpoints have to go

	samples, refused, leftOut int64
}

func newCore(day time.Duration, most int) *core {
	return &core{day: day, most: most, workloads: map[controlplane.Owner]*workload{}}
}

// told counts what a container has used.
func (c *core) told(of controlplane.Owner, h *nodev1.ContainerHistory, now time.Time) error {
	w := c.workloads[of]
	if w == nil {
		if !c.makeRoom(of, now) {
			c.leftOut++
			return nil
		}
		w = &workload{owner: of, containers: map[string]*usage{}}
		c.workloads[of] = w
	}
	u := w.containers[h.Name]
	if u == nil {
		if len(w.containers) >= maxContainers {
			return nil
		}
		u = newUsage(c.day)
	}
	if err := u.add(h, now); err != nil {
		c.refused++
		return err
	}
	w.containers[h.Name] = u
	w.heard, w.unsaved = now, true
	c.samples += int64(h.Readings)
	return nil
}

// lookedAt bounds the search for a workload that makes room; silentFor is how long one hasn't been heard of that
// may.
const (
	lookedAt  = 32
	silentFor = 10 * time.Minute
)

// makeRoom forgets, where there are too many, the one of some that was heard of longest ago. If all of them are
// heard of, a single pod makes room for what isn't one; another single pod is left out, since one that pushed out
// the next in turn would leave nobody with a history.
func (c *core) makeRoom(of controlplane.Owner, now time.Time) bool {
	if len(c.workloads) < c.most {
		return true
	}
	var oldest, single *workload
	n := 0
	for _, w := range c.workloads { // in no order
		if oldest == nil || w.heard.Before(oldest.heard) {
			oldest = w
		}
		if w.owner.Kind == controlplane.OwnerPod {
			single = w
		}
		if n++; n == lookedAt {
			break
		}
	}
	switch {
	case now.Sub(oldest.heard) >= silentFor:
		c.forget(oldest)
	case single != nil && of.Kind != controlplane.OwnerPod:
		c.forget(single)
	default:
		return false
	}
	return true
}

// maxDropped bounds the checkpoints that wait to be removed. What is beyond is found at the next start.
const maxDropped = 4096

func (c *core) forget(w *workload) {
	delete(c.workloads, w.owner)
	if len(c.dropped) < maxDropped {
		c.dropped = append(c.dropped, w.owner)
	}
}

// Workloads that nobody hears of any more are forgotten: after eight days, when their histograms have decayed to
// nothing, and single pods that were there for less than an hour, which nobody will ask about, after an hour.
const (
	forgetAfterDays = 8
	shortLived      = 1.0 / 24 // days
)

// expire forgets what is old, and the workloads of namespaces that are gone.
func (c *core) expire(now time.Time, exists func(namespace string) bool) {
	there := map[string]bool{}
	for _, w := range c.workloads {
		ns := w.owner.Namespace
		if _, known := there[ns]; !known {
			there[ns] = exists(ns)
		}
		silent := now.Sub(w.heard)
		short := w.owner.Kind == controlplane.OwnerPod && float64(silent) > shortLived*float64(c.day) && w.length() < time.Duration(shortLived*float64(c.day))
		if !there[ns] || silent > forgetAfterDays*c.day || short {
			c.forget(w)
		}
	}
}

// length is that of the longest history.
func (w *workload) length() time.Duration {
	var out time.Duration
	for _, u := range w.containers {
		out = max(out, u.until.Sub(u.since))
	}
	return out
}
