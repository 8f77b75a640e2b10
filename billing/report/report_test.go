package report

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
)

var update = flag.Bool("update", false, "write the goldens")

func query(t testing.TB, params string) Query {
	t.Helper()
	v, err := url.ParseQuery(params)
	if err != nil {
		t.Fatal(err)
	}
	q, err := parsed(v)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// parsed is a query whose from and to are days of its zone, months, or instants.
func parsed(v url.Values) (Query, error) {
	zone, err := time.LoadLocation(v.Get("zone"))
	if err != nil {
		return Query{}, err
	}
	at := func(name string, otherwise time.Time) time.Time {
		for _, form := range []string{"2006-01", time.DateOnly, time.RFC3339} {
			if t, err := time.ParseInLocation(form, v.Get(name), zone); err == nil {
				if form != time.RFC3339 {
					return billing.Midnight(t.Year(), t.Month(), t.Day(), zone)
				}
				return t
			}
		}
		return otherwise
	}
	return ParseQuery(v, at("from", time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)), at("to", made), zone)
}

func reportOf(t testing.TB, q Query, charges []billing.Charge) *Report {
	t.Helper()
	a, err := NewAccumulator(q)
	if err != nil {
		t.Fatal(err)
	}
	for i := range charges {
		if err := a.Add(&charges[i]); err != nil {
			t.Fatal(err)
		}
	}
	r, err := a.Report("CNY")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const october = "from=2026-10&to=2026-11&zone=Europe/Berlin"

// TestRowsSumToTotals: whatever the grouping, rows sum to the totals, and those are the sums of all charges.
func TestRowsSumToTotals(t *testing.T) {
	charges := sample(t, time.October)
	var want Sums
	var millis int64
	for i := range charges {
		c := &charges[i]
		want.List, want.Billed, want.Effective = want.List.Plus(c.List), want.Billed.Plus(c.Billed), want.Effective.Plus(c.Effective)
		if c.Item != nil {
			want.Quantity[c.Item.SKU.Resource] += c.Quantity
		}
	}
	seen := map[usagev1.ID]bool{}
	for i := range charges {
		if s := charges[i].Segment; s != nil && !seen[s.ID] {
			seen[s.ID] = true
			millis += s.End.Sub(s.Start).Milliseconds()
		}
	}
	if want.Billed != want.Effective {
		t.Fatalf("the sample's plan doesn't add up: billed %s, effective %s", want.Billed, want.Effective)
	}
	for _, by := range []string{"", "project", "pod", "uid", "workload", "account", "label:team", "class", "qos", "region", "node", "plan", "kind",
		"day", "hour,project", "month", "project,class,day", "pod&limit=7", "workload,day&limit=3"} {
		r := reportOf(t, query(t, october+"&by="+by), charges)
		var sum Sums
		for i := range r.Rows {
			if err := sum.plus(&r.Rows[i].Sums); err != nil {
				t.Fatal(err)
			}
		}
		if sum.Burst != r.Total.Burst || r.Total.Burst.Sign() <= 0 {
			t.Errorf("by %s: bursts of rows sum to %s, the total is %s", by, sum.Burst, r.Total.Burst)
		}
		r.Total.Burst, sum.Burst = billing.Money{}, billing.Money{}
		want.Millis = millis
		if by == "plan" { // a second that a plan covers in part is in two rows
			sum.Millis = millis
		}
		if sum != r.Total || r.Total != want {
			t.Errorf("by %s: rows sum to %+v, the total is %+v, want %+v", by, sum, r.Total, want)
		}
		if r.Charges != int64(len(charges)) {
			t.Errorf("by %s: %d charges, want %d", by, r.Charges, len(charges))
		}
	}
	// A pod that is charged for CPU and memory lives once in each of the rows.
	r := reportOf(t, query(t, october+"&by=resource"), charges)
	for i := range r.Rows {
		if row := &r.Rows[i]; row.Key[0] == "memory" && row.Millis != millis {
			t.Errorf("memory: %d ms, want %d", row.Millis, millis)
		}
	}
}

// TestOracle compares with sums kept in maps, over charges in random order of pods.
func TestOracle(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	charges := sample(t, time.October)
	bySegment := map[string][]billing.Charge{}
	var ids []string
	for _, c := range charges {
		id := fmt.Sprint(c.Kind, c.From)
		if c.Segment != nil {
			id = c.Segment.ID.String()
		}
		if bySegment[id] == nil {
			ids = append(ids, id)
		}
		bySegment[id] = append(bySegment[id], c)
	}
	want := map[string]billing.Money{}
	lived := map[string]int64{}
	for _, c := range charges {
		day := time.UnixMilli(c.From).In(berlin).Format(time.DateOnly)
		want[day+" "+c.Project] = want[day+" "+c.Project].Plus(c.Effective)
	}
	for _, cs := range bySegment {
		if c := cs[0]; c.Segment != nil {
			lived[time.UnixMilli(c.From).In(berlin).Format(time.DateOnly)+" "+c.Project] += c.To - c.From
		}
	}
	var first *Report
	for range 3 {
		random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		var mixed []billing.Charge
		for _, id := range ids {
			mixed = append(mixed, bySegment[id]...)
		}
		r := reportOf(t, query(t, october+"&by=day,project"), mixed)
		if len(r.Rows) != len(want) {
			t.Fatalf("%d rows, want %d", len(r.Rows), len(want))
		}
		for i := range r.Rows {
			row := &r.Rows[i]
			key := row.Period.name(Daily, berlin) + " " + row.Key[0]
			if row.Effective != want[key] || row.Millis != lived[key] {
				t.Errorf("%s: %s and %d ms, want %s and %d", key, row.Effective, row.Millis, want[key], lived[key])
			}
		}
		if first == nil {
			first = r
		} else if !reflect.DeepEqual(first, r) {
			t.Error("another order of pods gives another report")
		}
	}
}

func TestLimit(t *testing.T) {
	charges := sample(t, time.October)
	all := reportOf(t, query(t, october+"&by=workload"), charges)
	r := reportOf(t, query(t, october+"&by=workload&limit=2"), charges)
	if len(r.Rows) != 3 || !r.Rows[2].Others || r.LeftOut != int64(len(all.Rows)-2) {
		t.Fatalf("%d rows, %d left out", len(r.Rows), r.LeftOut)
	}
	costs := make([]billing.Money, len(all.Rows))
	for i := range all.Rows {
		costs[i] = all.Rows[i].Effective
	}
	slices.SortFunc(costs, billing.Money.Compare)
	for _, row := range r.Rows[:2] {
		if row.Effective.Compare(costs[len(costs)-2]) < 0 {
			t.Errorf("%s costs %s and isn't one of the two dearest", row.Key, row.Effective)
		}
	}
}

// TestMemoryIsBounded: groups beyond what is kept go into the row of others, exactly.
func TestMemoryIsBounded(t *testing.T) {
	a, err := NewAccumulator(query(t, october+"&by=pod"))
	if err != nil {
		t.Fatal(err)
	}
	a.most = 100
	cpu := itemOf("general-purpose", "default", billing.CPU, "")
	s := &usagev1.Segment{}
	c := billing.Charge{From: a.periods[0].From, To: a.periods[0].From + 1000, Segment: s, Item: cpu, Quantity: 1, List: billing.MustMoney("1")}
	for i := range 1000 {
		s.PodUID, s.Pod = fmt.Sprint(i), fmt.Sprint("p", i)
		if err := a.Add(&c); err != nil {
			t.Fatal(err)
		}
	}
	r, err := a.Report("CNY")
	if err != nil {
		t.Fatal(err)
	}
	last := r.Rows[len(r.Rows)-1]
	if len(a.groups) != 100 || len(r.Rows) != 101 || !last.Others || last.List.String() != "900" || last.Millis != 900_000 || r.Total.List.String() != "1000" || r.LeftOut != 1 {
		t.Errorf("%d groups, %d rows, the last %+v of %+v", len(a.groups), len(r.Rows), last, r.Total)
	}
}

func TestSecondsAreCountedOnce(t *testing.T) {
	cpu, memory := itemOf("general-purpose", "default", billing.CPU, ""), itemOf("general-purpose", "default", billing.Memory, "")
	a, b := &usagev1.Segment{ID: usagev1.ID{PodUID: "a", Sequence: 1}}, &usagev1.Segment{ID: usagev1.ID{PodUID: "b", Sequence: 1}}
	plan := &billing.Plan{Name: "p"}
	at := query(t, october).From.UnixMilli()
	r := reportOf(t, query(t, october+"&by="), []billing.Charge{
		{From: at, To: at + 10, Segment: a, Item: cpu, Plan: plan}, {From: at, To: at + 10, Segment: a, Item: cpu}, // one part covered, one not
		{From: at + 10, To: at + 30, Segment: a, Item: cpu},
		{From: at, To: at + 10, Segment: a, Item: memory}, {From: at + 10, To: at + 30, Segment: a, Item: memory},
		{From: at, To: at + 5, Segment: b, Item: cpu},
		{From: at + 5, To: at + 60, Segment: b, Item: cpu, Minimum: true}, // nobody lived in it
		{From: at, To: at + 1000, Kind: billing.Purchase, Plan: plan},
	})
	if r.Total.Millis != 35 {
		t.Errorf("%d ms, want 35", r.Total.Millis)
	}
}

func TestTooMuch(t *testing.T) {
	a, err := NewAccumulator(query(t, october))
	if err != nil {
		t.Fatal(err)
	}
	c := billing.Charge{Item: itemOf("general-purpose", "default", billing.CPU, ""), Quantity: billing.MaxQuantity}
	if err := a.Add(&c); err != nil {
		t.Fatal(err)
	}
	if c.Quantity = 1; a.Add(&c) == nil {
		t.Error("more than a quantity can hold was added up")
	}
}

func TestGoldens(t *testing.T) {
	charges := sample(t, time.October)
	for name, params := range map[string]string{
		"by-project": october + "&by=project", "by-workload": october + "&by=workload&limit=4",
		"by-month-and-class": "from=2026-09-30&to=2026-11&zone=Europe/Berlin&by=class,qos,month", "by-plan": october + "&by=plan,kind",
		"by-day": "from=2026-10-24&to=2026-10-27&zone=Europe/Berlin&by=day", "team": october + "&by=label:team,project&labelSelector=team",
		"total": october + "&by=",
	} {
		r := reportOf(t, query(t, params), within(charges, query(t, params)))
		var text, csv strings.Builder
		if err := r.Table(&text); err != nil {
			t.Fatal(err)
		}
		if err := r.CSV(&csv); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".txt", text.String())
		golden(t, name+".csv", csv.String())
	}
}

// within are the charges of a query's time: the sample's are of one day each.
func within(charges []billing.Charge, q Query) []billing.Charge {
	var out []billing.Charge
	for _, c := range charges {
		if c.From >= q.From.UnixMilli() && c.From < q.To.UnixMilli() {
			out = append(out, c)
		}
	}
	return out
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// TestFormulas: a pod's name is a cell of text, whatever it begins with.
func TestFormulas(t *testing.T) {
	at := query(t, october).From.UnixMilli()
	var charges []billing.Charge
	for i, name := range []string{`=HYPERLINK("http://example.com")`, "+1", "-2+3", "@SUM(A1)", "\tx", "plain", "a\"b,c\n"} {
		s := &usagev1.Segment{ID: usagev1.ID{PodUID: fmt.Sprint(i)}, Labels: map[string]string{"x": name}}
		charges = append(charges, billing.Charge{From: at, To: at + 1, Segment: s, List: billing.MustMoney("-1"), Effective: billing.MustMoney("-1")})
	}
	r := reportOf(t, query(t, october+"&by=label:x"), charges)
	var csv, text strings.Builder
	if err := r.CSV(&csv); err != nil {
		t.Fatal(err)
	}
	if err := r.Table(&text); err != nil {
		t.Fatal(err)
	}
	golden(t, "formulas.csv", csv.String())
	if strings.Contains(text.String(), "\t") {
		t.Errorf("a tab reaches the terminal: %q", text.String())
	}
}
