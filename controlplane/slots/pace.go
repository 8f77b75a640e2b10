package slots

import (
	"math"
	"slices"
	"time"
)

// pace is how long slots of a workload need to be ready, and how long they need where hosts have nothing else
// to do. Without a bound there would be a loop: the longer slots take, the more of them are wanted, and the more
// are made, the longer all of them take. So the lead that is planned for ends at a few times the unhurried one,
// and beyond that fewer slots are wanted the longer they take.
type pace struct {
	lead time.Duration // measured: from asking for a slot until it is ready
	best time.Duration // the shortest; rises slowly to the lead; 0 until one was measured
	at   time.Time     // of the last measurement
}

const (
	firstLead = time.Second      // is what a slot is taken to need until it was measured
	maxLead   = 30 * time.Second // bounds the lead that is believed and planned for
	strained  = 3                // times the best lead: hosts have more to do than they can
	forgets   = 15 * time.Minute // in which the best lead follows hosts that have become slower
)

func newPace() pace { return pace{lead: firstLead} }

// measured learns from a slot that is ready.
func (p *pace) measured(took time.Duration, now time.Time) {
	took = min(max(took, time.Millisecond), maxLead)
	if p.best == 0 {
		p.best = took
	} else if passed := now.Sub(p.at); passed > 0 {
		p.best += time.Duration(float64(max(0, p.lead-p.best)) * min(1, float64(passed)/float64(forgets)))
	}
	p.best, p.at = min(p.best, took), now
	p.lead += (took - p.lead) / 4
}

// tooLate learns from a slot that was taken before it was ready: it needs longer than that.
func (p *pace) tooLate(age time.Duration) { p.lead += (min(max(p.lead, age), maxLead) - p.lead) / 4 }

// rest lets a lead that nothing measures any more fall back to the best.
func (p *pace) rest(idle bool) {
	if idle && p.best > 0 && p.lead > p.best {
		p.lead -= (p.lead - p.best) / 20
	}
}

// limit is the lead beyond which hosts are strained. They never are with one as short as is assumed at first.
func (p *pace) limit() time.Duration {
	if p.best == 0 {
		return maxLead
	}
	return min(maxLead, max(strained*p.best, firstLead))
}

// plan is the lead to plan for.
func (p *pace) plan() time.Duration { return min(p.lead, p.limit()) }

// brake is the share of the slots that would be wanted, which hosts get to make.
func (p *pace) brake() float64 { return min(1, float64(p.limit())/float64(max(1, p.lead))) }

// few slots are wanted without asking how much came lately.
const few = 10

// temper bounds what a forecast wants.
func (c *core) temper(w *workload, n int, r rule, now time.Time) int {
	if n <= 0 {
		return 0
	}
	n = max(1, int(math.Round(float64(n)*w.pace.brake()))) // one goes on measuring
	if now.Sub(w.born) >= c.day {
		return n // it knows when to expect many that haven't come yet
	}
	// The middle of three looks: neither one burst of creates counts, nor one that is over.
	came := w.recent
	slices.Sort(came[:])
	looks := float64(w.pace.plan())/float64(c.interval) + 1
	n = min(n, few+int(2*looks*float64(came[1])))
	// So many come that all slots would be taken before they are ready: that would be work done twice.
	if coming := float64(came[1]) * float64(w.pace.plan()) / float64(c.interval); r.max < 0 && coming > float64(c.each) {
		return 0
	}
	return n
}
