package nodelet

import (
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// Journal makes segments durable on this node before anybody counts them. Time is the journal's: one
// clock per node that neither jumps nor runs backwards, also over a restart of the nodelet.
type Journal interface {
	// Start opens a pod's first segment, or, where one is open, ends it at the same instant as the next
	// one begins (a resize; nothing happens if the size is the same). It is durable on return. Template
	// holds all but Sequence, Start and End.
	Start(template usagev1.Segment) error
	// Stop ends a pod's open segment at the given wall time (zero: now), clamped so that boundaries
	// never run backwards. A pod without an open segment is no error.
	Stop(podUID string, at time.Time) error
	// Burst adds to what a pod had beyond its size in its open segment. It is durable on return. A pod
	// without an open segment is no error.
	Burst(podUID string, add usagev1.Burst) error
	// Open answers the open segments.
	Open() []usagev1.Segment
	// Pending answers closed segments that were not acknowledged, oldest first, at most limit.
	Pending(limit int) []usagev1.Segment
	// Ack forgets segments that the control plane has made durable.
	Ack(ids []usagev1.ID) error
	// Changed receives (without blocking, capacity 1) after Start and Stop, and when segments have ended with their day.
	Changed() <-chan struct{}
	Close() error
}
