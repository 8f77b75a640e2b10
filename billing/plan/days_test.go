package plan

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"swell.dev/swell/billing"
)

func ms(t testing.TB, s string) int64 {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at.UnixMilli()
}

func dayPlan(t testing.TB, name, zoneName, start, end, commitment string, d billing.Discount) *billing.Plan {
	z := zone(t, zoneName)
	day := func(s string) time.Time {
		at, err := time.Parse(time.DateOnly, s)
		if err != nil {
			t.Fatal(err)
		}
		return billing.Midnight(at.Year(), at.Month(), at.Day(), z)
	}
	return &billing.Plan{Name: name, Zone: z, Start: day(start), End: day(end), Commitment: billing.MustMoney(commitment), Discounts: off(d)}
}

// steady is a cell for each hour of 10 vCPU: 0.60 an hour at list.
func steady(it *billing.Item, from, to int64, cuts []int64) []billing.Cell {
	var cells []billing.Cell
	cuts = append(slices.Clone(cuts), to)
	for at := from; at < to; {
		end := min(at+3_600_000, to)
		for _, c := range cuts {
			if c > at {
				end = min(end, c)
				break
			}
		}
		q, err := billing.VCPU(10_000, uint64(end-at), billing.HalfEven)
		if err != nil {
			panic(err)
		}
		cells = append(cells, billing.Cell{From: at, To: end, Account: "a", Project: "p", Item: it, Quantity: q})
		at = end
	}
	return cells
}

// TestDaysOfEveryLength wants a plan's day to be a day, of however many hours, and its ends to be midnights.
func TestDaysOfEveryLength(t *testing.T) {
	it := item(t, vcpu("general-purpose", "default"), "0.06", "1")
	type day struct{ from, used, unused string }
	for name, c := range map[string]struct {
		plan     *billing.Plan
		from, to string
		want     []day
	}{
		"clocks go forward": {dayPlan(t, "x", "Europe/Berlin", "2026-03-28", "2026-03-31", "7.2", 50*percent), "2026-03-27T00:00:00Z", "2026-04-02T00:00:00Z",
			[]day{{"2026-03-27T23:00:00Z", "7.2", "0"}, {"2026-03-28T23:00:00Z", "6.9", "0.3"}, {"2026-03-29T22:00:00Z", "7.2", "0"}}},
		"clocks go back": {dayPlan(t, "x", "Europe/Berlin", "2026-10-25", "2026-10-27", "8", 50*percent), "2026-10-24T00:00:00Z", "2026-10-28T00:00:00Z",
			[]day{{"2026-10-24T22:00:00Z", "7.5", "0.5"}, {"2026-10-25T23:00:00Z", "7.2", "0.8"}}},
		"midnight is jumped over": {dayPlan(t, "x", "Africa/Cairo", "2026-04-23", "2026-04-25", "7.2", 50*percent), "2026-04-22T00:00:00Z", "2026-04-26T00:00:00Z",
			[]day{{"2026-04-22T22:00:00Z", "7.2", "0"}, {"2026-04-23T22:00:00Z", "6.9", "0.3"}}},
		"two midnights": {dayPlan(t, "x", "America/Havana", "2026-10-31", "2026-11-02", "7.5", 50*percent), "2026-10-30T00:00:00Z", "2026-11-03T00:00:00Z",
			[]day{{"2026-10-31T04:00:00Z", "7.2", "0.3"}, {"2026-11-01T04:00:00Z", "7.5", "0"}}},
		"quarters of an hour": {dayPlan(t, "x", "Asia/Kathmandu", "2026-02-28", "2026-03-02", "1", 50*percent), "2026-02-27T00:00:00Z", "2026-03-03T00:00:00Z",
			[]day{{"2026-02-27T18:15:00Z", "0.99999999999", "0.00000000001"}, {"2026-02-28T18:15:00Z", "0.99999999999", "0.00000000001"}}},
		"the end of a month and of its plan": {dayPlan(t, "x", "Asia/Shanghai", "2026-11-30", "2026-12-01", "10", 55*percent), "2026-11-01T00:00:00Z", "2026-12-05T00:00:00Z",
			[]day{{"2026-11-29T16:00:00Z", "6.48", "3.52"}}},
	} {
		from, to := ms(t, c.from), ms(t, c.to)
		plans := []*billing.Plan{c.plan}
		r, err := Apply(plans, steady(it, from, to, Boundaries(plans, from, to)), from, to)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got []day
		for _, u := range r.Uses {
			got = append(got, day{instant(u.From), u.Used.String(), u.Unused.String()})
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestHighestDiscountFirst is a day by hand: 60 % before 50 %, vCPU and memory in proportion, the rest at list.
func TestHighestDiscountFirst(t *testing.T) {
	cpu, mem := item(t, vcpu("general-purpose", "default"), "0.06", "1"), item(t, gib("general-purpose"), "0.03", "1")
	wide := dayPlan(t, "wide", "UTC", "2026-11-01", "2026-12-01", "1", 50*percent)
	narrow := dayPlan(t, "narrow", "UTC", "2026-11-01", "2026-12-01", "0.5", 50*percent)
	narrow.Scope.Project = "p"
	deep := dayPlan(t, "deep", "UTC", "2026-11-01", "2026-12-01", "0.24", 60*percent)
	deep.Discounts[0].Resource = "memory"
	gone := dayPlan(t, "gone", "UTC", "2026-11-01", "2026-12-01", "100", 90*percent)
	gone.Returned = gone.Start
	from, to := ms(t, "2026-11-10T00:00:00Z"), ms(t, "2026-11-11T00:00:00Z")
	cell := func(project string, it *billing.Item, hours int64) billing.Cell {
		return billing.Cell{From: from, To: to, Account: "a", Project: project, Item: it, Quantity: billing.Quantity(hours * 1e9)}
	}
	cells := []billing.Cell{cell("q", cpu, 30), cell("p", cpu, 10), cell("p", mem, 40)}
	r, err := Apply([]*billing.Plan{gone, wide, narrow, deep}, cells, from, to)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, c := range cells {
		for _, cover := range r.Covers(i) {
			got = append(got, c.Project+" "+c.Item.SKU.Resource.String()+" "+cover.Plan.Name+" "+cover.Quantity.Hours()+" "+cover.Draw.String())
		}
	}
	// deep: memory at 0.012, 0.24 pays for 20 of 40 GiB-hours. At 50 %, memory at 0.015 comes before vCPU at 0.03:
	// narrow pays 0.3 for 20 GiB-hours, and 0.2 for 6⅔ of p's 10 vCPU-hours, rounded down. wide has 1 for the rest,
	// 33.333333334 vCPU-hours at 0.03: that is too little by the last place.
	want := []string{"q vcpu wide 30.000000000 0.9", "p vcpu narrow 6.666666666 0.19999999998", "p vcpu wide 3.333333333 0.09999999999",
		"p memory deep 20.000000000 0.24", "p memory narrow 20.000000000 0.3"}
	if !slices.Equal(got, want) {
		t.Errorf("covered are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, u := range r.Uses {
		if u.Plan == gone {
			t.Error("a plan that was returned has an interval")
		}
	}
}

func TestApplyRefuses(t *testing.T) {
	it := item(t, vcpu("general-purpose", "default"), "0.06", "1")
	p := dayPlan(t, "december", "Europe/Berlin", "2026-12-01", "2027-01-01", "1", 50*percent)
	from, to := ms(t, "2026-12-01T00:00:00Z"), ms(t, "2026-12-31T00:00:00Z")
	cell := func(f, u string, q billing.Quantity) billing.Cell {
		return billing.Cell{From: ms(t, f), To: ms(t, u), Account: "a", Project: "p", Item: it, Quantity: q}
	}
	for name, c := range map[string]struct {
		cells []billing.Cell
		plan  func(p *billing.Plan)
		says  string
	}{
		"across midnight":  {[]billing.Cell{cell("2026-12-10T22:00:00Z", "2026-12-10T23:00:01Z", 1)}, nil, `a cell crosses 2026-12-10T23:00:00Z, where an interval of savings plan "december" begins or ends`},
		"across the start": {[]billing.Cell{cell("2026-12-10T22:00:00Z", "2026-12-10T23:00:01Z", 1)}, func(p *billing.Plan) { p.Start = time.UnixMilli(ms(t, "2026-12-10T23:00:00Z")) }, "crosses 2026-12-10T23:00:00Z"},
		"across the end":   {[]billing.Cell{cell("2026-12-10T22:00:00Z", "2026-12-10T23:00:01Z", 1)}, func(p *billing.Plan) { p.End = time.UnixMilli(ms(t, "2026-12-10T23:00:00Z")) }, "crosses 2026-12-10T23:00:00Z"},
		"outside":          {[]billing.Cell{cell("2026-11-30T22:00:00Z", "2026-11-30T23:00:00Z", 1)}, nil, `use of general-purpose/default/vcpu by project "p" of account "a"`},
		"backwards":        {[]billing.Cell{cell("2026-12-10T22:00:00Z", "2026-12-10T21:00:00Z", 1)}, nil, "want a quantity"},
		"less than none":   {[]billing.Cell{cell("2026-12-10T20:00:00Z", "2026-12-10T21:00:00Z", -1)}, nil, "want a quantity that isn't negative"},
		"too much": {[]billing.Cell{cell("2026-12-10T20:00:00Z", "2026-12-10T21:00:00Z", 1<<62), cell("2026-12-10T20:00:00Z", "2026-12-10T21:00:00Z", 1<<62)}, nil,
			`savings plan "december": use within an interval: the quantity is too large`},
		"commitment": {nil, func(p *billing.Plan) { p.Commitment = billing.MustMoney("-1") }, `savings plan "december": commitment -1`},
	} {
		plan := *p
		if c.plan != nil {
			c.plan(&plan)
		}
		if _, err := Apply([]*billing.Plan{&plan}, c.cells, from, to); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

// TestWholeIsEnough applies plans to the whole of five days, and to what Whole says decides one of their hours: that
// hour must come out the same.
func TestWholeIsEnough(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	narrower := 0
	for range 1000 {
		w := randomWorld(t, r)
		begin := w.from + int64(48+r.IntN(24))*3_600_000
		from, to := Whole(w.plans, begin, begin+3_600_000)
		if from > begin || to < begin+3_600_000 {
			t.Fatalf("Whole answers %s to %s for the hour from %s", instant(from), instant(to), instant(begin))
		}
		all, some := w.plans, w.cells
		// Plans' ends and days may lie outside of the world's five days, where there is no use.
		lo, hi := min(from, w.from), max(to, w.to)
		wide, err := Apply(all, some, lo, hi)
		if err != nil {
			t.Fatal(err)
		}
		var few []billing.Cell
		var of []int
		for i, c := range some {
			if c.From >= from && c.From < to && c.To <= to {
				few, of = append(few, c), append(of, i)
			}
		}
		if len(few) < len(some) {
			narrower++
		}
		part, err := Apply(all, few, from, to)
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range few {
			if c.From < begin || c.From >= begin+3_600_000 {
				continue
			}
			if !slices.Equal(part.Covers(i), wide.Covers(of[i])) {
				t.Fatalf("%+v is covered by %+v, want %+v", c, part.Covers(i), wide.Covers(of[i]))
			}
		}
	}
	if narrower < 100 {
		t.Errorf("only %d of the worlds were narrowed", narrower)
	}
}

// TestWholeIsNoMore wants plans that share no use not to widen each other's time.
func TestWholeIsNoMore(t *testing.T) {
	from, to := ms(t, "2026-11-10T00:00:00Z"), ms(t, "2026-11-11T00:00:00Z")
	var apart, shared []*billing.Plan
	for i := range 6 {
		zoneName := []string{"UTC", "Asia/Shanghai"}[i%2]
		p := dayPlan(t, string(rune('a'+i)), zoneName, "2026-01-0"+string(rune('1'+i)), "2027-01-01", "1", 50*percent)
		q := *p
		q.Scope.Project = p.Name
		apart, shared = append(apart, &q), append(shared, p)
	}
	ended := dayPlan(t, "ended", "America/Los_Angeles", "2026-01-01", "2026-11-01", "1", 90*percent)
	for name, c := range map[string]struct {
		plans    []*billing.Plan
		from, to string
	}{
		"none":          {nil, "2026-11-10T00:00:00Z", "2026-11-11T00:00:00Z"},
		"one zone":      {shared[:1], "2026-11-10T00:00:00Z", "2026-11-11T00:00:00Z"},
		"ended":         {[]*billing.Plan{ended, shared[0]}, "2026-11-10T00:00:00Z", "2026-11-11T00:00:00Z"},
		"apart":         {apart, "2026-11-09T16:00:00Z", "2026-11-11T16:00:00Z"},
		"two that meet": {shared[:2], "2026-11-09T00:00:00Z", "2026-11-12T00:00:00Z"},
		"six that meet": {shared, "2026-11-07T00:00:00Z", "2026-11-14T00:00:00Z"},
	} {
		f, u := Whole(c.plans, from, to)
		if instant(f) != c.from || instant(u) != c.to {
			t.Errorf("%s: %s to %s, want %s to %s", name, instant(f), instant(u), c.from, c.to)
		}
	}
}

// BenchmarkApply is a month of 1,000 projects with 10 items each, by the hour.
func BenchmarkApply(b *testing.B) {
	from, to := ms(b, "2026-11-01T00:00:00Z"), ms(b, "2026-12-01T00:00:00Z")
	var items []*billing.Item
	for _, class := range []string{"general-purpose", "performance", "gpu", "x", "y"} {
		items = append(items, item(b, vcpu(class, "default"), "0.06", "1"), item(b, gib(class), "0.03", "1"))
	}
	plans := []*billing.Plan{dayPlan(b, "day", "UTC", "2026-10-01", "2027-10-01", "300000", 55*percent),
		dayPlan(b, "hour", "UTC", "2026-10-01", "2027-10-01", "2000", 28*percent)}
	plans[1].Interval = billing.Hour
	r := rand.New(rand.NewPCG(4, 4))
	var cells []billing.Cell
	for p := range 1000 {
		project := "project-" + string(rune('a'+p%26)) + time.Duration(p).String()
		for _, it := range items {
			for at := from; at < to; at += 3_600_000 {
				cells = append(cells, billing.Cell{From: at, To: at + 3_600_000, Account: "a", Project: project, Item: it, Quantity: billing.Quantity(r.Int64N(100e9))})
			}
		}
	}
	b.ResetTimer()
	for range b.N {
		if _, err := Apply(plans, cells, from, to); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(cells)*b.N)/b.Elapsed().Seconds(), "cells/s")
}
