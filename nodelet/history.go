package nodelet

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/internal/histogram"
)

// history gathers what containers use, until it is told and acknowledged. A container takes some hundred bytes:
// of the 176 buckets it has those that it was seen in since the last time, at five bytes each.
type history struct {
	window time.Duration // of memory peaks
	began  time.Time     // what was before, another process has counted

	mu       sync.Mutex // guards what follows
	pods     map[string]*podHistory
	ended    []string // UIDs of pods that have ended and have something to tell, oldest first
	instance uint64
	sequence uint64
	unacked  []*nodev1.UsageHistory // taken, oldest first
}

type podHistory struct {
	containers []*containerHistory // few
	ended      bool
}

type containerHistory struct {
	name      string
	cpu       histogram.Counts
	until     time.Time
	observed  time.Duration
	throttled time.Duration
	readings  uint32
	oomKills  uint32

	windowEnd time.Time
	peak      int64 // bytes, in the window
	oomPeak   int64 // bytes that would have been needed, in the window
	told      int16 // bucket that the window's peak was told to be in; -1: none yet
	moved     []*nodev1.MemoryPeak
	oomAt     time.Time // when it was killed last, as far as that is counted
}

// Bounds of what is kept while nobody takes it.
const (
	maxUnackedHistories = 16
	maxEndedHistories   = 1024
	maxPeaks            = 16 // windows of a container
)

// What a kill for want of memory is taken to have needed, from the Vertical Pod Autoscaler: a fifth more than
// what there was, and 100 MB more at least.
const (
	oomBumpRatio = 1.2
	oomBumpBytes = 100_000_000
)

// throttledMost bounds what a throttled container may be thought to have wanted, in its limit.
const throttledMost = 2

// cpuWeightUnit is the request that weighs one a second, in milli-CPU. A container weighs as much as it
// requests, and 100 milli-CPU at least, as for the Vertical Pod Autoscaler.
const cpuWeightUnit, leastCPUWeight = 10, 10

const defaultMemoryWindow = 24 * time.Hour

func newHistory(window time.Duration) *history {
	return &history{window: window, began: time.Now(), pods: map[string]*podHistory{}, instance: rand.Uint64()}
}

func (h *history) containerLocked(uid, name string) *containerHistory {
	p := h.pods[uid]
	if p == nil {
		p = &podHistory{}
		h.pods[uid] = p
	}
	for _, c := range p.containers {
		if c.name == name {
			return c
		}
	}
	c := &containerHistory{name: name, told: -1}
	p.containers = append(p.containers, c)
	return c
}

// observe takes two readings of a pod, as podUsage does.
func (h *history) observe(uid string, st *corev1.PodStatus, before, now sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, u := range now {
		c := h.containerLocked(uid, name)
		size := sizeIn(st, name)
		c.seeMemory(u, size, h.window)
		b, ok := before[name]
		if elapsed := u.MeasuredAt.Sub(b.MeasuredAt); ok && elapsed > 0 && u.CPU >= b.CPU {
			c.seeCPU(b, u, elapsed, size)
			if u.OOMKills > b.OOMKills { // of one of its processes; if all ended by it, that is reported
				c.killed(u.MeasuredAt, size, h.window)
			}
		}
	}
}

// sizeIn answers what the kernel holds for a container, as far as it was reported.
func sizeIn(st *corev1.PodStatus, name string) *corev1.ResourceRequirements {
	for _, list := range [][]corev1.ContainerStatus{st.ContainerStatuses, st.InitContainerStatuses} {
		for i := range list {
			if list[i].Name == name && list[i].Resources != nil {
				return list[i].Resources
			}
		}
	}
	return &corev1.ResourceRequirements{}
}

// seeCPU counts what was used between two readings. A container that was throttled wanted more than it used:
// while it was stopped, one of its threads was ready to run on each CPU that it was stopped on. What it then
// wanted is known less well the more it was throttled, so it counts up to twice the limit.
func (c *containerHistory) seeCPU(before, now Usage, elapsed time.Duration, size *corev1.ResourceRequirements) {
	used := (now.CPU - before.CPU).Seconds() / elapsed.Seconds()
	wanted := used
	if stopped := now.Throttled - before.Throttled; stopped > 0 {
		c.throttled += min(stopped, elapsed*time.Duration(max(1, math.Ceil(used))))
		wanted += stopped.Seconds() / elapsed.Seconds()
		if limit := size.Limits.Cpu().AsApproximateFloat64(); limit > 0 {
			wanted = max(used, min(wanted, throttledMost*limit))
		}
	}
	weight := max(size.Requests.Cpu().MilliValue()/cpuWeightUnit, leastCPUWeight) * max(int64(elapsed.Round(time.Second)/time.Second), 1)
	c.cpu.Add(histogram.CPU.Of(wanted), uint32(min(weight, math.MaxUint32)))
	c.until = now.MeasuredAt
	c.observed += elapsed
	c.readings++
}

func (c *containerHistory) seeMemory(now Usage, size *corev1.ResourceRequirements, window time.Duration) {
	c.roll(now.MeasuredAt, window)
	c.peak = max(c.peak, now.Memory)
	if c.until.Before(now.MeasuredAt) {
		c.until = now.MeasuredAt
	}
}

// roll begins a window if the last one is over.
func (c *containerHistory) roll(now time.Time, window time.Duration) {
	if now.Before(c.windowEnd) {
		return
	}
	c.tellPeak()
	c.windowEnd = now.Add(window)
	c.peak, c.oomPeak, c.told = 0, 0, -1
}

// tellPeak notes where the window's peak is, if it isn't where it was told to be.
func (c *containerHistory) tellPeak() {
	peak := max(c.peak, c.oomPeak)
	if peak == 0 || c.windowEnd.IsZero() {
		return
	}
	bucket := int16(histogram.Memory.Of(float64(peak)))
	if bucket == c.told {
		return
	}
	c.moved = append(c.moved, &nodev1.MemoryPeak{WindowEndUnix: c.windowEnd.Unix(), Was: uint32(c.told + 1), Is: uint32(bucket + 1)})
	c.moved = c.moved[max(0, len(c.moved)-maxPeaks):]
	c.told = bucket
}

// killed counts a kill for want of memory: the container needed more than it could have.
func (c *containerHistory) killed(at time.Time, size *corev1.ResourceRequirements, window time.Duration) {
	if !at.After(c.oomAt) {
		return
	}
	c.roll(at, window)
	c.oomAt = at
	c.oomKills++
	had := float64(max(c.peak, size.Limits.Memory().Value(), size.Requests.Memory().Value()))
	c.oomPeak = max(c.oomPeak, int64(max(had*oomBumpRatio, had+oomBumpBytes)))
	if c.until.Before(at) {
		c.until = at
	}
}

// reported looks for kills in what is reported of a pod, and notes that it ended.
func (h *history) reported(r *Report) {
	for _, list := range [][]corev1.ContainerStatus{r.Status.ContainerStatuses, r.Status.InitContainerStatuses} {
		for i := range list {
			for _, t := range []*corev1.ContainerStateTerminated{list[i].State.Terminated, list[i].LastTerminationState.Terminated} {
				if t != nil && t.Reason == reasonOOMKilled && t.FinishedAt.After(h.began) {
					h.mu.Lock()
					c := h.containerLocked(r.UID, list[i].Name)
					c.killed(t.FinishedAt.Time, sizeIn(&r.Status, list[i].Name), h.window)
					h.mu.Unlock()
				}
			}
		}
	}
	if !r.Finished {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.pods[r.UID]
	if p == nil || p.ended {
		return
	}
	p.ended = true
	h.ended = append(h.ended, r.UID)
	if len(h.ended) > maxEndedHistories {
		delete(h.pods, h.ended[0])
		h.ended = h.ended[1:]
	}
}

// take answers what isn't told yet of these pods (nil: of all), in messages of at most so many pods. It stays
// with the nodelet until it is acknowledged.
func (h *history) take(uids []string, most int) []*nodev1.UsageHistory {
	h.mu.Lock()
	defer h.mu.Unlock()
	if uids == nil {
		for uid := range h.pods {
			uids = append(uids, uid)
		}
		slices.Sort(uids)
	}
	var out []*nodev1.UsageHistory
	var m *nodev1.UsageHistory
	for _, uid := range uids {
		if len(h.unacked) == maxUnackedHistories && (m == nil || len(m.Pods) == most) {
			break // the rest goes on gathering
		}
		p := h.pods[uid]
		if p == nil {
			continue
		}
		told := &nodev1.PodHistory{Uid: uid}
		for _, c := range p.containers {
			if t := c.take(); t != nil {
				told.Containers = append(told.Containers, t)
			}
		}
		if p.ended {
			delete(h.pods, uid)
			h.ended = slices.DeleteFunc(h.ended, func(e string) bool { return e == uid })
		}
		if len(told.Containers) == 0 {
			continue
		}
		if m == nil || len(m.Pods) == most {
			h.sequence++
			m = &nodev1.UsageHistory{Instance: h.instance, Sequence: h.sequence}
			out = append(out, m)
			h.unacked = append(h.unacked, m)
		}
		m.Pods = append(m.Pods, told)
	}
	return out
}

func (c *containerHistory) take() *nodev1.ContainerHistory {
	c.tellPeak()
	if c.readings == 0 && c.oomKills == 0 && len(c.moved) == 0 {
		return nil
	}
	out := &nodev1.ContainerHistory{
		Name: c.name, UntilUnixMilli: c.until.UnixMilli(), ObservedMillis: c.observed.Milliseconds(), ThrottledMillis: c.throttled.Milliseconds(),
		Readings: c.readings, OomKills: c.oomKills, Cpu: c.cpu.Wire(), Peaks: c.moved,
	}
	c.cpu.Reset()
	// What is left of milliseconds counts with the next ones.
	c.observed -= c.observed.Truncate(time.Millisecond)
	c.throttled -= c.throttled.Truncate(time.Millisecond)
	c.readings, c.oomKills, c.moved = 0, 0, nil
	return out
}

// again answers what was taken and not acknowledged, for another stream.
func (h *history) again() []*nodev1.UsageHistory {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]*nodev1.UsageHistory, 0, len(h.unacked))
	for _, m := range h.unacked {
		out = append(out, &nodev1.UsageHistory{Instance: m.Instance, Sequence: m.Sequence, Again: true, Pods: m.Pods})
	}
	return out
}

func (h *history) ack(sequence uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unacked = slices.DeleteFunc(h.unacked, func(m *nodev1.UsageHistory) bool { return m.Sequence <= sequence })
}

// TakeHistory answers what these pods (nil: all) have used since it was taken last, in messages of at most so
// many pods. They stay with the nodelet until AckHistory.
func (n *Nodelet) TakeHistory(uids []string, most int) []*nodev1.UsageHistory {
	if n.history == nil {
		return nil
	}
	return n.history.take(uids, most)
}

// UnackedHistory answers what was taken and not acknowledged, to be sent again.
func (n *Nodelet) UnackedHistory() []*nodev1.UsageHistory {
	if n.history == nil {
		return nil
	}
	return n.history.again()
}

// AckHistory forgets what the control plane has counted.
func (n *Nodelet) AckHistory(sequence uint64) {
	if n.history != nil {
		n.history.ack(sequence)
	}
}
