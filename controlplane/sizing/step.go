package sizing

import "math"

// bounds are what a policy says of a container.
type bounds struct {
	cpu, memory bool    // which of them are its to change
	min, max    amounts // 0: none
	change      float64 // below which nothing is done
	up, down    float64 // one step at most
}

// capped holds a target to min and max. Where those contradict each other, max holds.
func (b *bounds) capped(a amounts) amounts {
	return amounts{capped(a.cpu, b.min.cpu, b.max.cpu), capped(a.memory, b.min.memory, b.max.memory)}
}

func capped(v, least, most int64) int64 {
	v = max(v, least)
	if most > 0 {
		v = min(v, most)
	}
	return v
}

// step answers the size that a container should have next. needed is what its memory holds now, with a margin:
// it doesn't shrink below.
func (b *bounds) step(now amounts, e *estimate, needed int64) amounts {
	next := now
	if b.cpu && now.cpu > 0 {
		next.cpu = b.one(now.cpu, e.target.cpu, e.upper.cpu, b.min.cpu, b.max.cpu, 1, 0)
	}
	if b.memory && now.memory > 0 {
		upper := e.upper.memory
		if e.young {
			upper = max(upper, now.memory)
		}
		next.memory = b.one(now.memory, e.target.memory, upper, b.min.memory, b.max.memory, mebibyte, needed)
	}
	return next
}

// one decides for one resource, in whole units. A size is outside of what is allowed, too small for the target,
// or larger than the upper bound; between the target and the upper bound it stays as it is. The target is what it
// moves to, so that it then stays: that is why sizes come to rest where usage does.
func (b *bounds) one(now, target, upper, least, most, unit, needed int64) int64 {
	wanted := capped(target, least, most)
	// What is in use is never taken away, whatever the recommendation; only the owner's max stands above.
	if needed > wanted {
		wanted = capped(roundUp(float64(needed), unit), least, most)
		if wanted < needed && wanted < now {
			return now // max is below what is in use: not by us
		}
	}
	mustMove := least > 0 && now < least || most > 0 && now > most
	switch {
	case wanted > now && (mustMove || float64(wanted) >= float64(now)*(1+b.change-rounding)):
		return min(wanted, max(roundDown(float64(now)*(1+b.up), unit), now+unit))
	case wanted < now && (mustMove || float64(wanted) <= float64(now)*(1-b.change+rounding) && now > max(capped(upper, least, most), wanted)):
		return max(wanted, min(roundUp(float64(now)*(1-b.down), unit), now-unit))
	}
	return now
}

// rounding is what a share may be off by in floating point.
const rounding = 1e-9

func roundUp(v float64, unit int64) int64   { return int64(math.Ceil(v/float64(unit))) * unit }
func roundDown(v float64, unit int64) int64 { return int64(math.Floor(v/float64(unit))) * unit }
