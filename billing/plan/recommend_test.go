package plan

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"swell.dev/swell/billing"
)

// TestOptimumIsTheBest compares with every commitment that could be one, applied in earnest.
func TestOptimumIsTheBest(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	items := []*billing.Item{item(t, vcpu("general-purpose", "default"), "0.06", "1"), item(t, gib("general-purpose"), "0.03", "1"),
		item(t, vcpu("performance", "default"), "0.08", "1"), item(t, vcpu("general-purpose", "best-effort"), "0.012", "1")}
	nothing := 0
	for range 150 {
		c := Candidate{Offer: billing.Offer{Name: "x", Interval: billing.Interval(r.IntN(2)), Discounts: []billing.PlanDiscount{
			{Class: "performance", Discount: percent * billing.Discount(r.IntN(90))}, {Resource: "memory", Discount: percent * billing.Discount(r.IntN(90))},
			{Discount: percent * billing.Discount(r.IntN(90))}}}}
		days := 2 + r.IntN(5)
		h := &History{From: ms(t, "2026-11-01T00:00:00Z"), To: ms(t, "2026-11-01T00:00:00Z") + int64(days)*24*3_600_000}
		for range 5 + r.IntN(40) {
			at := h.From + int64(r.IntN(days*24))*3_600_000
			if c.Offer.Interval == billing.Hour {
				at = h.From + int64(r.IntN(12))*3_600_000 // most hours are empty: an optimum of nothing
				if r.IntN(3) > 0 {
					h.To = h.From + 24*3_600_000
				}
			}
			if at >= h.To {
				continue
			}
			h.Cells = append(h.Cells, billing.Cell{From: at, To: at + 3_600_000, Item: items[r.IntN(len(items))], Quantity: billing.Quantity(1e9 * r.Int64N(20))})
		}
		if r.IntN(2) == 0 {
			had := c.Plan(billing.MustMoney("0.5"), h.From, h.To)
			had.Name, had.Discounts = "had", off(30*percent)
			h.Plans = []*billing.Plan{had}
		}
		left, err := h.left()
		if err != nil {
			t.Fatal(err)
		}
		f, err := profileOf(c.Plan(billing.Money{}, h.From, h.To), h, left)
		if err != nil {
			t.Fatal(err)
		}
		got := f.optimum(0, f.Days())
		if got.IsZero() {
			nothing++
		}
		cost := f.outcome(got, 0, f.Days()).Cost
		for _, other := range append(ends(f), billing.Money{}) {
			if o := f.outcome(other, 0, f.Days()); o.Cost.Compare(cost) < 0 || (o.Cost == cost && other.Compare(got) < 0) {
				t.Fatalf("a commitment of %s costs %s, the optimum of %s costs %s", other, o.Cost, got, cost)
			}
		}
		if len(h.Plans) == 0 {
			checkOutcome(t, h, c, got, f.outcome(got, 0, f.Days()))
			checkOutcome(t, h, c, got.Round(0, billing.Up), f.outcome(got.Round(0, billing.Up), 0, f.Days()))
		}
	}
	if nothing == 0 || nothing > 100 {
		t.Errorf("%d of 150 optima are nothing", nothing)
	}
}

// ends are all commitments that just cover some of an interval's use: one of them is the best.
func ends(f *profile) (out []billing.Money) {
	for _, groups := range f.groups {
		var at billing.Money
		for _, g := range groups {
			at = at.Plus(g.quantity.At(g.off))
			out = append(out, at)
		}
	}
	return out
}

// checkOutcome applies the plan and wants the same money.
func checkOutcome(t *testing.T, h *History, c Candidate, commitment billing.Money, want Outcome) {
	t.Helper()
	p := c.Plan(commitment, h.From, h.To)
	r, err := Apply([]*billing.Plan{p}, h.Cells, h.From, h.To)
	if err != nil {
		t.Fatal(err)
	}
	var got Outcome
	for _, u := range r.Uses {
		got = got.plus(Outcome{Intervals: 1, Cost: u.Commitment, Commitment: u.Commitment, Unused: u.Unused})
	}
	for i, cell := range h.Cells {
		if _, ok := p.Discount(cell.Item); ok {
			got.List = got.List.Plus(cell.Quantity.At(cell.Item.Price))
			got.Cost = got.Cost.Plus(r.Left(i, cell.Quantity).At(cell.Item.Price))
		}
	}
	if got != want {
		t.Fatalf("applied, %s comes to %+v; the profile says %+v", commitment, got, want)
	}
}

// TestForesight compares a forecast with the bills without and with the plan.
func TestForesight(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	worse := 0
	for range 300 {
		w := randomWorld(t, r)
		c := Candidate{Offer: billing.Offer{Name: "new", Interval: billing.Interval(r.IntN(2)), Discounts: off(percent * billing.Discount(10+r.IntN(60)))}}
		if r.IntN(2) == 0 {
			c.Scope.Project = "p1"
		}
		commitment := billing.Quantity(r.Int64N(20e9)).At(30_000_000_000)
		h := &History{From: w.from, To: w.to, Plans: w.plans}
		cuts := Boundaries(append(slices.Clone(w.plans), Planned([]Candidate{c}, w.from, w.to)...), w.from, w.to)
		for _, cell := range w.cells {
			if k, _ := slices.BinarySearch(cuts, cell.From+1); k == len(cuts) || cuts[k] >= cell.To {
				h.Cells = append(h.Cells, cell)
			}
		}
		got, err := Foresee(h, c, commitment, Options{})
		if err != nil {
			t.Fatal(err)
		}
		bill := func(plans []*billing.Plan) (cost billing.Money) {
			r, err := Apply(plans, h.Cells, h.From, h.To)
			if err != nil {
				t.Fatal(err)
			}
			for i, cell := range h.Cells {
				cost = cost.Plus(r.Left(i, cell.Quantity).At(cell.Item.Price))
			}
			for _, u := range r.Uses {
				cost = cost.Plus(u.Commitment)
			}
			return cost
		}
		saved := bill(w.plans).Minus(bill(append(slices.Clone(w.plans), c.Plan(commitment, h.From, h.To))))
		if got.Saved() != saved || got.Days != 5 {
			t.Fatalf("the forecast of %d days is that %s are saved; the bills say %s", got.Days, got.Saved(), saved)
		}
		if saved.Sign() < 0 {
			worse++
		}
	}
	if worse == 0 || worse == 300 {
		t.Errorf("%d of 300 plans lose", worse)
	}
}

// load is a demand of some days in vCPU, as a share of the usual peak, by the hour.
type load func(day, hour int) float64

// noisy multiplies a load with the noise of days (6 %) and of hours (5 %).
func (l load) noisy() load {
	r := rand.New(rand.NewPCG(9, 9))
	var days [1000]float64
	var hours [1000][24]float64
	for d := range days {
		days[d] = math.Exp(0.06 * r.NormFloat64())
		for h := range 24 {
			hours[d][h] = days[d] * math.Exp(0.05*r.NormFloat64())
		}
	}
	return func(day, hour int) float64 { return l(day, hour) * hours[day][hour] }
}

// loads have ten times as much at their peak as at their trough, but for the first.
var loads = map[string]load{
	"flat":         func(int, int) float64 { return 0.5 },
	"sine 10:1":    func(_, h int) float64 { return 0.55 - 0.45*math.Cos(float64(h)/24*2*math.Pi) },
	"office hours": office,
	"office hours, quiet weekends": func(d, h int) float64 {
		if d%7 >= 5 {
			return 0.6 * office(d, h)
		}
		return office(d, h)
	},
	"a change of regime": func(d, h int) float64 {
		if d%56 >= 28 {
			return office(d, h) / 5
		}
		return office(d, h)
	},
}

func office(_, h int) float64 {
	if h >= 9 && h < 19 {
		return 1
	}
	return 0.1
}

func (l load) history(t testing.TB, days int) *History {
	it := item(t, vcpu("general-purpose", "default"), "0.06", "1")
	h := &History{From: ms(t, "2026-01-05T00:00:00Z")}
	h.To = h.From + int64(days)*24*3_600_000
	for at := h.From; at < h.To; at += 3_600_000 {
		hour := int(at-h.From) / 3_600_000
		h.Cells = append(h.Cells, billing.Cell{From: at, To: at + 3_600_000, Item: it, Quantity: billing.Quantity(1000e9 * l(hour/24, hour%24))})
	}
	return h
}

var fiftyFive = []Candidate{
	{Offer: billing.Offer{Name: "hourly", Interval: billing.Hour, Discounts: off(55 * percent)}},
	{Offer: billing.Offer{Name: "daily", Interval: billing.Day, Discounts: off(55 * percent)}},
}

// recommended answers for the hourly and the daily plan.
func recommended(t testing.TB, h *History) (hourly, daily Recommendation) {
	t.Helper()
	out, err := Recommend(h, fiftyFive, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range out {
		if r.Candidate.Offer.Interval == billing.Hour {
			hourly = r
		} else {
			daily = r
		}
	}
	return hourly, daily
}

// TestSavingsByLoad holds the table of savings in docs/billing/plans.md, whose noise is the one thing that is random.
func TestSavingsByLoad(t *testing.T) {
	for name, want := range map[string]struct{ hourly, daily float64 }{
		"flat": {52.0, 52.6}, "sine 10:1": {29.2, 52.5}, "office hours": {11.5, 52.5}, "office hours, quiet weekends": {11.4, 47.0},
	} {
		hourly, daily := recommended(t, loads[name].noisy().history(t, 215))
		for _, c := range []struct {
			interval  string
			got       Recommendation
			want, off float64
		}{{"hour", hourly, want.hourly, 1}, {"day", daily, want.daily, 0.5}} {
			if got := 100 * c.got.InSample.Saving(); math.Abs(got-c.want) > c.off {
				t.Errorf("%s: plans by the %s save %.1f %%, want %.1f %%", name, c.interval, got, c.want)
			}
			if out := 100 * c.got.Rolling.Saving(); out > 100*c.got.InSample.Saving()+0.3 || out < c.want-2 {
				t.Errorf("%s: plans by the %s save %.1f %% out of sample", name, c.interval, out)
			}
			if c.got.ChanceToLose > 0 || c.got.Rolling.Lost > 0 || c.got.Rolling.Windows != 7 {
				t.Errorf("%s: plans by the %s lose with a chance of %g, in %d of %d windows", name, c.interval, c.got.ChanceToLose, c.got.Rolling.Lost, c.got.Rolling.Windows)
			}
		}
	}
}

// TestPlansCanLose wants a change of regime to be told as what it is.
func TestPlansCanLose(t *testing.T) {
	_, daily := recommended(t, loads["a change of regime"].noisy().history(t, 112))
	r := daily.Rolling
	if r.Windows != 3 || r.Lost != 2 || r.Saving() > -0.2 || r.Regret() < 0.5 {
		t.Errorf("%d of %d windows lose, saving %.3f, regret %.3f", r.Lost, r.Windows, r.Saving(), r.Regret())
	}
	h := loads["a change of regime"].noisy().history(t, 56)
	peak := billing.MustMoney("300") // of 308 a day at list and discount, until it falls to a fifth
	f, err := Foresee(h, fiftyFive[1], peak, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if f.ChanceToLose < 0.2 || f.ChanceToLose > 0.9 || f.Worst.Saving() > -0.6 || f.Best.Compare(peak) >= 0 {
		t.Errorf("forecast: chance to lose %g, worst %.3f, best %s", f.ChanceToLose, f.Worst.Saving(), f.Best)
	}
}

// TestChanceToLose is compared with days that are known: each wins 1 or loses 1.
func TestChanceToLose(t *testing.T) {
	day := func(saved int64) Outcome {
		o := Outcome{List: billing.Quantity(1e9).At(1), Cost: billing.Quantity(1e9).At(1)}
		o.Cost = o.Cost.Minus(billing.Quantity(saved).At(1e9))
		return o
	}
	days := func(win, lose int) (out []Outcome) {
		for range win {
			out = append(out, day(1))
		}
		for range lose {
			out = append(out, day(-1))
		}
		return out
	}
	for _, c := range []struct {
		win, lose, term int
		from, to        float64
	}{{50, 0, 30, 0, 0}, {0, 50, 30, 1, 1}, {50, 50, 7, 0.45, 0.55}, {50, 50, 1, 0.45, 0.55}, {90, 10, 1, 0.08, 0.12}, {90, 10, 365, 0, 0}, {3, 1, 30, 0, 0}} {
		if got := chanceToLose(days(c.win, c.lose), c.term); got < c.from || got > c.to {
			t.Errorf("%d days that win, %d that lose, a term of %d: %g, want %g to %g", c.win, c.lose, c.term, got, c.from, c.to)
		}
	}
}

func TestShortHistories(t *testing.T) {
	for days, windows := range map[int]int{0: 0, 1: 0, 13: 0, 14: 1, 20: 1, 27: 1, 28: 1, 56: 1, 62: 1, 63: 2} {
		h := loads["office hours"].noisy().history(t, days)
		out, err := Recommend(h, fiftyFive, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range out {
			got := 0
			if r.Rolling != nil {
				got = r.Rolling.Windows
			}
			if r.Days != days || got != windows {
				t.Errorf("%d days: %d days, %d windows, want %d", days, r.Days, got, windows)
			}
			if days == 0 && (r.Commitment.Sign() != 0 || r.InSample != Outcome{}) {
				t.Errorf("no day, and a commitment of %s", r.Commitment)
			}
		}
	}
}

// TestZonesOfCandidates wants whole days of the candidate's zone, cut from a history that has others.
func TestZonesOfCandidates(t *testing.T) {
	for _, c := range []struct {
		zone       string
		start, end string
	}{
		{"UTC", "2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z"}, {"Asia/Kathmandu", "2026-03-27T18:15:00Z", "2026-03-30T18:15:00Z"},
		{"Europe/Berlin", "2026-03-27T23:00:00Z", "2026-03-30T22:00:00Z"}, {"Pacific/Kiritimati", "2026-03-28T10:00:00Z", "2026-03-30T10:00:00Z"},
	} {
		candidate := Candidate{Offer: billing.Offer{Name: "x"}, Zone: zone(t, c.zone)}
		p := candidate.Plan(billing.Money{}, ms(t, "2026-03-27T12:00:00Z"), ms(t, "2026-03-31T00:00:00Z"))
		if got := fmt.Sprint(instant(p.Start.UnixMilli()), instant(p.End.UnixMilli())); got != fmt.Sprint(c.start, c.end) {
			t.Errorf("%s: %s, want %s to %s", c.zone, got, c.start, c.end)
		}
		candidate.Offer.Zone = time.UTC
		if candidate.In() != time.UTC {
			t.Error("the offer's zone doesn't hold over the buyer's")
		}
	}
}
