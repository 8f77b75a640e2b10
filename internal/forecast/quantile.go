package forecast

import "math"

// Quantile answers the least number k for which no more than k come with at least that probability. The counts
// are taken to be Poisson, or negative binomial where they vary more.
func (e Expected) Quantile(q float64) int {
	switch {
	case e.Mean <= 0 || q <= 0:
		return 0
	case q >= 1:
		q = 0.9999
	}
	v := max(e.Variance, e.Mean)
	if e.Mean > 50 {
		return int(math.Ceil(max(0, e.Mean+normal(q)*math.Sqrt(v)-0.5)))
	}
	// Probabilities from 0 upwards, each from the one before.
	ratio, p := 0.0, math.Exp(-e.Mean)
	size := 0.0
	if v > e.Mean*1.001 {
		size = e.Mean * e.Mean / (v - e.Mean)
		ratio = 1 - e.Mean/v
		p = math.Exp(size * math.Log(e.Mean/v))
	}
	most := int(e.Mean + 20*math.Sqrt(v) + 20)
	for k, sum := 0, p; ; k++ {
		if sum >= q || k >= most {
			return k
		}
		if size > 0 {
			p *= ratio * (size + float64(k)) / float64(k+1)
		} else {
			p *= e.Mean / float64(k+1)
		}
		sum += p
	}
}

// normal is the quantile of the standard normal distribution.
func normal(q float64) float64 { return math.Sqrt2 * math.Erfinv(2*q-1) }
