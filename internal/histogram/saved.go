package histogram

import (
	"fmt"
	"math"
	"time"
)

// Saved is a decaying histogram to be stored: each weight in millionths of the largest one, which is as exact as
// anybody needs it and short in any encoding.
type Saved struct {
	Reference time.Time
	Largest   float64  // weight at the reference
	Low       int      // bucket of the first weight
	Weights   []uint32 // in millionths of the largest
}

const savedUnit = 1e6

// Save answers the histogram as it is at a time. What has decayed to nothing is left out.
func (d *Decaying) Save(now time.Time) Saved {
	floor := d.floor(now)
	largest, low, high := 0.0, -1, 0
	for i, w := range d.weights {
		if !(w >= floor && w > 0) {
			continue
		}
		if largest = max(largest, w); low < 0 {
			low = i
		}
		high = i + 1
	}
	if low < 0 {
		return Saved{}
	}
	// As of now, so that the numbers don't grow with the age of the reference.
	out := Saved{Reference: now, Largest: largest / d.factorAt(now), Low: d.low + low, Weights: make([]uint32, high-low)}
	for i, w := range d.weights[low:high] {
		if w >= floor && w > 0 {
			out.Weights[i] = max(1, uint32(math.Round(w/largest*savedUnit)))
		}
	}
	return out
}

// Restore adds what was saved.
func (d *Decaying) Restore(s Saved) error {
	if len(s.Weights) == 0 {
		return nil
	}
	if s.Low < 0 || s.Low+len(s.Weights) > d.of.Len() {
		return fmt.Errorf("histogram: saved buckets %d to %d: there are %d", s.Low, s.Low+len(s.Weights)-1, d.of.Len())
	}
	if !(s.Largest > 0) || math.IsInf(s.Largest, 0) || s.Reference.IsZero() {
		return fmt.Errorf("histogram: saved weight %g as of %s: want more than none, and a time", s.Largest, s.Reference)
	}
	factor := d.factor(s.Reference)
	for i, w := range s.Weights {
		if w > 0 {
			*d.cell(s.Low + i) += float64(w) / savedUnit * s.Largest * factor
		}
	}
	return nil
}
