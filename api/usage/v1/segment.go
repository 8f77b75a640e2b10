// Package usagev1 is the metering segment: the fact from which every bill is made.
package usagev1

import (
	"fmt"
	"time"
)

// ID identifies a segment for ever. It is decided by the node that observed the interval, so that a
// segment that is sent twice has the same ID twice.
type ID struct {
	PodUID     string `json:"podUID"`
	Generation int64  `json:"generation"`
	Sequence   int64  `json:"sequence"` // per pod, from 1, without gaps
}

func (id ID) String() string { return fmt.Sprintf("%s/%d/%d", id.PodUID, id.Generation, id.Sequence) }

// Segment is an interval in which a pod's billed size did not change. It ends with the size, and with its day, UTC.
// Segments of one pod abut: the next one's Start is the previous one's End.
type Segment struct {
	ID
	Namespace    string            `json:"namespace"`
	Pod          string            `json:"pod"`
	Node         string            `json:"node"`
	ComputeClass string            `json:"computeClass"` // general-purpose, performance
	QoS          string            `json:"qos"`          // default, best-effort
	CPUMilli     int64             `json:"cpuMilli"`
	MemoryBytes  int64             `json:"memoryBytes"`
	Start        time.Time         `json:"start"` // UTC, whole milliseconds
	End          time.Time         `json:"end"`   // zero while the segment is open
	Labels       map[string]string `json:"labels,omitempty"`
	Burst        Burst             `json:"burst,omitzero"`
	GPU          GPU               `json:"gpu,omitzero"`
	StorageBytes int64             `json:"storageBytes,omitempty"` // ephemeral storage
	Region       string            `json:"region,omitempty"`       // of the node, as the control plane knows it
}

// GPU is a share of GPUs of one model.
type GPU struct {
	Model     string `json:"model"`
	Milli     int64  `json:"milli"`     // thousandths of a whole GPU's compute, over all GPUs
	MemoryMiB int64  `json:"memoryMiB"` // over all GPUs
}

// Burst is what a pod had beyond its size within a segment, summed over time. It is final once the segment
// is closed.
type Burst struct {
	Millis       int64 `json:"millis"`       // time with any burst, in ms
	CPUMillis    int64 `json:"cpuMillis"`    // milli-CPU × ms
	MemoryMillis int64 `json:"memoryMillis"` // MiB × ms
}

// Add returns b+c.
func (b Burst) Add(c Burst) Burst {
	return Burst{b.Millis + c.Millis, b.CPUMillis + c.CPUMillis, b.MemoryMillis + c.MemoryMillis}
}

// Open reports whether the interval still goes on.
func (s Segment) Open() bool { return s.End.IsZero() }
