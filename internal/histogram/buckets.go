// Package histogram holds how much of a resource was used, for how much of the time, in a few hundred bytes.
//
// Buckets grow exponentially, as in the recommender of the Vertical Pod Autoscaler and in Autopilot (Rzadca et
// al., EuroSys 2020): bucket n begins at first × (ratioⁿ − 1) / (ratio − 1), so each is wider than the one
// before by the ratio, and what is read out of the histogram is off by that at most.
//
// Counts are whole weights. They are gathered on a node and sent as they are; merging is addition of integers,
// so that counts of parts put together are the counts of the whole, to the bit. Decaying is what counts are
// poured into: a weight halves with each half-life.
package histogram

import (
	"fmt"
	"math"
)

// Buckets is a division of the numbers from 0 on. It isn't changed once it is made.
type Buckets struct {
	first, ratio float64
	starts       []float64
}

// The divisions that nodes and the control plane share: what travels between them are numbers of buckets. First
// buckets, ratio and upper ends are the Vertical Pod Autoscaler's. There are 176 of each.
var (
	CPU    = Exponential(0.01, 1000, 1.05) // cores
	Memory = Exponential(1e7, 1e12, 1.05)  // bytes
)

// Exponential answers buckets of which the first is first wide, each is ratio times as wide as the one before,
// and the last begins at most or above. It panics where that isn't between 2 and 256 buckets.
func Exponential(first, most, ratio float64) *Buckets {
	if !(first > 0 && most > first && ratio > 1) {
		panic(fmt.Sprintf("histogram: buckets from %g to %g by %g", first, most, ratio))
	}
	n := int(math.Ceil(math.Log(most*(ratio-1)/first+1)/math.Log(ratio))) + 1
	if n < 2 || n > 256 {
		panic(fmt.Sprintf("histogram: %d buckets: want 2 to 256", n))
	}
	b := &Buckets{first: first, ratio: ratio, starts: make([]float64, n)}
	for i := range b.starts {
		b.starts[i] = first * (math.Pow(ratio, float64(i)) - 1) / (ratio - 1)
	}
	return b
}

// Len is the number of buckets.
func (b *Buckets) Len() int { return len(b.starts) }

// Of answers the bucket that a value is in. What is beyond the ends is in the first or in the last.
func (b *Buckets) Of(value float64) int {
	if !(value >= b.first) { // not a number, too
		return 0
	}
	last := len(b.starts) - 1
	if value >= b.starts[last] {
		return last
	}
	i := int(math.Log(value*(b.ratio-1)/b.first+1) / math.Log(b.ratio))
	i = min(max(i, 0), last)
	// The logarithm may be off by a rounding error; the starts are what holds.
	for i < last && value >= b.starts[i+1] {
		i++
	}
	for value < b.starts[i] {
		i--
	}
	return i
}

// Start is the least value in a bucket.
func (b *Buckets) Start(i int) float64 { return b.starts[i] }

// End is where the next bucket begins. The last one has no end; its start is answered.
func (b *Buckets) End(i int) float64 { return b.starts[min(i+1, len(b.starts)-1)] }
