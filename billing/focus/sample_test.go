package focus

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
)

// sample is a bill made by hand: what an engine would yield.
type sample struct {
	opts    Options
	plans   []*billing.Plan
	charges []billing.Charge
}

func item(t testing.TB, sku billing.SKU, price, version string) *billing.Item {
	p, err := billing.ParsePrice(price)
	if err != nil {
		t.Fatal(err)
	}
	return &billing.Item{SKU: sku, ID: sku.ID(), Price: p, Version: version}
}

func day(d int) time.Time { return time.Date(2026, 10, d, 0, 0, 0, 0, time.UTC) }

func segment(uid, namespace, pod, class, qos string, sequence int64, start, end time.Time) *usagev1.Segment {
	return &usagev1.Segment{
		ID: usagev1.ID{PodUID: uid, Generation: 1, Sequence: sequence}, Namespace: namespace, Pod: pod, Node: "node-1", ComputeClass: class, QoS: qos,
		CPUMilli: 2000, MemoryBytes: 4 << 30, Start: start, End: end, Region: "eu-1", Labels: map[string]string{"app": pod, "team": `"a", b`},
	}
}

func onDemand(s *usagev1.Segment, account string, i *billing.Item, q billing.Quantity, from, to time.Time) billing.Charge {
	list := q.At(i.Price)
	return billing.Charge{Kind: billing.Usage, From: from.UnixMilli(), To: to.UnixMilli(), Account: account, Project: s.Namespace, Segment: s, Item: i,
		Quantity: q, List: list, Billed: list, Effective: list}
}

func covered(c billing.Charge, p *billing.Plan) billing.Charge {
	d, ok := p.Discount(c.Item)
	if !ok {
		panic("the plan doesn't cover " + c.Item.ID)
	}
	c.Plan, c.Billed, c.Effective = p, billing.Money{}, c.Quantity.At(c.Item.Price.Off(d))
	return c
}

// interval closes an interval of a plan: what it is billed, and what the charges of it leave.
func interval(p *billing.Plan, from, to time.Time, charges []billing.Charge) []billing.Charge {
	left := p.Commitment
	for i := range charges {
		if charges[i].Plan == p && charges[i].From >= from.UnixMilli() && charges[i].From < to.UnixMilli() {
			left = left.Minus(charges[i].Effective)
		}
	}
	own := billing.Charge{Kind: billing.Purchase, From: from.UnixMilli(), To: to.UnixMilli(), Account: p.Scope.Account, Plan: p, Billed: p.Commitment}
	out := []billing.Charge{own}
	if !left.IsZero() {
		own.Kind, own.Billed, own.Effective = billing.Unused, billing.Money{}, left
		out = append(out, own)
	}
	return out
}

// october is two days of two projects: a web pod that a plan covers in part and that is resized, a best-effort job, a
// pod with a share of a GPU, money given back, and a fact that came after September's invoice.
func october(t testing.TB) *sample {
	cpu := item(t, billing.SKU{Resource: billing.CPU, Class: "general-purpose", QoS: "default"}, "0.06", "2026-01")
	memory := item(t, billing.SKU{Resource: billing.Memory, Class: "general-purpose", QoS: "default"}, "0.03", "2026-01")
	spot := item(t, billing.SKU{Resource: billing.CPU, Class: "general-purpose", QoS: "best-effort"}, "0.012", "2026-01")
	gpu := item(t, billing.SKU{Resource: billing.GPU, Class: "gpu", QoS: "default", Model: "H100", Region: "eu-1"}, "19.5", "2026-01")
	storage := item(t, billing.SKU{Resource: billing.Storage, Class: "general-purpose", QoS: "default"}, "0.000125", "2026-01")
	plan := &billing.Plan{
		Name: "base", UID: "5f0c7c1e-0000-4000-8000-000000000001", Interval: billing.Day, Zone: time.UTC, Start: day(1), End: day(31), Commitment: billing.MustMoney("1.5"),
		Discounts: []billing.PlanDiscount{{Class: "general-purpose", Discount: 550_000}}, Scope: billing.Scope{Account: "acme"}, Bought: day(1).Add(-30 * time.Hour),
	}
	later := &billing.Plan{
		Name: "burst", UID: "5f0c7c1e-0000-4000-8000-000000000002", Interval: billing.Hour, Zone: time.UTC, Start: day(15), End: time.Date(2027, 10, 15, 0, 0, 0, 0, time.UTC),
		Commitment: billing.MustMoney("0.25"), Discounts: []billing.PlanDiscount{{Resource: "gpu", Discount: 300_000}, {Discount: 200_000}}, Scope: billing.Scope{Project: "web"}, Bought: day(2),
	}
	s := &sample{plans: []*billing.Plan{plan, later}, opts: Options{
		Currency: "CNY", Offers: []billing.Offer{{Name: "day-30", Interval: billing.Day, TermDays: 30, Discounts: plan.Discounts}},
		Invoices: []Invoice{{ID: "2026-09-acme", Account: "acme", From: time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC).UnixMilli(), To: day(1).UnixMilli(), Currency: "CNY",
			Total: billing.MustMoney("12.34"), Closed: day(3)}},
	}}
	add := func(c ...billing.Charge) { s.charges = append(s.charges, c...) }
	for d := 1; d <= 2; d++ {
		noon := day(d).Add(12 * time.Hour)
		a := segment("uid-web", "web", "web-0", "general-purpose", "default", int64(2*d-1), day(d), noon)
		b := segment("uid-web", "web", "web-0", "general-purpose", "default", int64(2*d), noon, day(d+1))
		b.CPUMilli = 4000
		half := 24 * billing.Quantity(1_000_000_000)
		add(covered(onDemand(a, "acme", cpu, half, day(d), noon), plan), covered(onDemand(a, "acme", memory, 2*half, day(d), noon), plan))
		add(onDemand(b, "acme", cpu, 2*half+billing.Quantity(d), noon, day(d+1)), onDemand(b, "acme", memory, 2*half, noon, day(d+1)))
		s.charges[len(s.charges)-2].Burst = 1_500_000_001
		add(onDemand(a, "acme", storage, 123_456_789, day(d), noon))
	}
	job := segment("uid-job", "batch", "job-7", "general-purpose", "best-effort", 1, day(1).Add(time.Hour), day(1).Add(time.Hour+17*time.Second+250*time.Millisecond))
	job.Region, job.Labels = "", nil
	add(onDemand(job, "acme", spot, 9_583_333, day(1).Add(time.Hour), day(1).Add(time.Hour+17*time.Second+250*time.Millisecond)))
	minimum := onDemand(job, "acme", spot, 23_750_000, job.End, day(1).Add(time.Hour+time.Minute))
	minimum.Minimum = true
	add(minimum)
	train := segment("uid-train", "batch", "train-0", "gpu", "default", 1, day(2), day(2).Add(90*time.Minute))
	train.GPU = usagev1.GPU{Model: "H100", Milli: 250, MemoryMiB: 20 << 10}
	for h := range 2 {
		from, to := day(2).Add(time.Duration(h)*time.Hour), day(2).Add(min(time.Duration(h+1)*time.Hour, 90*time.Minute))
		add(onDemand(train, "acme", gpu, billing.Quantity(to.Sub(from).Milliseconds()*250_000/3_600), from, to))
	}
	add(interval(plan, day(1), day(2), s.charges)...)
	add(interval(plan, day(2), day(3), s.charges)...)
	refund := billing.MustMoney("-3.5")
	add(billing.Charge{Kind: billing.Adjustment, From: day(2).UnixMilli() + 777, To: day(2).UnixMilli() + 777, Account: "acme", Project: "web",
		Billed: refund, Effective: refund, Adjustment: "credit-1: the outage of 1 October"})
	late := segment("uid-old", "web", "old-0", "general-purpose", "default", 9, day(1).Add(-26*time.Hour), day(1).Add(-25*time.Hour))
	c := onDemand(late, "acme", cpu, 2_000_000_000, late.Start, late.End)
	c.Correction = "2026-09-acme"
	known := onDemand(late, "acme", memory, 4_000_000_000, late.Start, late.End)
	known.Invoice = "2026-09-acme"
	add(c, known)
	return s
}

// random is a bill of some pods over some days, with plans that cover parts of it.
func random(t testing.TB, seed uint64) *sample {
	r := rand.New(rand.NewPCG(seed, 7))
	var items []*billing.Item
	for _, class := range []string{"general-purpose", "performance", "gpu"} {
		for _, qos := range []string{"default", "best-effort"} {
			for _, resource := range billing.Resources {
				sku := billing.SKU{Resource: resource, Class: class, QoS: qos}
				if resource == billing.GPU || resource == billing.GPUMemory {
					sku.Model = "L4"
				}
				for _, version := range []string{"a", "b"} {
					items = append(items, item(t, sku, fmt.Sprintf("%d.%012d", r.IntN(3), r.Int64N(1e12)), version))
				}
			}
		}
	}
	s := &sample{opts: Options{Currency: "EUR", Provider: "Example", Zone: time.UTC, Offers: []billing.Offer{{Interval: billing.Hour, Discounts: []billing.PlanDiscount{{Discount: 10_000}}}}}}
	for i := range 3 {
		s.plans = append(s.plans, &billing.Plan{
			Name: fmt.Sprint("plan-", i), UID: fmt.Sprint("plan-uid-", i), Interval: billing.Interval(r.IntN(2)), Zone: time.UTC, Start: day(1), End: day(5),
			Commitment: billing.MustMoney(fmt.Sprintf("%d.%021d", r.IntN(1000), r.Int64N(1e18))),
			Discounts:  []billing.PlanDiscount{{Discount: billing.Discount(r.IntN(1_000_000))}}, Scope: billing.Scope{Account: "a"}, Bought: day(1),
		})
	}
	left := map[string]billing.Money{} // of the intervals of plans that something was covered in
	cover := func(c billing.Charge, p *billing.Plan) billing.Charge {
		from, _ := p.Bounds(time.UnixMilli(c.From))
		key := p.UID + from.String()
		if _, ok := left[key]; !ok {
			left[key] = p.Commitment
		}
		of := covered(c, p)
		if rest := left[key].Minus(of.Effective); rest.Sign() >= 0 {
			left[key] = rest
			return of
		}
		return c
	}
	for pod := range 12 {
		class, qos := []string{"general-purpose", "performance", "gpu"}[r.IntN(3)], []string{"default", "best-effort"}[r.IntN(2)]
		start := day(1).Add(time.Duration(r.Int64N(int64(60 * time.Hour))).Truncate(time.Millisecond))
		for n := range r.IntN(4) + 1 {
			end := start.Add(time.Duration(r.Int64N(int64(5*time.Hour))) + time.Millisecond).Truncate(time.Millisecond)
			seg := segment(fmt.Sprint("uid-", pod), fmt.Sprint("project-", pod%3), fmt.Sprint("pod-", pod), class, qos, int64(n+1), start, end)
			for from := start; from.Before(end); {
				to := from.Truncate(time.Hour).Add(time.Hour)
				if to.After(end) {
					to = end
				}
				for _, i := range items {
					if i.SKU.Class != class || i.SKU.QoS != qos || r.IntN(3) > 0 {
						continue
					}
					c := onDemand(seg, "a", i, billing.Quantity(r.Int64N(1e12)+1), from, to)
					c.Burst = billing.Quantity(r.Int64N(int64(c.Quantity) + 1))
					if p := s.plans[r.IntN(3)]; qos == "default" && r.IntN(2) == 0 {
						c = cover(c, p)
					}
					s.charges = append(s.charges, c)
				}
				from = to
			}
			start = end
		}
	}
	usage := slices.Clone(s.charges)
	for _, p := range s.plans {
		for from := p.Start; from.Before(p.End); {
			_, to := p.Bounds(from)
			s.charges = append(s.charges, interval(p, from, to, usage)...)
			from = to
		}
	}
	return s
}
