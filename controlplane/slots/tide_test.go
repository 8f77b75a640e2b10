package slots

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// TestTide lives through days as they are, in seconds: quiet at night, a ramp in the morning, noise, and on the
// last day a surprise spike of four times the rate for half an hour. It holds what `perf tide` shows on the
// real system in compressed time.
func TestTide(t *testing.T) {
	for _, c := range []struct {
		name      string
		peak      float64 // pods a second
		life      time.Duration
		lead      time.Duration
		hit, idle float64 // at least, outside the spike; at most, of used capacity
	}{
		{"some pods of minutes", 2, 5 * time.Minute, 500 * time.Millisecond, 0.97, 0.05},
		{"few pods", 0.2, 20 * time.Minute, 500 * time.Millisecond, 0.95, 0.05},
		{"slow hosts", 2, 5 * time.Minute, 8 * time.Second, 0.97, 0.15},
	} {
		t.Run(c.name, func(t *testing.T) {
			const days = 3
			random := rand.New(rand.NewPCG(5, 6))
			y := newTrial(t)
			y.now = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
			y.lead = c.lead
			y.free.CPUMilli = 1e9
			pod := podOf("shop", "cart")
			wander, used := 0.0, 0.0
			var spikeHits, spikeMisses int
			for second := range days * 24 * 3600 {
				hour := math.Mod(float64(second)/3600, 24)
				measured := second >= (days-1)*24*3600
				if second == (days-1)*24*3600 {
					y.hits, y.misses, y.idle = 0, 0, 0
				}
				if second%60 == 0 {
					wander = 0.97*wander + 0.024*random.NormFloat64()
				}
				rise := func(at, width float64) float64 { return 1 / (1 + math.Exp(-(hour-at)/width*4)) }
				rate := c.peak * (0.12 + 0.88*(rise(8, 2)-rise(19.5, 2.5))) * math.Exp(wander)
				spike := measured && hour >= 14.5 && hour < 15
				if spike {
					rate *= 4
				}
				n := 0
				for p := random.Float64(); p > math.Exp(-min(rate, 500)); p *= random.Float64() {
					n++
				}
				hits, misses := y.hits, y.misses
				y.create(pod, n)
				if spike {
					spikeHits += y.hits - hits
					spikeMisses += y.misses - misses
				}
				if measured {
					used += float64(n) * c.life.Seconds()
				}
				y.pass()
			}
			hit := float64(y.hits-spikeHits) / float64(y.hits+y.misses-spikeHits-spikeMisses)
			inside := float64(spikeHits) / float64(spikeHits+spikeMisses)
			t.Logf("%.2f %% hit outside the spike, %.2f %% inside, idle slots %.2f %% of used capacity, forecasts off by %.0f %%",
				100*hit, 100*inside, 100*y.idle/used, 100*y.stats().ForecastError)
			if hit < c.hit || y.idle/used > c.idle {
				t.Errorf("%.4f hit, idle %.4f; want at least %.2f and at most %.2f", hit, y.idle/used, c.hit, c.idle)
			}
		})
	}
}
