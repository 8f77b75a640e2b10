package forecast

import (
	"math"
	"time"
)

const (
	slices = 144 // of a day: ten minutes each
	hours  = 24
)

// profile is how the rate runs over a day, and how each hour of the week stands to that. Rates are per second.
type profile struct {
	day      time.Duration
	of       [slices]float32    // mean rate
	sum      float64            // of these
	deviates float64            // mean absolute deviation of a slice's rate from its mean
	week     [7 * hours]float32 // ratio to the day's rate; 0 until it is known
	days     float64            // that were seen, in parts

	step   float64 // seconds
	slice  int     // which is being lived through; -1: none yet
	came   float64
	lasted time.Duration
	hour   int
	inHour [2]float64 // what came, and what the day's profile says of it

	recent [3]float64 // lately came, against what the day's and the week's profile say of it
}

func newProfile(day time.Duration) profile { return profile{day: day, slice: -1} }

// place answers where in the day (in slices) and in which hour of the week t is.
func (p *profile) place(t time.Time) (slice float64, hour int) {
	since := t.UnixNano() % int64(7*p.day)
	if since < 0 {
		since += int64(7 * p.day)
	}
	inDay := float64(since%int64(p.day)) / float64(p.day)
	return inDay * slices, int(float64(since)/float64(p.day)*hours) % (7 * hours)
}

func (p *profile) observe(now time.Time, count float64, step time.Duration) {
	middle := now.Add(-step / 2)
	at, hour := p.place(middle)
	if slice := int(at) % slices; slice != p.slice {
		p.closeSlice()
		p.slice, p.came, p.lasted = slice, 0, 0
	}
	if hour != p.hour {
		p.closeHour()
		p.hour, p.inHour = hour, [2]float64{}
	}
	p.step = step.Seconds()
	p.came += count
	p.lasted += step
	p.inHour[0] += count
	p.inHour[1] += p.at(middle, false) * step.Seconds()
	p.days += float64(step) / float64(p.day)
	// The scale looks back over about two hours.
	fade := min(1, float64(step)/float64(p.day)*12)
	p.recent[0] += fade * (count - p.recent[0])
	p.recent[1] += fade * (p.at(middle, false)*step.Seconds() - p.recent[1])
	p.recent[2] += fade * (p.at(middle, true)*step.Seconds() - p.recent[2])
}

// closeSlice learns a slice that is over. What is far from the usual moves its mean by a bounded step, so that
// a spike of one day isn't expected the next; a slice never seen before is taken as it is.
func (p *profile) closeSlice() {
	if p.slice < 0 || p.lasted <= 0 {
		return
	}
	rate := p.came / p.lasted.Seconds()
	mean := &p.of[p.slice]
	defer func(was float32) { p.sum += float64(*mean - was) }(*mean)
	if p.days < 1 {
		*mean = float32(rate)
		return
	}
	off := rate - float64(*mean)
	usual := max(p.deviates, math.Sqrt(max(float64(*mean), 1/p.lasted.Seconds())/p.lasted.Seconds()))
	p.deviates += 0.5 / slices * (min(math.Abs(off), 4*usual) - p.deviates)
	off = max(-3*usual, min(3*usual, off))
	// On days that are unlike the others (a weekend) the day's profile learns less.
	like := float64(p.ratio(p.hour))
	*mean += float32(0.3 * min(1, like) * off)
}

// closeHour learns how an hour of the week stands to the day's profile.
func (p *profile) closeHour() {
	if p.days < 1 {
		return
	}
	if p.inHour[0] < 1 && p.inHour[1] < 1 {
		return // nothing comes then on any day
	}
	ratio := float32(min(4, (p.inHour[0]+1)/(p.inHour[1]+1)))
	if r := &p.week[p.hour]; *r == 0 {
		*r = ratio
	} else {
		*r += 0.4 * (ratio - *r)
	}
}

func (p *profile) ratio(hour int) float32 {
	if r := p.week[hour]; r > 0 {
		return r
	}
	return 1
}

// at is the rate that the profile says of a time, with or without the week: between the middles of the slices
// in a straight line.
func (p *profile) at(t time.Time, week bool) float64 {
	at, hour := p.place(t)
	at -= 0.5
	if at < 0 {
		at += slices
	}
	low := int(at)
	part := at - float64(low)
	rate := (1-part)*p.smooth(low) + part*p.smooth(low+1)
	if week {
		rate *= float64(p.ratio(hour))
	}
	return rate
}

// smooth is a slice's rate with a little of its neighbours', against noise.
func (p *profile) smooth(i int) float64 {
	at := func(i int) float64 { return float64(p.of[(i+slices)%slices]) }
	return 0.25*at(i-1) + 0.5*at(i) + 0.25*at(i+1)
}

// scale is how today stands to the profile, from what came lately.
func (p *profile) scale(week bool) float64 {
	said := p.recent[1]
	if week {
		said = p.recent[2]
	}
	usual := 0.3*p.sum/slices*p.step + 1e-6 // where little is said, little is proved
	return min(2, (p.recent[0]+usual)/(said+usual))
}
