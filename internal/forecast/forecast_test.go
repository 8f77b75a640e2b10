package forecast

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// trial runs a series of rates (arrivals a second, by time) through a forecaster and through the naive one,
// which expects what came in the last lead to come again.
type trial struct {
	step, lead, day time.Duration
	days            float64
	rate            func(day float64) float64 // by time, in days
	scoreFrom       float64                   // day from which on errors count
	exact           bool                      // no noise
}

type outcome struct {
	ours, naive float64 // mean absolute error over mean
	short       float64 // share of leads in which more came than the 95 % quantile
	over        float64 // the quantile's excess over what came, as a share
	at          func(day float64) float64
	f           *Forecaster
}

func (c trial) run() outcome {
	random := rand.New(rand.NewPCG(3, 4))
	f := New(Config{Step: c.step, Day: c.day})
	start := time.Unix(0, 0).Add(1000 * 7 * c.day)
	per := int(c.lead / c.step)
	counts := make([]float64, 0, int(c.days*float64(c.day)/float64(c.step))+per)
	for i := range cap(counts) {
		mean := c.rate((float64(i)+0.5)*float64(c.step)/float64(c.day)) * c.step.Seconds()
		if c.exact {
			counts = append(counts, mean)
		} else {
			counts = append(counts, poisson(random, mean))
		}
	}
	sum := func(from, to int) (s float64) {
		for _, n := range counts[max(0, from):to] {
			s += n
		}
		return s
	}
	var off, offNaive, came, short, leads, over float64
	means := map[int]float64{}
	for i := range len(counts) - per {
		f.Observe(start.Add(time.Duration(i+1)*c.step), counts[i])
		e := f.Over(c.lead)
		day := float64(i) * float64(c.step) / float64(c.day)
		means[i] = e.Mean
		if day < c.scoreFrom {
			continue
		}
		actual := sum(i+1, i+1+per)
		off += math.Abs(actual - e.Mean)
		offNaive += math.Abs(actual - sum(i+1-per, i+1))
		came += actual
		q := float64(e.Quantile(0.95))
		if actual > q {
			short++
		}
		over += q - actual
		leads++
	}
	return outcome{
		ours: off / came, naive: offNaive / came, short: short / leads, over: over / came, f: f,
		at: func(day float64) float64 { return means[int(day*float64(c.day)/float64(c.step))] },
	}
}

func poisson(random *rand.Rand, mean float64) float64 {
	if mean > 60 {
		return max(0, math.Round(mean+math.Sqrt(mean)*random.NormFloat64()))
	}
	n, p := 0.0, random.Float64()
	for limit := math.Exp(-mean); p > limit; p *= random.Float64() {
		n++
	}
	return n
}

func between(day, from, to float64) bool { x := day - math.Floor(day); return x >= from && x < to }

// realistic is the day as it is, in steps of ten seconds to keep the test short.
func realistic(days, from float64, rate func(float64) float64) trial {
	return trial{step: 10 * time.Second, lead: 30 * time.Second, day: 24 * time.Hour, days: days, scoreFrom: from, rate: rate}
}

func TestSeries(t *testing.T) {
	constant := func(float64) float64 { return 5 }
	sinus := func(day float64) float64 { return 5 + 4*math.Sin(2*math.Pi*day) }
	office := func(day float64) float64 {
		if between(day, 9.0/24, 17.0/24) {
			return 8
		}
		return 0
	}
	week := func(day float64) float64 {
		if int(day)%7 >= 5 {
			return 0.2 + 0.1*sinus(day)
		}
		return sinus(day)
	}
	for _, c := range []struct {
		name        string
		trial       trial
		most        float64 // error over that of the naive
		short, over float64
	}{
		{"constant", realistic(1.2, 0.2, constant), 0.83, 0.07, 0.2},
		{"constant without noise", trial{step: time.Second, lead: 2 * time.Second, day: 24 * time.Hour, days: 0.02, scoreFrom: 0.005, rate: constant, exact: true}, math.Inf(1), 0, 0.8},
		{"rare", realistic(3, 1, func(float64) float64 { return 0.01 }), math.Inf(1), 0.05, 7},
		{"ramp", trial{step: time.Second, lead: 3 * time.Second, day: 24 * time.Hour, days: 0.05, scoreFrom: 0.005,
			rate: func(day float64) float64 { return 2000 * day }}, 0.85, 0.09, 0.3},
		{"daily sinus", realistic(4, 2, sinus), 0.85, 0.07, 0.2},
		{"on and off", realistic(5, 3, office), 0.87, 0.07, 0.2},
		{"weekdays and weekend", realistic(22, 14, week), 0.85, 0.07, 0.25},
		{"a day in four minutes", trial{step: 250 * time.Millisecond, lead: time.Second, day: 4 * time.Minute, days: 3, scoreFrom: 2,
			rate: func(day float64) float64 { return 20 + 15*math.Sin(2*math.Pi*day) }}, 0.9, 0.1, 0.6},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := c.trial.run()
			said, _ := o.f.Error()
			t.Logf("error %.3f (says %.3f), naive %.3f, short %.3f, over %.3f, dispersion %.2f", o.ours, said, o.naive, o.short, o.over, o.f.dispersion)
			if o.ours > c.most*o.naive {
				t.Errorf("the error is %.3f, the naive one's %.3f", o.ours, o.naive)
			}
			if o.short > c.short || o.over > c.over {
				t.Errorf("more came than the 95 %% quantile in %.3f of all leads, which was over by %.3f", o.short, o.over)
			}
		})
	}
}

// TestSpikeIsNotExpectedAgain: the third day has a spike of ten times the rate for twenty minutes.
func TestSpikeIsNotExpectedAgain(t *testing.T) {
	const at, long = 14.0 / 24, 20.0 / 60 / 24
	o := realistic(4, 3, func(day float64) float64 {
		if day >= 2+at && day < 2+at+long {
			return 50
		}
		return 5
	}).run()
	if got := o.at(2 + at + long*0.5); math.Abs(got-1500) > 200 {
		t.Errorf("ten minutes into the spike %.0f are expected in a lead, 1500 come", got)
	}
	if got := o.at(2 + at + long + 10.0/60/24); math.Abs(got-150) > 40 {
		t.Errorf("ten minutes after the spike %.0f are expected, 150 come", got)
	}
	most := 0.0
	for minute := range 60 {
		most = max(most, o.at(3+at+(float64(minute)-20)/60/24))
	}
	if most > 1.25*150 {
		t.Errorf("the next day %.0f are expected around that time, 150 come", most)
	}
}

// TestShiftIsLearned: the rate goes from 2 to 10 a second and back for good.
func TestShiftIsLearned(t *testing.T) {
	for _, step := range []time.Duration{time.Second, 10 * time.Second} {
		o := trial{step: step, lead: 3 * step, day: 24 * time.Hour, days: 0.5, rate: func(day float64) float64 {
			if day >= 0.2 && day < 0.4 {
				return 10
			}
			return 2
		}}.run()
		each := 3 * step.Seconds()
		const minutes = 1.0 / 24 / 60
		if got := o.at(0.2 + 3*minutes); math.Abs(got-10*each) > 0.3*10*each {
			t.Errorf("step %s: three minutes after the rate rose to 10 a second, %.1f are expected", step, got/each)
		}
		if got := o.at(0.4 + 5*minutes); math.Abs(got-2*each) > 0.5*2*each {
			t.Errorf("step %s: five minutes after the rate fell to 2 a second, %.1f are expected", step, got/each)
		}
	}
}

// TestNothingComesAnyMore: what is expected of a workload that ended decays to nothing.
func TestNothingComesAnyMore(t *testing.T) {
	o := trial{step: time.Second, lead: 3 * time.Second, day: 24 * time.Hour, days: 0.1, rate: func(day float64) float64 {
		if day < 0.02 {
			return 5
		}
		return 0
	}}.run()
	if got := o.at(0.09); got > 0.01 {
		t.Errorf("%.3f are expected", got)
	}
}

// TestBeginningIsMet: work that begins at nine every day is expected at nine, before the first has come.
func TestBeginningIsMet(t *testing.T) {
	o := realistic(4, 3, func(day float64) float64 {
		if between(day, 9.0/24, 17.0/24) {
			return 8
		}
		return 0
	}).run()
	if got := o.at(3 + 9.0/24 - 1e-6); got < 0.1*8*30 {
		t.Errorf("at nine %.0f are expected, 240 come", got)
	}
	if got := o.at(3 + 8.0/24); got > 1 {
		t.Errorf("at eight %.1f are expected", got)
	}
	if got := o.at(3 + 17.25/24); got > 8*30/20 {
		t.Errorf("at a quarter past five %.1f are expected", got)
	}
}

func TestQuantile(t *testing.T) {
	for _, c := range []struct {
		mean, variance, q float64
		want              int
	}{
		{0, 0, 0.95, 0}, {0.05, 0.05, 0.95, 0}, {0.06, 0.06, 0.95, 1}, // Poisson tables
		{1, 1, 0.95, 3}, {10, 10, 0.95, 15}, {10, 10, 0.5, 10}, {4, 1, 0.9, 7},
		{10, 30, 0.95, 20}, // negative binomial: size 5, probability 1/3
		{100, 100, 0.95, 116}, {100, 400, 0.95, 133}, {1e6, 1e6, 0.5, 1_000_000}, {2, 2, 1, 9}, {2, 2, 0, 0},
	} {
		if got := (Expected{c.mean, c.variance}).Quantile(c.q); got != c.want {
			t.Errorf("mean %v, variance %v: quantile %v is %d, want %d", c.mean, c.variance, c.q, got, c.want)
		}
	}
	for _, mean := range []float64{0.3, 7, 49, 51, 300} { // it grows with everything
		for _, spread := range []float64{1, 1.5, 4} {
			last := 0
			for q := 0.05; q < 1; q += 0.05 {
				k := Expected{mean, mean * spread}.Quantile(q)
				if k < last {
					t.Errorf("mean %v, spread %v: the quantile falls at %v", mean, spread, q)
				}
				last = k
			}
		}
	}
}

func TestSeasonsFallWhereTheyShould(t *testing.T) {
	p := newProfile(24 * time.Hour)
	for _, c := range []struct {
		at    string
		slice float64
		hour  int
	}{
		{"1970-01-01T00:00:00Z", 0, 0}, {"1970-01-01T12:00:00Z", 72, 12}, {"1970-01-07T23:59:59Z", 143.998, 167},
		{"2026-11-19T09:10:00Z", 55, 9}, {"1969-12-31T23:00:00Z", 138, 167},
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		if slice, hour := p.place(at); math.Abs(slice-c.slice) > 0.01 || hour != c.hour {
			t.Errorf("%s: slice %.3f, hour %d; want %.3f, %d", c.at, slice, hour, c.slice, c.hour)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	f := New(Config{Step: time.Second})
	at := time.Unix(1e9, 0)
	b.ReportAllocs()
	for i := range b.N {
		f.Observe(at.Add(time.Duration(i)*time.Second), float64(i%3))
		f.Over(2 * time.Second)
	}
}
