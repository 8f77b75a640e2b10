package nodes

import (
	"time"

	nodev1 "swell.dev/swell/api/node/v1"
	usagev1 "swell.dev/swell/api/usage/v1"
)

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
	}
	if m.EndUnixMilli != 0 {
		seg.End = time.UnixMilli(m.EndUnixMilli).UTC()
	}
	return seg
}
