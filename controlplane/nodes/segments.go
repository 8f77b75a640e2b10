package nodes

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/api/v1alpha1"
)

// segments makes closed segments durable and only then queues their acknowledgement.
func (h *Hub) segments(ctx context.Context, s *session, in []*nodev1.Segment) error {
	var closed, open []usagev1.Segment
	var ids []*nodev1.SegmentID
	region := h.region(s.node)
	for _, m := range in {
		seg := segmentOf(m)
		seg.Node, seg.Region = s.node, region
		if err := h.mayMeter(s.node, &seg); err != nil {
			h.cfg.Log.Warn("segment refused", "node", s.node, "segment", seg.ID.String(), "cause", err)
			continue
		}
		if seg.Open() {
			open = append(open, seg)
			continue
		}
		closed = append(closed, seg)
		ids = append(ids, &nodev1.SegmentID{PodUid: seg.PodUID, Generation: seg.Generation, Sequence: seg.Sequence})
	}
	if len(closed) > 0 {
		if err := h.cfg.Ledger.Record(ctx, closed); err != nil {
			return fmt.Errorf("node %s: segments: %w", s.node, err)
		}
		s.push(func() { s.acks = append(s.acks, ids...) })
		return nil // open ones come in a message of their own
	}
	return h.cfg.Ledger.SetOpen(ctx, s.node, open)
}

// mayMeter refuses a segment of a pod that is known to be another node's, or to have another name. A pod
// that is no longer known (removed by force while it still stopped) is billed by the node that ran it.
func (h *Hub) mayMeter(node string, seg *usagev1.Segment) error {
	if err := billable(seg, time.Now()); err != nil {
		return err
	}
	key := podKey(seg.Namespace, seg.Pod)
	h.mu.Lock()
	ref, ok := h.pods.find(seg.PodUID)
	h.mu.Unlock()
	if !ok {
		pod := h.pod(key, seg.PodUID)
		if pod == nil {
			return nil
		}
		ref = podRef{uid: seg.PodUID, node: pod.Spec.NodeName, key: key}
	}
	if ref.node != node {
		return fmt.Errorf("%s is on node %q", ref.key, ref.node)
	}
	if ref.key != key {
		return fmt.Errorf("pod %s is %s, not %s", seg.PodUID, ref.key, key)
	}
	return nil
}

// region is where a node is, as its label says.
func (h *Hub) region(node string) string {
	o, ok := h.cfg.Store.Get(nodeKey(node))
	if !ok {
		return ""
	}
	return o.GetLabels()[corev1.LabelTopologyRegion]
}

// What is more than any real use: beyond it, sums could overflow.
const (
	maxMilli  = 1_000_000_000 // a million vCPU or GPUs
	maxBytes  = 1 << 50       // a PiB
	maxAhead  = 24 * time.Hour
	maxLength = 253 // of names, in bytes
)

// meteringBegan is before any segment.
var meteringBegan = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// billable refuses what no bill could be made of: one such segment would spoil every bill that it is on.
func billable(seg *usagev1.Segment, now time.Time) error {
	end := seg.End
	if seg.Open() {
		end = now
	}
	switch {
	case outside(seg.CPUMilli, maxMilli) || outside(seg.MemoryBytes, maxBytes):
		return fmt.Errorf("%d milli-CPU and %d bytes: want 0 to %d and to %d", seg.CPUMilli, seg.MemoryBytes, maxMilli, maxBytes)
	case outside(seg.GPU.Milli, maxMilli) || outside(seg.GPU.MemoryMiB, maxBytes>>20) || len(seg.GPU.Model) > maxLength:
		return fmt.Errorf("GPU %.300q, %d thousandths and %d MiB: want 0 to %d and to %d, and a name of at most %d bytes", seg.GPU.Model, seg.GPU.Milli, seg.GPU.MemoryMiB, maxMilli, maxBytes>>20, maxLength)
	case outside(seg.StorageBytes, maxBytes):
		return fmt.Errorf("%d bytes of storage: want 0 to %d", seg.StorageBytes, maxBytes)
	case seg.Start.Before(meteringBegan) || seg.Start.After(now.Add(maxAhead)) || seg.End.After(now.Add(maxAhead)):
		return fmt.Errorf("from %s to %s: want times since %d that aren't more than %s ahead of %s; is the node's clock right?", seg.Start, seg.End, meteringBegan.Year(), maxAhead, now.UTC().Format(time.RFC3339))
	case !seg.Open() && seg.End.Before(seg.Start):
		return fmt.Errorf("it ends at %s, before it starts at %s", seg.End, seg.Start)
	case !burstIsPossible(seg.Burst, end.Sub(seg.Start).Milliseconds()):
		return fmt.Errorf("a burst of %+v from %s to %s: it is more than can be", seg.Burst, seg.Start, end)
	case seg.ComputeClass != v1alpha1.ClassGeneralPurpose && seg.ComputeClass != v1alpha1.ClassPerformance && seg.ComputeClass != v1alpha1.ClassGPU:
		return fmt.Errorf("compute class %.300q isn't known", seg.ComputeClass)
	case seg.QoS != v1alpha1.QoSDefault && seg.QoS != v1alpha1.QoSBestEffort:
		return fmt.Errorf("QoS %.300q isn't known", seg.QoS)
	}
	return nil
}

func outside(v, most int64) bool { return v < 0 || v > most }

// burstIsPossible bounds what a burst adds by what a pod can have; ms may be negative where a clock was set back.
func burstIsPossible(b usagev1.Burst, ms int64) bool {
	ms = max(ms, 0) + 1 // what is rounded up
	return b.Millis >= 0 && b.CPUMillis >= 0 && b.MemoryMillis >= 0 && b.CPUMillis/ms <= maxMilli && b.MemoryMillis/ms <= maxBytes>>20
}

func segmentOf(m *nodev1.Segment) usagev1.Segment {
	seg := usagev1.Segment{
		ID:           usagev1.ID{PodUID: m.PodUid, Generation: m.Generation, Sequence: m.Sequence},
		Namespace:    m.Namespace,
		Pod:          m.Pod,
		ComputeClass: m.ComputeClass,
		QoS:          m.Qos,
		CPUMilli:     m.CpuMilli,
		MemoryBytes:  m.MemoryBytes,
		Start:        time.UnixMilli(m.StartUnixMilli).UTC(),
		Labels:       m.Labels,
		Burst:        usagev1.Burst{Millis: m.BurstMillis, CPUMillis: m.BurstCpuMilliMillis, MemoryMillis: m.BurstMemoryMibMillis},
		GPU:          usagev1.GPU{Model: m.GpuModel, Milli: m.GpuMilli, MemoryMiB: m.GpuMemoryMib},
		StorageBytes: m.StorageBytes,
	}
	if m.EndUnixMilli != 0 {
		seg.End = time.UnixMilli(m.EndUnixMilli).UTC()
	}
	return seg
}
