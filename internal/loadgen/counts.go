package loadgen

import (
	"math"
	"math/bits"
	"time"
)

// Latencies are counted in buckets of 1/16 of a power of two of microseconds: a percentile is at most
// 6.25 % above the true value, and a load of any length takes the same few kilobytes.
const (
	subBits = 4
	sub     = 1 << subBits
	buckets = (64 - subBits + 1) * sub
)

// counts is what happened in some time.
type counts struct {
	requests, failures int64
	latency            [buckets]int64 // of requests that succeeded
	slowest            time.Duration
}

func (c *counts) add(latency time.Duration, err error) {
	c.requests++
	if err != nil {
		c.failures++
		return
	}
	c.latency[bucket(latency)]++
	c.slowest = max(c.slowest, latency)
}

// bucket answers where a latency is counted: below 16 µs by its value, above by its top five bits.
func bucket(latency time.Duration) int {
	us := uint64(max(latency.Microseconds(), 0))
	if us < sub {
		return int(us)
	}
	shift := bits.Len64(us) - subBits - 1
	return (shift+1)*sub + int(us>>shift) - sub
}

// upper answers the largest latency that is counted in the bucket.
func upper(bucket int) time.Duration {
	if bucket < sub {
		return time.Duration(bucket) * time.Microsecond
	}
	shift := bucket/sub - 1
	us := (uint64(bucket%sub+sub+1) << shift) - 1
	return time.Duration(us) * time.Microsecond
}

// percentile answers the latency that p of 100 successful requests stayed at or below.
func (c *counts) percentile(p float64) time.Duration {
	succeeded := c.requests - c.failures
	if succeeded == 0 {
		return 0
	}
	rank := max(int64(math.Ceil(p/100*float64(succeeded))), 1)
	var seen int64
	for i, n := range c.latency {
		if seen += n; seen >= rank {
			return min(upper(i), c.slowest)
		}
	}
	return c.slowest
}

// Stats is what happened in some time.
type Stats struct {
	Requests int64 // answered or failed
	Failures int64 // answers other than 200, and none at all
	Elapsed  time.Duration
	P50      time.Duration // of requests that succeeded
	P90      time.Duration
	P99      time.Duration
	Max      time.Duration
}

// Rate is successful requests per second.
func (s Stats) Rate() float64 {
	if s.Elapsed <= 0 {
		return 0
	}
	return float64(s.Requests-s.Failures) / s.Elapsed.Seconds()
}

func (c *counts) stats(elapsed time.Duration) Stats {
	return Stats{Requests: c.requests, Failures: c.failures, Elapsed: elapsed,
		P50: c.percentile(50), P90: c.percentile(90), P99: c.percentile(99), Max: c.slowest}
}

// Snapshot is what a load has done so far.
type Snapshot struct {
	Stats            // since the start
	Interval   Stats // since the last snapshot
	Opened     int64 // connections opened since the start: more than configured means that some broke
	FirstError error // the first failure; nil if there was none
}

// Snapshot answers what was done so far, and begins a new interval.
func (l *Load) Snapshot() Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.end
	if now.IsZero() {
		now = time.Now()
	}
	s := Snapshot{Stats: l.total.stats(now.Sub(l.start)), Interval: l.interval.stats(now.Sub(l.since)), Opened: l.opened, FirstError: l.first}
	l.interval, l.since = counts{}, now
	return s
}
