package sizing

// counts is what was done since the start.
type counts struct {
	cpuUp, cpuDown, memoryUp, memoryDown int64 // containers
	refused, initial                     int64 // pods
}

func (c *Controller) count(f func(*counts)) {
	c.statsMu.Lock()
	defer c.statsMu.Unlock()
	f(&c.stats)
}

// Stats is what there is, and what was done since the control plane started.
type Stats struct {
	Workloads, Containers                int
	Bytes                                int // of histograms
	Samples, Refused, LeftOut            int64
	CPUUp, CPUDown, MemoryUp, MemoryDown int64 // resizes of containers
	RefusedResizes, Initial              int64 // pods
}

// Stats answers that.
func (c *Controller) Stats() Stats {
	c.statsMu.Lock()
	n := c.stats
	c.statsMu.Unlock()
	out := Stats{CPUUp: n.cpuUp, CPUDown: n.cpuDown, MemoryUp: n.memoryUp, MemoryDown: n.memoryDown, RefusedResizes: n.refused, Initial: n.initial}
	c.mu.Lock()
	defer c.mu.Unlock()
	out.Workloads, out.Samples, out.Refused, out.LeftOut = len(c.core.workloads), c.core.samples, c.core.refused, c.core.leftOut
	for _, w := range c.core.workloads {
		out.Containers += len(w.containers)
		for _, u := range w.containers {
			out.Bytes += u.bytes()
		}
	}
	return out
}
