package plan

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"

	"swell.dev/swell/billing"
)

// Options say how a recommendation is made; zero fields stand for the defaults.
type Options struct {
	Train, Test int // days: see Rolling; 28 each, or half of a shorter history
	Places      int // decimal places of the commitment; 2 for a day, 4 for an hour
}

const (
	window     = 28   // days to learn from and to test on
	week       = 7    // days of a block, and the fewest to test on
	worstDays  = 30   // of the worst period
	samples    = 2000 // of the future
	sampleDays = 30   // of a term that an offer leaves open
)

// Recommendation is the best commitment for one candidate, and what is to be said for and against it.
type Recommendation struct {
	Candidate  Candidate
	Commitment billing.Money // nothing, if none would have saved
	Days       int           // of history
	InSample   Outcome       // as though the commitment had been there for the whole history
	Rolling    *Rolling      // out of sample; nil for a history of less than two weeks
	Risk
}

// Rolling is a test on what wasn't known: from the history's beginning on, the best commitment for Train days is held
// for the Test days that follow them, then chosen anew.
type Rolling struct {
	Outcome
	Train, Test   int
	Windows, Lost int     // tests; those in which the plan cost more than list
	Hindsight     Outcome // the same days with each test's own best commitment
}

// Regret is how much more was paid than with hindsight, as a share of the list cost.
func (r *Rolling) Regret() float64 { return share(r.Cost.Minus(r.Hindsight.Cost), r.List) }

// Risk is what a commitment can lose.
type Risk struct {
	Worst Period // the 30 days in a row, or all if there are fewer, with the least saving
	// ChanceToLose is the share of 2,000 terms, drawn from the history in blocks of seven days in a row, in which the
	// plan costs more than list. It holds for a future like the past; what a change does is seen in Rolling alone.
	ChanceToLose float64
}

// Period is an outcome of some days.
type Period struct {
	From, To int64 // Unix milliseconds
	Outcome
}

// Recommend answers the best commitment for each of the candidates, alone, for what the plans bought already leave of
// the history: the candidate that saves most comes first, out of sample if that can be told.
func Recommend(h *History, candidates []Candidate, o Options) ([]Recommendation, error) {
	left, err := h.left()
	if err != nil {
		return nil, err
	}
	var out []Recommendation
	for _, c := range candidates {
		f, err := profileOf(c.Plan(billing.Money{}, h.From, h.To), h, left)
		if err != nil {
			return nil, err
		}
		r := Recommendation{Candidate: c, Commitment: f.best(0, f.Days(), o.places(c.Offer.Interval)), Days: f.Days()}
		outcomes := f.outcomes(r.Commitment, 0, f.Days())
		r.InSample = total(outcomes)
		r.Rolling = f.rolling(o)
		r.Risk = f.risk(outcomes, c.Offer.TermDays)
		out = append(out, r)
	}
	slices.SortStableFunc(out, func(a, b Recommendation) int {
		return cmp.Or(b.saved().Compare(a.saved()), strings.Compare(a.Candidate.Offer.Name, b.Candidate.Offer.Name))
	})
	return out, nil
}

func (r *Recommendation) saved() billing.Money {
	if r.Rolling != nil {
		return r.Rolling.Saved()
	}
	return r.InSample.Saved()
}

func (o *Options) places(i billing.Interval) int {
	switch {
	case o.Places > 0:
		return o.Places
	case i == billing.Hour:
		return 4
	}
	return 2
}

// rolling answers nil when the history is too short.
func (f *profile) rolling(o Options) *Rolling {
	days := f.Days()
	r := &Rolling{Train: cmp.Or(o.Train, min(window, days/2)), Test: cmp.Or(o.Test, min(window, days/2))}
	for at := r.Train; at < days; at += r.Test {
		end := min(at+r.Test, days)
		if end-at < min(week, r.Test) || r.Train < min(week, cmp.Or(o.Train, week)) {
			break
		}
		places := o.places(f.plan.Interval)
		got := f.outcome(f.best(at-r.Train, at, places), at, end)
		r.Outcome = r.plus(got)
		r.Hindsight = r.Hindsight.plus(f.outcome(f.best(at, end, places), at, end))
		r.Windows++
		if got.Saved().Sign() < 0 {
			r.Lost++
		}
	}
	if r.Windows == 0 {
		return nil
	}
	return r
}

// risk judges the outcomes of all spans.
func (f *profile) risk(outcomes []Outcome, term int) Risk {
	days := make([]Outcome, f.Days())
	for d := range days {
		days[d] = total(outcomes[f.days[d]:f.days[d+1]])
	}
	return Risk{Worst: f.worst(days), ChanceToLose: chanceToLose(days, cmp.Or(term, sampleDays))}
}

func (f *profile) worst(days []Outcome) Period {
	var worst Period
	long := min(worstDays, len(days))
	for d := 0; long > 0 && d+long <= len(days); d++ {
		p := Period{f.spans[f.days[d]].from, f.spans[f.days[d+long]-1].to, total(days[d : d+long])}
		if d == 0 || p.Saving() < worst.Saving() {
			worst = p
		}
	}
	return worst
}

// chanceToLose draws terms from the days, in blocks that wrap around the end (a circular block bootstrap), always the
// same ones.
func chanceToLose(days []Outcome, term int) float64 {
	if len(days) == 0 {
		return 0
	}
	saved := make([]float64, len(days))
	for d := range days {
		saved[d] = days[d].Saved().Float()
	}
	random := rand.New(rand.NewPCG(1, uint64(term)))
	lost := 0
	for range samples {
		sum := 0.0
		for drawn := 0; drawn < term; {
			at := random.IntN(len(saved))
			for range min(week, term-drawn) {
				sum += saved[at%len(saved)]
				at, drawn = at+1, drawn+1
			}
		}
		if sum < 0 {
			lost++
		}
	}
	return float64(lost) / samples
}
