package histogram

import (
	"fmt"
	"math"
	"slices"
)

// Counts are whole weights by bucket. The zero Counts is empty. A bucket takes five bytes.
type Counts struct {
	buckets []uint8 // that have a weight, in order
	weights []uint32
}

// Add gives a bucket more weight. One that can't hold more stays at the most it can.
func (c *Counts) Add(bucket int, weight uint32) {
	if weight == 0 {
		return
	}
	i, found := slices.BinarySearch(c.buckets, uint8(bucket))
	if !found {
		c.buckets = slices.Insert(c.buckets, i, uint8(bucket))
		c.weights = slices.Insert(c.weights, i, weight)
		return
	}
	c.weights[i] += min(weight, math.MaxUint32-c.weights[i])
}

// Merge adds other counts.
func (c *Counts) Merge(other Counts) {
	for i, b := range other.buckets {
		c.Add(int(b), other.weights[i])
	}
}

// Each calls f for each bucket that has a weight, in order.
func (c *Counts) Each(f func(bucket int, weight uint32)) {
	for i, b := range c.buckets {
		f(int(b), c.weights[i])
	}
}

// Empty reports counts without weight.
func (c *Counts) Empty() bool { return len(c.buckets) == 0 }

// Reset empties the counts and keeps their memory.
func (c *Counts) Reset() { c.buckets, c.weights = c.buckets[:0], c.weights[:0] }

// Bytes is the memory that the counts take, besides the value itself.
func (c *Counts) Bytes() int { return cap(c.buckets) + 4*cap(c.weights) }

// Wire answers the counts for a message: for each bucket its distance from the one before (the first: its
// number) and its weight. Small numbers are short in protobuf.
func (c *Counts) Wire() []uint32 {
	if c.Empty() {
		return nil
	}
	out := make([]uint32, 0, 2*len(c.buckets))
	before := uint8(0)
	for i, b := range c.buckets {
		out = append(out, uint32(b-before), c.weights[i])
		before = b
	}
	return out
}

// ParseCounts reads what Wire made, for a number of buckets.
func ParseCounts(wire []uint32, buckets int) (Counts, error) {
	var c Counts
	if len(wire)%2 != 0 {
		return c, fmt.Errorf("histogram: %d numbers: want pairs of distance and weight", len(wire))
	}
	if len(wire)/2 > buckets {
		return c, fmt.Errorf("histogram: %d pairs: there are %d buckets", len(wire)/2, buckets)
	}
	at := uint64(0)
	for i := 0; i < len(wire); i += 2 {
		if i > 0 && wire[i] == 0 {
			return Counts{}, fmt.Errorf("histogram: bucket %d comes twice", at)
		}
		if at += uint64(wire[i]); at >= uint64(buckets) {
			return Counts{}, fmt.Errorf("histogram: bucket %d: there are %d", at, buckets)
		}
		c.Add(int(at), wire[i+1])
	}
	return c, nil
}
