package plan

import (
	"cmp"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"swell.dev/swell/billing"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func item(t testing.TB, sku billing.SKU, price, version string) *billing.Item {
	t.Helper()
	p, err := billing.ParsePrice(price)
	if err != nil {
		t.Fatal(err)
	}
	return &billing.Item{SKU: sku, ID: sku.ID(), Price: p, Version: version}
}

func vcpu(class, qos string) billing.SKU {
	return billing.SKU{Resource: billing.CPU, Class: class, QoS: qos}
}

func gib(class string) billing.SKU {
	return billing.SKU{Resource: billing.Memory, Class: class, QoS: "default"}
}

const percent billing.Discount = 10_000

func off(d billing.Discount) []billing.PlanDiscount {
	return []billing.PlanDiscount{{Discount: d}}
}

// world is random use and plans over some days in which clocks change.
type world struct {
	from, to int64
	plans    []*billing.Plan
	cells    []billing.Cell
}

func randomWorld(t testing.TB, r *rand.Rand) *world {
	start := time.Date(2026, 10, 23, 0, 0, 0, 0, time.UTC)
	if r.IntN(2) == 0 {
		start = time.Date(2026, 3, 27, 0, 0, 0, 0, time.UTC)
	}
	w := &world{from: start.UnixMilli(), to: start.AddDate(0, 0, 5).UnixMilli()}
	zones := []string{"UTC", "Asia/Shanghai", "Europe/Berlin", "Asia/Kathmandu", "America/Los_Angeles"}
	for i := range r.IntN(5) {
		z := zone(t, zones[r.IntN(len(zones))])
		y, m, d := start.AddDate(0, 0, r.IntN(4)-1).Date()
		p := &billing.Plan{Name: fmt.Sprint("plan-", i), UID: fmt.Sprint(i), Interval: billing.Interval(r.IntN(2)), Zone: z,
			Start: billing.Midnight(y, m, d, z), End: billing.Midnight(y, m, d+1+r.IntN(6), z),
			Commitment: billing.Quantity(r.Int64N(40e9)).At(30_000_000_000)}
		if p.Interval == billing.Hour {
			p.Commitment = billing.Quantity(r.Int64N(2e9)).At(30_000_000_000)
		}
		for range 1 + r.IntN(3) {
			p.Discounts = append(p.Discounts, billing.PlanDiscount{Class: []string{"", "performance", "general-purpose"}[r.IntN(3)],
				Resource: []string{"", "vcpu", "memory"}[r.IntN(3)], Discount: percent * billing.Discount(r.IntN(3)*20+15)})
		}
		p.Scope = billing.Scope{Account: []string{"", "", "a"}[r.IntN(3)], Project: []string{"", "", "p1"}[r.IntN(3)], Class: []string{"", "", "performance"}[r.IntN(3)]}
		if r.IntN(8) == 0 {
			p.Returned = start
		}
		w.plans = append(w.plans, p)
	}
	items := []*billing.Item{item(t, vcpu("general-purpose", "default"), "0.06", "1"), item(t, vcpu("general-purpose", "default"), "0.03", "2"),
		item(t, gib("general-purpose"), "0.03", "1"), item(t, vcpu("performance", "default"), "0.078", "1"),
		item(t, vcpu("general-purpose", "best-effort"), "0.012", "1"), item(t, gib("performance"), "0", "1")}
	cuts := append([]int64{w.from}, Boundaries(w.plans, w.from, w.to)...)
	cuts = append(cuts, w.to)
	for range 10 + r.IntN(100) {
		k := r.IntN(len(cuts) - 1)
		begin := cuts[k] + r.Int64N(cuts[k+1]-cuts[k])
		c := billing.Cell{From: begin, To: begin + r.Int64N(cuts[k+1]-begin+1), Account: string("ab"[r.IntN(2)]),
			Item: items[r.IntN(len(items))], Quantity: billing.Quantity(r.Int64N(3e9) >> r.IntN(20))}
		c.Project = "p" + string("12"[r.IntN(2)])
		w.cells = append(w.cells, c)
	}
	return w
}

// TestApplyIsTheDefinition compares with the definition, computed cell by cell in big integers.
func TestApplyIsTheDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	covered := 0
	for range 1500 {
		w := randomWorld(t, r)
		got, err := Apply(w.plans, w.cells, w.from, w.to)
		if err != nil {
			t.Fatal(err)
		}
		want := byDefinition(w)
		for i := range w.cells {
			var s []string
			for _, c := range got.Covers(i) {
				covered++
				s = append(s, fmt.Sprintf("%s %d %s", c.Plan.Name, c.Quantity, c.Draw))
				if c.Draw != c.Quantity.At(w.cells[i].Item.Price.Off(c.Discount)) {
					t.Fatalf("%d at %s less %s draws %s", c.Quantity, w.cells[i].Item.Price, c.Discount, c.Draw)
				}
			}
			if !slices.Equal(s, want[i]) {
				t.Fatalf("cell %d %+v is covered by %q, want %q", i, w.cells[i], s, want[i])
			}
			if left := got.Left(i, w.cells[i].Quantity); left < 0 {
				t.Fatalf("more of cell %d is covered than there is: %d are left", i, left)
			}
		}
		sums(t, w, got)
	}
	if covered < 10000 {
		t.Errorf("only %d covers: the test tests nothing", covered)
	}
}

// byDefinition answers what covers each cell.
func byDefinition(w *world) [][]string {
	type step struct {
		discount billing.Discount
		price    billing.Price
		plan     *billing.Plan
	}
	wide := func(p *billing.Plan) string { // project < class < account < all
		return fmt.Sprint(p.Scope.Project == "", p.Scope.Class == "", p.Scope.Account == "")
	}
	order := make([]int, len(w.cells))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		a, b := w.cells[i], w.cells[j]
		return cmp.Or(strings.Compare(a.Account, b.Account), strings.Compare(a.Project, b.Project), strings.Compare(a.Item.ID, b.Item.ID),
			strings.Compare(a.Item.Version, b.Item.Version), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Quantity, b.Quantity))
	})
	applies := func(p *billing.Plan, c billing.Cell) (billing.Discount, bool) {
		d, ok := p.Discount(c.Item)
		at := time.UnixMilli(c.From)
		return d, ok && p.Scope.Covers(c.Account, c.Project, c.Item.SKU.Class) && !at.Before(p.Start) && at.Before(p.End) &&
			p.Returned.IsZero() && c.Item.Price > 0
	}
	seen := map[step]bool{}
	var steps []step
	for _, p := range w.plans {
		for _, c := range w.cells {
			if d, ok := applies(p, c); ok && !seen[step{d, c.Item.Price, p}] {
				seen[step{d, c.Item.Price, p}] = true
				steps = append(steps, step{d, c.Item.Price, p})
			}
		}
	}
	slices.SortFunc(steps, func(a, b step) int {
		return cmp.Or(cmp.Compare(b.discount, a.discount), cmp.Compare(a.price, b.price), strings.Compare(wide(a.plan), wide(b.plan)),
			a.plan.Start.Compare(b.plan.Start), strings.Compare(a.plan.Name, b.plan.Name))
	})
	type interval struct {
		plan *billing.Plan
		at   time.Time
	}
	spent := map[interval]billing.Money{}
	left := make([]int64, len(w.cells))
	for i, c := range w.cells {
		left[i] = int64(c.Quantity)
	}
	covers := make([][]string, len(w.cells))
	for _, s := range steps {
		wanted := map[interval]int64{}
		of := func(i int) interval {
			begin, _ := s.plan.Bounds(time.UnixMilli(w.cells[i].From))
			return interval{s.plan, begin}
		}
		fits := func(i int) bool {
			d, ok := applies(s.plan, w.cells[i])
			return ok && d == s.discount && w.cells[i].Item.Price == s.price
		}
		for _, i := range order {
			if fits(i) {
				wanted[of(i)] += left[i]
			}
		}
		price := s.price.Off(s.discount)
		pays := map[interval]int64{}
		for at, q := range wanted {
			pays[at] = min(q, int64(s.plan.Commitment.Minus(spent[at]).Buys(price)))
		}
		upTo, handed := map[interval]int64{}, map[interval]int64{}
		for _, i := range order {
			if !fits(i) || left[i] == 0 {
				continue
			}
			at := of(i)
			upTo[at] += left[i]
			share := new(big.Int).Mul(big.NewInt(pays[at]), big.NewInt(upTo[at]))
			q := share.Div(share, big.NewInt(wanted[at])).Int64() - handed[at]
			if handed[at] += q; q == 0 {
				continue
			}
			left[i] -= q
			draw := billing.Quantity(q).At(price)
			spent[at] = spent[at].Plus(draw)
			covers[i] = append(covers[i], fmt.Sprintf("%s %d %s", s.plan.Name, q, draw))
		}
	}
	return covers
}

// sums checks that each interval's commitment is what was drawn and what wasn't, and that little use is left at list
// where commitment is.
func sums(t *testing.T, w *world, r *Result) {
	t.Helper()
	type interval struct {
		plan *billing.Plan
		at   int64
	}
	drawn, list := map[interval]billing.Money{}, map[interval]billing.Money{}
	for i, c := range w.cells {
		for _, cover := range r.Covers(i) {
			begin, _ := cover.Plan.Bounds(time.UnixMilli(c.From))
			at := interval{cover.Plan, begin.UnixMilli()}
			drawn[at] = drawn[at].Plus(cover.Draw)
			list[at] = list[at].Plus(cover.Quantity.At(c.Item.Price))
		}
	}
	for _, u := range r.Uses {
		at := interval{u.Plan, u.From}
		if u.Used != drawn[at] || u.List != list[at] || u.Used.Plus(u.Unused) != u.Commitment || u.Commitment != u.Plan.Commitment || u.Unused.Sign() < 0 {
			t.Fatalf("%s from %s: %s used, %s unused of %s; draws are %s, at list %s of %s", u.Plan.Name, instant(u.From), u.Used, u.Unused, u.Commitment, drawn[at], u.List, list[at])
		}
		delete(drawn, at)
		for i, c := range w.cells {
			d, ok := u.Plan.Discount(c.Item)
			if !ok || !u.Plan.Scope.Covers(c.Account, c.Project, c.Item.SKU.Class) || c.From < u.From || c.From >= u.To || c.Item.Price == 0 {
				continue
			}
			if left := r.Left(i, c.Quantity); left > 0 && u.Unused.Compare(billing.Quantity(1).At(c.Item.Price.Off(d))) >= 0 {
				t.Fatalf("%s has %s unused, though %d of %+v is at list", u.Plan.Name, u.Unused, left, c)
			}
		}
	}
	if len(drawn) > 0 {
		t.Fatalf("drawn from what isn't among the intervals: %v", drawn)
	}
}

// TestAnyPartition cuts cells into parts, shuffles them, and wants the same cover of their sums.
func TestAnyPartition(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 500 {
		w := randomWorld(t, r)
		whole, err := Apply(w.plans, w.cells, w.from, w.to)
		if err != nil {
			t.Fatal(err)
		}
		var parts []billing.Cell
		for _, c := range w.cells {
			for c.To-c.From > 1 && r.IntN(3) > 0 {
				p := c
				p.To = c.From + 1 + r.Int64N(c.To-c.From-1)
				p.Quantity = billing.Quantity(r.Int64N(int64(c.Quantity) + 1))
				c.From, c.Quantity = p.To, c.Quantity-p.Quantity
				parts = append(parts, p)
			}
			parts = append(parts, c)
		}
		r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		plans := slices.Clone(w.plans)
		r.Shuffle(len(plans), func(i, j int) { plans[i], plans[j] = plans[j], plans[i] })
		cut, err := Apply(plans, parts, w.from, w.to)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(cut.Uses, whole.Uses) {
			t.Fatalf("uses\n%+v\nwant\n%+v", cut.Uses, whole.Uses)
		}
		// What cells of one project, item and interval get together doesn't depend on the cuts; which of two cells
		// that overlap gets how much of it does, since their parts stand in another order.
		sum := func(r *Result, cells []billing.Cell) map[string]billing.Quantity {
			m := map[string]billing.Quantity{}
			cuts := Boundaries(w.plans, w.from, w.to)
			for i, c := range cells {
				k, _ := slices.BinarySearch(cuts, c.From+1)
				for _, cover := range r.Covers(i) {
					m[fmt.Sprint(c.Account, c.Project, c.Item.ID, c.Item.Version, k, cover.Plan.Name)] += cover.Quantity
				}
			}
			return m
		}
		a, b := sum(whole, w.cells), sum(cut, parts)
		for k, q := range a {
			if b[k] != q {
				t.Fatalf("%s: %d is covered of the parts, %d of the whole", k, b[k], q)
			}
		}
	}
}
