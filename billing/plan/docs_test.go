package plan

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"swell.dev/swell/billing"
)

// The tests here hold docs/billing/plans.md: what it says by hand is computed.

func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/billing/plans.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// rows are those of the page's table with this heading.
func rows(t *testing.T, page, heading string) (out [][]string) {
	t.Helper()
	_, rest, found := strings.Cut(page, "\n"+heading+"\n")
	lines := strings.Split(rest, "\n")
	if !found || len(lines) < 2 {
		t.Fatalf("docs/billing/plans.md has no table %s", heading)
	}
	for _, line := range lines[1:] {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		out = append(out, cells)
	}
	return out
}

func says(t *testing.T, page, format string, args ...any) {
	t.Helper()
	if s := fmt.Sprintf(format, args...); !strings.Contains(page, s) {
		t.Errorf("docs/billing/plans.md doesn't say %q", s)
	}
}

func TestDayByHand(t *testing.T) {
	text := page(t)
	from, to := ms(t, "2026-11-10T00:00:00Z"), ms(t, "2026-11-11T00:00:00Z")
	memory := dayPlan(t, "memory", "UTC", "2026-11-10", "2026-11-11", "2.40", 60*percent)
	memory.Discounts[0].Resource = "memory"
	all := dayPlan(t, "all", "UTC", "2026-11-10", "2026-11-11", "18.36", 55*percent)
	says(t, text, "`memory` takes 60 %% off memory, for 2.40 a day; `all` takes 55 %% off everything, for 18.36 a day.")

	cpu, mem, err := shippedItems(t)("general-purpose")
	if err != nil {
		t.Fatal(err)
	}
	items := map[string]*billing.Item{"vcpu": cpu, "memory": mem}
	var cells, quiet []billing.Cell
	var list billing.Money
	for _, row := range rows(t, text, "| project | resource | unit-hours | list price | list cost |") {
		hours, err := strconv.ParseInt(row[2], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		c := billing.Cell{From: from, To: to, Account: "a", Project: row[0], Item: items[row[1]], Quantity: billing.Quantity(hours * 1e9)}
		cost := c.Quantity.At(c.Item.Price)
		if c.Item.Price.String() != row[3] || cost.Fixed(2) != row[4] {
			t.Errorf("%v: the price is %s, the cost %s", row, c.Item.Price, cost.Fixed(2))
		}
		cells, list = append(cells, c), list.Plus(cost)
		if c.Project == "web" {
			c.Quantity /= 4
			quiet = append(quiet, c)
		}
	}
	r, err := Apply([]*billing.Plan{memory, all}, cells, from, to)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	rest := billing.Money{}
	for i, c := range cells {
		for _, cover := range r.Covers(i) {
			got = append(got, fmt.Sprint([]string{c.Project, c.Item.SKU.Resource.String(), cover.Plan.Name, strconv.FormatInt(int64(cover.Quantity/1e9), 10), cover.Draw.Fixed(2)}))
		}
		rest = rest.Plus(r.Left(i, c.Quantity).At(c.Item.Price))
	}
	var want []string
	for _, row := range rows(t, text, "| project | resource | plan | unit-hours | drawn |") {
		want = append(want, fmt.Sprint(row))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("covered are %v, want %v", got, want)
	}
	cost := rest.Plus(memory.Commitment).Plus(all.Commitment)
	says(t, text, "The day costs 2.40 + 18.36 for the commitments and 300 × 0.06 = %s at list, %s in place of %s.", rest.Fixed(2), cost.Fixed(2), list.Fixed(2))

	if r, err = Apply([]*billing.Plan{memory, all}, quiet, from, to); err != nil {
		t.Fatal(err)
	}
	list = billing.Money{}
	for i, c := range quiet {
		list = list.Plus(c.Quantity.At(c.Item.Price))
		if r.Left(i, c.Quantity) != 0 {
			t.Errorf("%+v isn't covered", c)
		}
	}
	for _, u := range r.Uses {
		if u.Plan == all {
			says(t, text, "its other %s is lost", u.Unused.Fixed(2))
		}
	}
	commitments := memory.Commitment.Plus(all.Commitment)
	says(t, text, "240 GiB-hours, %s at list", list.Fixed(2))
	says(t, text, "The day costs %s: %s more than without plans.", commitments.Fixed(2), commitments.Minus(list).Fixed(2))
}

func TestBestCommitmentByHand(t *testing.T) {
	text := page(t)
	h := &History{From: ms(t, "2026-11-10T00:00:00Z")}
	it := item(t, vcpu("general-purpose", "default"), "0.1", "1")
	h.To = h.From
	for _, spend := range []int64{40, 50, 60, 70, 80} {
		h.Cells = append(h.Cells, billing.Cell{From: h.To, To: h.To + 1000, Item: it, Quantity: billing.Quantity(spend * 10e9)})
		h.To += 24 * 3_600_000
	}
	c := fiftyFive[1]
	out, err := Recommend(h, []Candidate{c}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	table := rows(t, text, "| list spend of five days | x | commitment | cost | saving |")
	least := table[0]
	for _, row := range table {
		f, err := Foresee(h, c, billing.MustMoney(row[2]), Options{})
		if err != nil {
			t.Fatal(err)
		}
		x, _ := strconv.ParseFloat(row[1], 64)
		if row[2] != fmt.Sprintf("%.2f", 0.45*x) || f.Cost.Fixed(2) != row[3] || fmt.Sprintf("%.1f %%", 100*f.Saving()) != row[4] {
			t.Errorf("%v: the cost is %s, the saving %.1f %%", row, f.Cost.Fixed(2), 100*f.Saving())
		}
		if row[3] < least[3] {
			least = row
		}
	}
	if out[0].Commitment.Fixed(2) != least[2] {
		t.Errorf("the best commitment is %s, want %s", out[0].Commitment, least[2])
	}
}

func TestTableOfLoads(t *testing.T) {
	table := rows(t, page(t), "| load | by the hour | out of sample | by the day | out of sample | at a loss |")
	if len(table) != len(loads) {
		t.Errorf("%d rows, want %d", len(table), len(loads))
	}
	for _, row := range table {
		hourly, daily := recommended(t, loads[row[0]].noisy().history(t, 224))
		got := []string{row[0]}
		for _, v := range []float64{hourly.InSample.Saving(), hourly.Rolling.Saving(), daily.InSample.Saving(), daily.Rolling.Saving()} {
			got = append(got, fmt.Sprintf("%.1f %%", 100*v))
		}
		got = append(got, fmt.Sprintf("%d of %d", daily.Rolling.Lost, daily.Rolling.Windows))
		if !slices.Equal(got, row) {
			t.Errorf("the table says %v, the loads come to %v", row, got)
		}
	}
}

// compared holds the page's comparisons on the tide.
func compared(t *testing.T, s *Simulation) {
	t.Helper()
	day, hour := &s.Plans[0], &s.Plans[1]
	less := func(than billing.Money) string {
		o := Outcome{List: than, Cost: day.InSample.Cost}
		return fmt.Sprintf("%.1f %%", 100*o.Saving())
	}
	table := rows(t, page(t), "| what it is compared with | what the plan by the day costs less |")
	for i, want := range []string{fmt.Sprintf("%s (%.1f %% out of sample, on the days after the first 28)", less(s.List), 100*day.Rolling.Saving()),
		less(hour.InSample.Cost), less(s.Peak), less(day.Peak)} {
		if table[i][1] != want {
			t.Errorf("compared with %s: the page says %s, want %s", table[i][0], table[i][1], want)
		}
	}
}
