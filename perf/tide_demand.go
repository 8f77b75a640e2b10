package main

import (
	"math"
	"math/rand/v2"
	"time"
)

// The demand of a day, by its fraction. 1 is the most that is usual.
const (
	spikeAt    = 14.5 / 24
	spikeLong  = 0.5 / 24
	spikeTimes = 4.0
)

// usualDemand is quiet at night, rises from six to ten, sags at noon and falls from five to ten in the evening.
func usualDemand(day float64) float64 {
	hour := 24 * (day - math.Floor(day))
	rise := func(at, width float64) float64 { return 1 / (1 + math.Exp(-(hour-at)/width*4)) }
	noon := 0.15 * math.Exp(-(hour-12.5)*(hour-12.5)/0.8)
	return 0.12 + (0.88-noon)*(rise(8, 2)-rise(19.5, 2.5))
}

// tide is when pods are created and how long each lives, from the beginning of a day.
type tide struct {
	at   []time.Duration
	life []time.Duration
}

// newTide draws the arrivals of one day: Poisson, at a rate that wanders by a tenth about the usual one, with a
// spike if there is to be one.
func newTide(seed uint64, day, life time.Duration, peak float64, spike bool) tide {
	random := rand.New(rand.NewPCG(seed, 1))
	var t tide
	wander := 0.0
	const parts = 1440
	for i := range parts {
		wander = 0.97*wander + 0.024*random.NormFloat64() // of about a tenth
		x := (float64(i) + 0.5) / parts
		rate := peak * usualDemand(x) * math.Exp(wander)
		if spike && x >= spikeAt && x < spikeAt+spikeLong {
			rate *= spikeTimes
		}
		// Arrivals of a Poisson process have exponential distances.
		from, to := float64(i)/parts*day.Seconds(), float64(i+1)/parts*day.Seconds()
		for at := from + random.ExpFloat64()/rate; at < to; at += random.ExpFloat64() / rate {
			t.at = append(t.at, time.Duration(at*1e9))
			t.life = append(t.life, time.Duration((0.5+random.Float64())*float64(life)))
		}
	}
	return t
}

// lived is the time that pods live within the day, together.
func (t tide) lived(day time.Duration) (sum time.Duration) {
	for i, at := range t.at {
		sum += min(t.life[i], day-at)
	}
	return sum
}
