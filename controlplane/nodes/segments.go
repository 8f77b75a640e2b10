package nodes

import (
	"context"
	"fmt"
	"time"

	nodev1 "swell.dev/swell/api/node/v1"
	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/api/v1alpha1"
)

// segments makes closed segments durable and only then queues their acknowledgement.
func (h *Hub) segments(ctx context.Context, s *session, in []*nodev1.Segment) error {
	var closed, open []usagev1.Segment
	var ids []*nodev1.SegmentID
	for _, m := range in {
		seg := segmentOf(m)
		seg.Node = s.node
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
	if err := billable(seg); err != nil {
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

// billable refuses what no bill could be made of: one such segment would spoil every bill that it is on.
func billable(seg *usagev1.Segment) error {
	switch {
	case seg.CPUMilli < 0 || seg.MemoryBytes < 0:
		return fmt.Errorf("%d milli-CPU and %d bytes: a size isn't negative", seg.CPUMilli, seg.MemoryBytes)
	case !seg.Open() && seg.End.Before(seg.Start):
		return fmt.Errorf("it ends at %s, before it starts at %s", seg.End, seg.Start)
	case seg.ComputeClass != v1alpha1.ClassGeneralPurpose && seg.ComputeClass != v1alpha1.ClassPerformance && seg.ComputeClass != v1alpha1.ClassGPU:
		return fmt.Errorf("compute class %q isn't known", seg.ComputeClass)
	case seg.QoS != v1alpha1.QoSDefault && seg.QoS != v1alpha1.QoSBestEffort:
		return fmt.Errorf("QoS %q isn't known", seg.QoS)
	}
	return nil
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
