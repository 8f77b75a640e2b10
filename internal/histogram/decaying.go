package histogram

import (
	"fmt"
	"math"
	"time"
)

// Decaying is a histogram in which what is older counts less: a weight halves with each half-life. Sums of
// floating-point numbers depend on their order in the last digits; otherwise merging two is the same as
// having added to one.
type Decaying struct {
	of       *Buckets
	halfLife time.Duration
	least    float64

	// Weights are kept as they were at the reference; a newer sample counts for more than 1. So nothing has to
	// be done as time passes.
	reference time.Time
	low       int       // bucket of the first weight
	weights   []float64 // from the lowest to the highest bucket that ever had one
}

// shiftAfter bounds by how many half-lives samples are ahead of the reference before that moves. Far below
// what a float64's exponent could take.
const shiftAfter = 100

// NewDecaying answers an empty histogram. A bucket whose weight has decayed below least is empty.
func NewDecaying(of *Buckets, halfLife time.Duration, least float64) *Decaying {
	return &Decaying{of: of, halfLife: halfLife, least: least}
}

// Add gives a bucket the weight of something that was seen at a time. A negative weight takes back what was
// added with the same time.
func (d *Decaying) Add(bucket int, weight float64, at time.Time) {
	*d.cell(bucket) += weight * d.factor(at)
}

// AddCounts adds counts that were taken around a time.
func (d *Decaying) AddCounts(c *Counts, at time.Time) {
	factor := d.factor(at)
	c.Each(func(bucket int, weight uint32) { *d.cell(bucket) += float64(weight) * factor })
}

// Merge adds another histogram of the same buckets and half-life.
func (d *Decaying) Merge(other *Decaying) {
	if len(other.weights) == 0 {
		return
	}
	factor := d.factor(other.reference)
	for i, w := range other.weights {
		if w != 0 {
			*d.cell(other.low + i) += w * factor
		}
	}
}

// factor is what a weight of that time counts at the reference.
func (d *Decaying) factor(at time.Time) float64 {
	if d.reference.IsZero() {
		d.reference = at
	}
	ahead := float64(at.Sub(d.reference)) / float64(d.halfLife)
	if ahead > shiftAfter {
		by := math.Floor(ahead)
		for i := range d.weights {
			d.weights[i] = math.Ldexp(d.weights[i], -int(by))
		}
		d.reference = d.reference.Add(time.Duration(by * float64(d.halfLife)))
		ahead = float64(at.Sub(d.reference)) / float64(d.halfLife)
	}
	return math.Exp2(ahead)
}

func (d *Decaying) cell(bucket int) *float64 {
	if bucket < 0 || bucket >= d.of.Len() {
		panic(fmt.Sprintf("histogram: bucket %d of %d", bucket, d.of.Len()))
	}
	switch high := d.low + len(d.weights); {
	case len(d.weights) == 0:
		d.low, d.weights = bucket, make([]float64, 1)
	case bucket < d.low:
		wider := make([]float64, high-bucket)
		copy(wider[d.low-bucket:], d.weights)
		d.low, d.weights = bucket, wider
	case bucket >= high:
		d.weights = append(d.weights, make([]float64, bucket-high+1)...)
	}
	return &d.weights[bucket-d.low]
}

// floor is the least weight at the reference that counts at a time.
func (d *Decaying) floor(now time.Time) float64 { return d.least * d.factorAt(now) }

// factorAt is factor without moving the reference.
func (d *Decaying) factorAt(at time.Time) float64 {
	return math.Exp2(float64(at.Sub(d.reference)) / float64(d.halfLife))
}

// Percentile answers the end of the bucket up to which the share p of all weight lies, as the Vertical Pod
// Autoscaler does: the value is above what was seen, by the width of a bucket at most. 1 is the highest. It
// reports false for a histogram that is empty by now.
func (d *Decaying) Percentile(p float64, now time.Time) (value float64, ok bool) {
	floor, total := d.floor(now), 0.0
	for _, w := range d.weights {
		if w >= floor && w > 0 {
			total += w
		}
	}
	if total == 0 {
		return 0, false
	}
	sum, last := 0.0, 0
	for i, w := range d.weights {
		if !(w >= floor && w > 0) {
			continue
		}
		last = d.low + i
		if sum += w; sum >= p*total && p < 1 {
			break
		}
	}
	return d.of.End(last), true
}

// Total is the weight of all samples at a time.
func (d *Decaying) Total(now time.Time) float64 {
	total := 0.0
	for _, w := range d.weights {
		total += w
	}
	return total / d.factorAt(now)
}

// Bytes is the memory that the weights take.
func (d *Decaying) Bytes() int { return 8 * cap(d.weights) }
