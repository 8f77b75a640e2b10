// Package forecast expects arrivals: how many will come within a short time ahead, and how sure that is.
//
// Three experts look at the counts of equal steps. One follows level and trend (Holt's linear method, damped);
// the other two add what a profile says of the time ahead against the present: the profile of a day, and that of
// a day with each hour of a week in proportion to it. Each expert's error decides how much its word counts, so a
// workload without rhythm isn't led astray by a profile, and one that begins at nine every day is met at nine.
// What is left of error widens the distribution.
//
// An observation costs a few dozen additions and a forecaster some KiB, whatever it has seen. There is no
// clock in it: time comes with the counts.
package forecast

import (
	"math"
	"time"
)

// Config is what forecasts are made from.
type Config struct {
	Step time.Duration // what one observation covers
	Day  time.Duration // length of the short season; default 24 h. A week is seven of them.
}

// Forecaster knows one series of arrivals.
type Forecaster struct {
	cfg  Config
	rate level
	day  profile
	base [2]float64 // what the profiles said of the past, averaged just as the level is

	experts [3]expert
	// The forecast that is being lived through: it is scored when its time is over.
	until    time.Time
	promised [3]float64
	mixed    float64
	lived    float64
	lead     time.Duration

	dispersion float64 // variance of the error over the mean; a Poisson process has 1
	missed     float64 // mean absolute error …
	came       float64 // … and mean count, over the same steps
	scored     int
	now        time.Time
}

// expert is how far off one way of forecasting has been.
type expert struct{ missed float64 }

// New answers a forecaster that has seen nothing.
func New(cfg Config) *Forecaster {
	if cfg.Day <= 0 {
		cfg.Day = 24 * time.Hour
	}
	return &Forecaster{cfg: cfg, day: newProfile(cfg.Day), dispersion: 1}
}

// Expected is a distribution of the number of arrivals.
type Expected struct{ Mean, Variance float64 }

// Observe takes the arrivals of the step that ended at now.
func (f *Forecaster) Observe(now time.Time, count float64) {
	f.now = now
	f.lived += count
	if !f.until.IsZero() && !now.Before(f.until) {
		f.score()
	}
	f.rate.observe(count)
	f.day.observe(now, count, f.cfg.Step)
	for i, week := range []bool{false, true} {
		f.base[i] += f.rate.alpha * (f.day.at(now.Add(-f.cfg.Step/2), week)*f.cfg.Step.Seconds() - f.base[i])
	}
}

// Over answers what to expect within the lead from now on.
func (f *Forecaster) Over(lead time.Duration) Expected {
	steps := float64(lead) / float64(f.cfg.Step)
	if steps <= 0 {
		return Expected{}
	}
	each := f.each(lead)
	mean := f.mix(each)
	if f.until.IsZero() { // nothing is being lived through: this one is, from here on
		f.until, f.promised, f.mixed, f.lived, f.lead = f.now.Add(lead), each, mean, 0, lead
	}
	return Expected{Mean: mean, Variance: mean * f.dispersion}
}

// Error is the mean absolute error of past forecasts over the mean of what came (a MAPE that is weighted by
// volume), and how many forecasts that is about.
func (f *Forecaster) Error() (share float64, of int) {
	if f.came <= 0 {
		return 0, f.scored
	}
	return f.missed / f.came, f.scored
}

// Level is the present rate, in arrivals a step.
func (f *Forecaster) Level() float64 { return f.rate.level }

// each asks every expert for the sum over the lead.
func (f *Forecaster) each(lead time.Duration) (out [3]float64) {
	steps := float64(lead) / float64(f.cfg.Step)
	out[0] = steps * f.rate.ahead(steps/2)
	for i, week := range []bool{false, true} {
		scale := f.day.scale(week)
		sum := 0.0
		const points = 5 // Simpson's weights are 1 4 2 4 1
		for j := range points {
			weight := []float64{1, 4, 2, 4, 1}[j] / 12
			ahead := f.day.at(f.now.Add(time.Duration(float64(lead)*float64(j)/(points-1))), week)
			sum += weight * max(0, f.rate.plain+scale*(ahead*f.cfg.Step.Seconds()-f.base[i]))
		}
		out[i+1] = steps * sum
	}
	return out
}

// mix weighs the experts by the square of their past error. Who knows nothing yet isn't heard.
func (f *Forecaster) mix(each [3]float64) float64 {
	sum, weights := 0.0, 0.0
	for i, v := range each {
		if i == 1 && f.day.days < 1 || i == 2 && f.day.days < 7 {
			continue
		}
		w := f.experts[i].missed + 0.05*f.came + 0.01
		w = 1 / (w * w)
		sum += w * v
		weights += w
	}
	return sum / weights
}

// Forecasts are remembered over about as many leads, or over a day if that is longer.
const memory = 40

// score compares what was promised with what came, and lets the next forecast begin.
func (f *Forecaster) score() {
	f.until = time.Time{}
	off := math.Abs(f.lived - f.mixed)
	slow := 1 / max(memory, min(2000, float64(f.cfg.Day)/float64(max(f.lead, f.cfg.Step))))
	rate := max(slow, 1/float64(f.scored+1))
	f.scored++
	for i := range f.experts {
		f.experts[i].missed += rate * (math.Abs(f.lived-f.promised[i]) - f.experts[i].missed)
	}
	f.missed += rate * (off - f.missed)
	f.came += rate * (f.lived - f.came)

	// One surprise tells of itself, not of what is usual: it counts as four deviations at most.
	expected := max(f.mixed, 0.5)
	square := min(off*off, 16*f.dispersion*expected) / expected
	f.dispersion = max(1, f.dispersion+max(1.0/memory, 1/float64(f.scored+1))*(square-f.dispersion))
}
