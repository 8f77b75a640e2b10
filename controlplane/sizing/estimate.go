package sizing

import (
	"math"
	"time"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/histogram"
)

// amounts are milli-CPU and bytes.
type amounts struct{ cpu, memory int64 }

const mebibyte = 1 << 20

// aim says what a size holds.
type aim struct{ percentile, margin float64 }

// aims are those for CPU and memory.
type aims struct{ cpu, memory aim }

var defaultAims = aims{
	cpu:    aim{v1alpha1.DefaultCPUPercentile / 100.0, v1alpha1.DefaultMarginPercent / 100.0},
	memory: aim{v1alpha1.DefaultMemoryPercentile / 100.0, v1alpha1.DefaultMarginPercent / 100.0},
}

// estimate is a recommendation with what it rests on.
type estimate struct {
	target, lower, upper amounts
	cpu, memory          points
	history              time.Duration
	young                bool // less than a day was seen: memory may have its peak still to come
}

// points are a histogram's, in cores or bytes.
type points struct{ p50, p90, p95, max, aimed float64 }

// confidence is the history's length in days, or the time that was observed if that is less.
func (u *usage) confidence(day time.Duration) float64 {
	return min(float64(u.until.Sub(u.since)), float64(u.observed)) / float64(day)
}

// estimate answers false where there is nothing to go by: no CPU was seen, or no memory.
func (u *usage) estimate(a aims, day time.Duration, now time.Time) (estimate, bool) {
	c := u.confidence(day)
	if !(c > 0) {
		return estimate{}, false
	}
	e := estimate{history: u.until.Sub(u.since)}
	e.young = e.history < day
	cpu, ok := pointsOf(u.cpu, a.cpu, now)
	memory, too := pointsOf(u.memory, a.memory, now)
	if !ok || !too {
		return estimate{}, false
	}
	e.cpu, e.memory = cpu, memory
	of := func(value, margin, confidence float64) (out float64) { return value * (1 + margin) * confidence }
	narrow, wide := math.Pow(1+0.001/c, -2), 1+1/c
	e.target = amounts{milli(of(cpu.aimed, a.cpu.margin, 1)), mebibytes(of(memory.aimed, a.memory.margin, 1))}
	e.lower = amounts{milli(of(min(cpu.p50, cpu.aimed), a.cpu.margin, narrow)), mebibytes(of(min(memory.p50, memory.aimed), a.memory.margin, narrow))}
	e.upper = amounts{milli(of(max(cpu.p95, cpu.aimed), a.cpu.margin, wide)), mebibytes(of(max(memory.p95, memory.aimed), a.memory.margin, wide))}
	return e, true
}

func pointsOf(d *histogram.Decaying, a aim, now time.Time) (points, bool) {
	var p points
	for share, into := range map[float64]*float64{0.5: &p.p50, 0.9: &p.p90, 0.95: &p.p95, 1: &p.max} {
		v, ok := d.Percentile(share, now)
		if !ok {
			return p, false
		}
		*into = v
	}
	p.aimed, _ = d.Percentile(a.percentile, now)
	return p, true
}

// largest bounds sizes, so that no arithmetic on them overflows: 10⁶ cores and an exbibyte.
const largestCPU, largestMemory = 1e9, 1 << 60

// milli rounds cores up to a thousandth, mebibytes bytes up to a MiB.
func milli(cores float64) int64 { return int64(math.Ceil(min(max(cores*1000, 1), largestCPU))) }

func mebibytes(bytes float64) int64 {
	return int64(math.Ceil(min(max(bytes, 1), largestMemory)/mebibyte)) * mebibyte
}
