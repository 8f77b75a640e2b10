package nodes

import (
	"time"
	"unique"

	nodev1 "swell.dev/swell/api/node/v1"
)

// reading is what a nodelet has told of a pod's usage, in less room than the message.
type reading struct {
	at, window int64 // nanoseconds, of Unix time and of the window
	containers []containerReading
}

type containerReading struct {
	name        string
	nanocores   int64
	memoryBytes int64
}

// usageValid is how long a reading stands when its node no longer reports.
const usageValid = 2 * time.Minute

// read takes over a reading.
func (p *indexedPod) read(u *nodev1.PodUsage) {
	if p.usage == nil {
		p.usage = &reading{}
	}
	r := p.usage
	r.at, r.window = u.TimeUnixNano, u.WindowNanos
	if cap(r.containers) < len(u.Containers) {
		r.containers = make([]containerReading, 0, len(u.Containers))
	}
	r.containers = r.containers[:0]
	for _, c := range u.Containers {
		r.containers = append(r.containers, containerReading{unique.Make(c.Name).Value(), c.CpuNanocores, c.MemoryWorkingSetBytes})
	}
}

func (p *indexedPod) lastUsage() *nodev1.PodUsage {
	out := &nodev1.PodUsage{
		Uid: p.uid, Namespace: p.namespace, Name: p.name, TimeUnixNano: p.usage.at, WindowNanos: p.usage.window,
		Containers: make([]*nodev1.ContainerUsage, len(p.usage.containers)),
	}
	for i, c := range p.usage.containers {
		out.Containers[i] = &nodev1.ContainerUsage{Name: c.name, CpuNanocores: c.nanocores, MemoryWorkingSetBytes: c.memoryBytes}
	}
	return out
}

// Usage answers the last known usage of every pod on a connected node.
func (h *Hub) Usage() []*nodev1.PodUsage {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*nodev1.PodUsage
	for _, p := range h.pods.uids {
		if p.usage != nil && time.Since(time.Unix(0, p.usage.at)) < usageValid {
			out = append(out, p.lastUsage())
		}
	}
	return out
}
