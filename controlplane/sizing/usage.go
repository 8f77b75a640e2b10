package sizing

import (
	"fmt"
	"time"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/internal/histogram"
)

// usage is what a container of a workload has used.
type usage struct {
	cpu, memory *histogram.Decaying
	since       time.Time // the history's beginning
	until       time.Time // and end
	observed    time.Duration
	throttled   time.Duration
	samples     int64
	oomKills    int64
	lately      float64 // share of the time that it was throttled, in the last reports
}

// Weights below which a bucket is forgotten: eight half-lives after a single peak of memory, or after a second of
// CPU at the least weight that a node gives (10).
const leastMemory, leastCPU = 1.0 / 256, 10.0 / 256

func newUsage(day time.Duration) *usage {
	return &usage{
		cpu:    histogram.NewDecaying(histogram.CPU, day, leastCPU),
		memory: histogram.NewDecaying(histogram.Memory, day, leastMemory),
	}
}

// Clocks of nodes and ours may differ by so much; what is further ahead or back isn't believed.
const (
	clocksDiffer = 5 * time.Minute
	longestPeak  = 40 * 24 * time.Hour
)

// add counts what a node has told. One that makes no sense is an error, and counts for nothing.
func (u *usage) add(c *nodev1.ContainerHistory, now time.Time) error {
	counts, err := histogram.ParseCounts(c.Cpu, histogram.CPU.Len())
	if err != nil {
		return fmt.Errorf("cpu: %w", err)
	}
	if c.ObservedMillis < 0 || c.ThrottledMillis < 0 {
		return fmt.Errorf("%d ms observed, %d ms throttled: time isn't negative", c.ObservedMillis, c.ThrottledMillis)
	}
	for _, p := range c.Peaks {
		if p.Is == 0 || p.Is > uint32(histogram.Memory.Len()) || p.Was > uint32(histogram.Memory.Len()) {
			return fmt.Errorf("peak in bucket %d, was in %d: there are %d", p.Is, p.Was, histogram.Memory.Len())
		}
		if off := time.Unix(p.WindowEndUnix, 0).Sub(now); off > longestPeak || off < -longestPeak {
			return fmt.Errorf("peak of a window that ends at %s: too far away", time.Unix(p.WindowEndUnix, 0).UTC())
		}
	}
	at := time.UnixMilli(c.UntilUnixMilli)
	if at.After(now.Add(clocksDiffer)) {
		at = now
	}
	observed := time.Duration(c.ObservedMillis) * time.Millisecond
	if u.since.IsZero() || at.Add(-observed).Before(u.since) {
		u.since = at.Add(-observed)
	}
	if at.After(u.until) {
		u.until = at
	}
	u.cpu.AddCounts(&counts, at)
	for _, p := range c.Peaks {
		// A peak counts with its window's end, so that it can be taken back when it rises.
		end := time.Unix(p.WindowEndUnix, 0)
		if p.Was > 0 {
			u.memory.Add(int(p.Was-1), -1, end)
		}
		u.memory.Add(int(p.Is-1), 1, end)
	}
	u.observed += observed
	u.throttled += time.Duration(c.ThrottledMillis) * time.Millisecond
	u.samples += int64(c.Readings)
	u.oomKills += int64(c.OomKills)
	if observed > 0 {
		const fresh = 0.2 // of about the last five reports
		u.lately += fresh * (min(1, float64(c.ThrottledMillis)/float64(c.ObservedMillis)) - u.lately)
	}
	return nil
}

// bytes is the memory that a container's history takes.
func (u *usage) bytes() int { return u.cpu.Bytes() + u.memory.Bytes() + 200 }
