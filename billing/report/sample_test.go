package report

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
)

var berlin = func() *time.Location {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic(err)
	}
	return zone
}()

// items are what the sample sells, at the prices of the shipped list.
var items = map[string]*billing.Item{}

func itemOf(class, qos string, of billing.Resource, model string) *billing.Item {
	sku := billing.SKU{Resource: of, Class: class, QoS: qos, Model: model}
	if items[sku.ID()] == nil {
		price := map[billing.Resource]string{billing.CPU: "0.06", billing.Memory: "0.03", billing.GPU: "18.5", billing.GPUMemory: "0", billing.Storage: "0.0005"}[of]
		p, err := billing.ParsePrice(price)
		if err != nil {
			panic(err)
		}
		switch {
		case qos == billing.QoSBestEffort:
			p /= 5
		case class == "performance":
			p = p * 13 / 10
		}
		items[sku.ID()] = &billing.Item{SKU: sku, ID: sku.ID(), Price: p, Version: "list-1"}
	}
	return items[sku.ID()]
}

// fleet is a part of the sample: pods of one workload, whose number follows the hour of the day.
type fleet struct {
	project, workload, class, qos string
	cpu, memory                   int64 // milli, bytes
	pods                          func(day, hour int) int
	resizes                       bool
	gpu                           int64
}

const gib = 1 << 30

var fleets = []fleet{
	{project: "shop", workload: "web", class: "general-purpose", qos: "default", cpu: 2000, memory: 4 * gib, resizes: true,
		pods: func(day, hour int) int { return []int{1, 1, 2, 4, 6, 5, 4, 2}[hour/3] - day%7/5 }},
	{project: "shop", workload: "checkout", class: "performance", qos: "default", cpu: 1000, memory: 2 * gib, pods: func(day, hour int) int { return 2 }},
	{project: "search", workload: "indexer", class: "general-purpose", qos: "best-effort", cpu: 8000, memory: 16 * gib,
		pods: func(day, hour int) int { return map[bool]int{true: 6}[hour < 5] }},
	{project: "search", workload: "query", class: "general-purpose", qos: "default", cpu: 4000, memory: 8 * gib, resizes: true,
		pods: func(day, hour int) int { return 1 + day/10 }},
	{project: "models", workload: "embed", class: "gpu", qos: "default", cpu: 4000, memory: 32 * gib, gpu: 500,
		pods: func(day, hour int) int { return map[bool]int{true: 1}[day > 20 && hour%12 < 6] }},
	{project: "tools", workload: "ci", class: "general-purpose", qos: "default", cpu: 4000, memory: 4 * gib,
		pods: func(day, hour int) int { return map[bool]int{true: 3}[hour >= 8 && hour < 18 && day%7 < 5] }},
}

// sample are the charges of a month: October 2026 in Berlin, where the clocks go back on the 25th. Pods live for a
// day or less; a day plan at 55 % covers what the project shop uses, in the order of the pods.
func sample(t testing.TB, month time.Month) []billing.Charge {
	t.Helper()
	plan := &billing.Plan{
		Name: "web-2026", UID: "5f0c", Interval: billing.Day, Zone: berlin, Commitment: billing.MustMoney("12.6"), Scope: billing.Scope{Project: "shop"},
		Start: billing.Midnight(2026, 9, 1, berlin), End: billing.Midnight(2027, 1, 1, berlin),
		Discounts: []billing.PlanDiscount{{Discount: 550_000}},
	}
	var out []billing.Charge
	for day := billing.Midnight(2026, month, 1, berlin); day.Month() == month; day = billing.Midnight(2026, month, day.Day()+1, berlin) {
		from, to := day.UnixMilli(), billing.Midnight(2026, month, day.Day()+1, berlin).UnixMilli()
		left := plan.Commitment
		for _, s := range segmentsOf(day, from, to) {
			s := s
			for _, l := range linesOf(t, &s) {
				l.Account, l.Project, l.Kind, l.Segment = "acme", s.Namespace, billing.Usage, &s
				l.List = l.Quantity.At(l.Item.Price)
				if d, ok := plan.Discount(l.Item); ok && plan.Scope.Covers(l.Account, l.Project, s.ComputeClass) {
					rate := l.Item.Price.Off(d)
					if q := min(left.Buys(rate), l.Quantity); q > 0 {
						covered := l
						covered.Plan, covered.Quantity, covered.List, covered.Effective = plan, q, q.At(l.Item.Price), q.At(rate)
						left = left.Minus(covered.Effective)
						out = append(out, covered)
						if l.Quantity -= q; l.Quantity == 0 {
							continue
						}
						l.List = l.Quantity.At(l.Item.Price)
					}
				}
				l.Billed, l.Effective = l.List, l.List
				out = append(out, l)
			}
		}
		out = append(out,
			billing.Charge{Kind: billing.Purchase, From: from, To: to, Account: "acme", Project: plan.Scope.Project, Plan: plan, Billed: plan.Commitment},
			billing.Charge{Kind: billing.Unused, From: from, To: to, Account: "acme", Project: plan.Scope.Project, Plan: plan, Effective: left})
	}
	return out
}

// segmentsOf are what the sample's pods were in a day, in the ledger's order.
func segmentsOf(day time.Time, from, to int64) []usagev1.Segment {
	var out []usagev1.Segment
	for fi, f := range fleets {
		running := map[int]int64{} // by number, since
		for hour := int64(0); hour <= (to-from)/3_600_000; hour++ {
			at, want := from+hour*3_600_000, 0
			if at < to {
				want = f.pods(day.Day(), int(hour)%24)
			}
			for n := 0; n < 40; n++ {
				since, on := running[n]
				switch {
				case on && n >= want:
					delete(running, n)
					out = append(out, f.podOf(fi, day, n, since, at)...)
				case !on && n < want:
					running[n] = at
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b usagev1.Segment) int {
		if a.PodUID != b.PodUID {
			return map[bool]int{true: -1, false: 1}[a.PodUID < b.PodUID]
		}
		return int(a.Sequence - b.Sequence)
	})
	return out
}

func (f *fleet) podOf(index int, day time.Time, n int, since, until int64) []usagev1.Segment {
	random := rand.New(rand.NewPCG(uint64(day.YearDay()), uint64(index*100+n)+uint64(since)))
	letters := []byte("bcdfghjklmnpqrstvwxz2456789")
	suffix := make([]byte, 5)
	for i := range suffix {
		suffix[i] = letters[random.IntN(len(letters))]
	}
	s := usagev1.Segment{
		ID:        usagev1.ID{PodUID: fmt.Sprintf("%08x-%04x", random.Uint32(), index), Generation: 1, Sequence: 1},
		Namespace: f.project, Pod: f.workload + "-" + string(suffix), Node: fmt.Sprintf("node-%d", n%3), ComputeClass: f.class, QoS: f.qos,
		CPUMilli: f.cpu, MemoryBytes: f.memory, Labels: map[string]string{"app": f.workload, "team": map[bool]string{true: "web"}[f.project == "shop"]},
		Start: time.UnixMilli(since).UTC(), End: time.UnixMilli(until).UTC(),
	}
	if f.gpu > 0 {
		s.GPU = usagev1.GPU{Model: "H100", Milli: f.gpu, MemoryMiB: 40960}
	}
	if !f.resizes || until-since < 4*3_600_000 {
		return []usagev1.Segment{s}
	}
	var out []usagev1.Segment
	for at := since; at < until; at = s.End.UnixMilli() {
		s.Start, s.End = time.UnixMilli(at).UTC(), time.UnixMilli(min(until, at+3_600_000+random.Int64N(7_200_000))).UTC()
		s.CPUMilli, s.MemoryBytes = f.cpu/2*(1+random.Int64N(4)), f.memory/2*(1+random.Int64N(3))
		s.Burst = usagev1.Burst{Millis: 60_000, CPUMillis: 500 * 60_000}
		out = append(out, s)
		s.Generation, s.Sequence = s.Generation+1, s.Sequence+1
	}
	return out
}

// linesOf are a segment's charges without money.
func linesOf(t testing.TB, s *usagev1.Segment) []billing.Charge {
	from, to := s.Start.UnixMilli(), s.End.UnixMilli()
	ms := uint64(to - from)
	use := map[billing.Resource]billing.Quantity{}
	var burst billing.Quantity
	for of, units := range map[billing.Resource][2]uint64{
		billing.CPU: {uint64(s.CPUMilli), ms}, billing.GPU: {uint64(s.GPU.Milli), ms},
	} {
		q, err := billing.VCPU(units[0], units[1], billing.HalfEven)
		if err != nil {
			t.Fatal(err)
		}
		use[of] = q
	}
	burst, err := billing.VCPU(uint64(s.Burst.CPUMillis), 1, billing.HalfEven)
	if err != nil {
		t.Fatal(err)
	}
	use[billing.CPU] += burst
	if use[billing.Memory], err = billing.GiB(uint64(s.MemoryBytes), ms, billing.HalfEven); err != nil {
		t.Fatal(err)
	}
	var out []billing.Charge
	for _, of := range billing.Resources {
		if use[of] == 0 {
			continue
		}
		class, model := s.ComputeClass, ""
		if of == billing.GPU {
			model = s.GPU.Model
		}
		c := billing.Charge{From: from, To: to, Item: itemOf(class, s.QoS, of, model), Quantity: use[of]}
		if of == billing.CPU {
			c.Burst = burst
		}
		out = append(out, c)
	}
	return out
}
