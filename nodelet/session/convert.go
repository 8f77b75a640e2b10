package session

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/internal/quantities"
	"swell.dev/swell/nodelet"
)

func assignment(in *nodev1.Assignment) (nodelet.Assignment, error) {
	a := nodelet.Assignment{
		Pod:        &corev1.Pod{},
		Encoded:    in.Pod,
		ConfigMaps: make(map[string]*corev1.ConfigMap, len(in.ConfigMaps)),
		Secrets:    make(map[string]*corev1.Secret, len(in.Secrets)),
	}
	var ok bool
	if a.Slot, ok = depths[in.Slot]; !ok {
		a.Slot = nodelet.SlotContainer // of a later version: as deep as we know
	}
	if err := a.Pod.Unmarshal(in.Pod); err != nil {
		return a, fmt.Errorf("assignment: pod: %w", err)
	}
	if b := in.Boost; b != nil {
		a.Boost = &nodelet.BoostGrant{Ask: b.Ask, CPU: b.CpuMilli}
	}
	quantities.Format(&a.Pod.Spec)
	for _, b := range in.ConfigMaps {
		var c corev1.ConfigMap
		if err := c.Unmarshal(b); err != nil {
			return a, fmt.Errorf("assignment of pod %s/%s: config map: %w", a.Pod.Namespace, a.Pod.Name, err)
		}
		a.ConfigMaps[c.Name] = &c
	}
	for _, b := range in.Secrets {
		var s corev1.Secret
		if err := s.Unmarshal(b); err != nil {
			return a, fmt.Errorf("assignment of pod %s/%s: secret: %w", a.Pod.Namespace, a.Pod.Name, err)
		}
		a.Secrets[s.Name] = &s
	}
	return a, nil
}

var depths = map[nodev1.SlotDepth]nodelet.SlotDepth{
	nodev1.SlotDepth_SLOT_DEPTH_UNSPECIFIED: nodelet.NoSlot,
	nodev1.SlotDepth_SLOT_DEPTH_CAPACITY:    nodelet.SlotCapacity,
	nodev1.SlotDepth_SLOT_DEPTH_SANDBOX:     nodelet.SlotSandbox,
	nodev1.SlotDepth_SLOT_DEPTH_CONTAINER:   nodelet.SlotContainer,
}

func slotReports(in []nodelet.SlotReport) []*nodev1.SlotReport {
	out := make([]*nodev1.SlotReport, 0, len(in))
	for _, r := range in {
		m := &nodev1.SlotReport{Uid: r.UID, Message: r.Message}
		for wire, depth := range depths {
			if depth == r.Depth {
				m.Depth = wire
			}
		}
		out = append(out, m)
	}
	return out
}

func reports(in []nodelet.Report) ([]*nodev1.PodReport, error) {
	out := make([]*nodev1.PodReport, 0, len(in))
	for i := range in {
		r := &in[i]
		status := r.Encoded
		if status == nil {
			var err error
			if status, err = r.Status.Marshal(); err != nil {
				return nil, fmt.Errorf("report of pod %s/%s: %w", r.Namespace, r.Name, err)
			}
		}
		m := &nodev1.PodReport{Uid: r.UID, Namespace: r.Namespace, Name: r.Name, Status: status, Finished: r.Finished}
		if b := r.Boost; b != nil {
			m.Boost = &nodev1.BoostReport{Ask: b.Ask, WantCpuMilli: b.Want, HeldCpuMilli: b.Held}
		}
		for _, e := range r.Events {
			m.Events = append(m.Events, &nodev1.Event{
				Type: e.Type, Reason: e.Reason, Message: e.Message, TimeUnixNano: e.Time.UnixNano(), FieldPath: e.FieldPath,
			})
		}
		out = append(out, m)
	}
	return out, nil
}

func segment(s usagev1.Segment) *nodev1.Segment {
	m := &nodev1.Segment{
		PodUid: s.PodUID, Generation: s.Generation, Sequence: s.Sequence,
		Namespace: s.Namespace, Pod: s.Pod, Node: s.Node,
		ComputeClass: s.ComputeClass, Qos: s.QoS,
		CpuMilli: s.CPUMilli, MemoryBytes: s.MemoryBytes,
		StartUnixMilli: s.Start.UnixMilli(), Labels: s.Labels,
		BurstMillis: s.Burst.Millis, BurstCpuMilliMillis: s.Burst.CPUMillis, BurstMemoryMibMillis: s.Burst.MemoryMillis,
		GpuModel: s.GPU.Model, GpuMilli: s.GPU.Milli, GpuMemoryMib: s.GPU.MemoryMiB, StorageBytes: s.StorageBytes,
	}
	if !s.End.IsZero() {
		m.EndUnixMilli = s.End.UnixMilli()
	}
	return m
}
