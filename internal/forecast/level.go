package forecast

// level is the present rate and its trend. It averages over as many steps as hold enough arrivals to tell: a
// few where many come, minutes where one comes now and then. A shift is followed within those few steps,
// because what is averaged over shrinks with the higher of old and new rate.
type level struct {
	level, trend float64 // arrivals a step; change of it a step
	plain        float64 // the average without a trend
	fast         float64 // over few steps, whatever comes
	alpha        float64
	seen         int
}

const (
	enough    = 20.0    // arrivals that an average should hold
	quickest  = 1.0 / 6 // share of the newest step where plenty arrive
	slowest   = 1.0 / 300
	trendRate = 0.15 // of alpha
	damping   = 0.9  // of the trend, a step
)

func (l *level) observe(count float64) {
	l.seen++
	l.fast += quickest * (count - l.fast)
	l.alpha = max(slowest, min(quickest, max(l.level, l.fast)/enough), 1/float64(l.seen+4))
	l.plain += l.alpha * (count - l.plain)
	was := l.level
	l.level += l.trend
	l.level = max(0, l.level+l.alpha*(count-l.level))
	if l.seen > 1 {
		l.trend = damping*l.trend + trendRate*l.alpha*((l.level-was)-l.trend)
	}
}

// ahead is the rate that many steps from now, if the trend runs out as it is damped.
func (l *level) ahead(steps float64) float64 {
	reach := 0.0 // of the trend: the sum of damping^i
	for d := damping; steps >= 1 && d > 0.01; steps, d = steps-1, d*damping {
		reach += d
	}
	return max(0, l.level+reach*l.trend)
}
