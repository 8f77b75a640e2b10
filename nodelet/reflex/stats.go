package reflex

import (
	"slices"
	"time"

	"swell.dev/swell/cgroups/throttle"
)

// Stats is what the reflex has done so far.
type Stats struct {
	Rung      throttle.Rung // how throttling is detected; empty: nothing is
	Throttled int64         // events
	Reactions int64         // quotas raised at once
	Reacting  time.Duration // that they took, from the kernel's stop of a task on, summed up
	Time      time.Duration // that pods had more than their size, summed up
	Avoided   time.Duration // that they would have been stopped for without, see core.account
	Grown     int64         // memory limits raised
	latencies []time.Duration
}

// maxLatencies bounds what is kept of reactions.
const maxLatencies = 4096

func (s *Stats) react(after time.Duration) {
	if len(s.latencies) < maxLatencies {
		s.latencies = append(s.latencies, after)
	} else {
		s.latencies[s.Reactions%maxLatencies] = after
	}
	s.Reactions++
	s.Reacting += after
}

// Latencies are the last reactions', each from the kernel's stop of a task to the quota that was written.
func (s Stats) Latencies() []time.Duration { return s.latencies }

// Latency answers the reactions' percentile from the kernel's stop of a task to the quota that was written.
func (s Stats) Latency(share float64) time.Duration {
	if len(s.latencies) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.latencies))
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

// Stats answers what was done so far.
func (r *Reflex) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.latencies = slices.Clone(s.latencies)
	s.Avoided = r.core.avoided
	return s
}
