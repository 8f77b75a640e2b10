package plan

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"swell.dev/swell/billing"
)

// shippedItems are those of the shipped prices.
func shippedItems(t testing.TB) Items {
	book, err := billing.ShippedBook(billing.DefaultBook)
	if err != nil {
		t.Fatal(err)
	}
	return func(class string) (*billing.Item, *billing.Item, error) {
		r, err := book.Rates(class, "default", "")
		if err != nil {
			return nil, nil, err
		}
		return r.CPU, r.Memory, nil
	}
}

func TestTraceIsReadByLine(t *testing.T) {
	for name, c := range map[string]struct{ text, says string }{
		"empty":            {"", "trace x.csv: it is empty: want a line with the columns time,vcpu,gib[,class]"},
		"only comments":    {"# nothing\n", "it is empty"},
		"unknown column":   {"time,vcpu,gib,colour\n", `trace x.csv:1: header: unknown column "colour"`},
		"column twice":     {"time,vcpu,vcpu,gib\n", `column "vcpu" is there twice`},
		"missing column":   {"# a comment\ntime,vcpu\n", `trace x.csv:2: header: column "gib" is missing`},
		"no rows":          {"time,vcpu,gib\n", "0 instants: want at least two"},
		"one row":          {"time,vcpu,gib\n0,1,1\n", "1 instants"},
		"bad time":         {"time,vcpu,gib\nyesterday,1,1\n", `trace x.csv:2: time: "yesterday"`},
		"before 1970":      {"time,vcpu,gib\n-1,1,1\n", `time: "-1"`},
		"after 2100":       {"time,vcpu,gib\n2101-01-01,1,1\n", `time: "2101-01-01"`},
		"not a number":     {"time,vcpu,gib\n0,many,1\n", `trace x.csv:2: vcpu: "many": want a number between 0 and 1000000`},
		"negative":         {"time,vcpu,gib\n0,1,-1\n", `gib: "-1"`},
		"infinite":         {"time,vcpu,gib\n0,Inf,1\n", `vcpu: "Inf"`},
		"no number at all": {"time,vcpu,gib\n0,NaN,1\n", `vcpu: "NaN"`},
		"out of order":     {"time,vcpu,gib\n3600,1,1\n# so\n0,1,1\n", "trace x.csv:4: time: 1970-01-01T00:00:00Z is before the row above"},
		"twice":            {"time,vcpu,gib\n0,1,1\n0,1,1\n", `trace x.csv:3: time: 1970-01-01T00:00:00Z is given twice for class "general-purpose"`},
		"a field less":     {"time,vcpu,gib\n0,1\n", "trace x.csv:2: wrong number of fields"},
		"a bare quote":     {"time,vcpu,gib\n0,1\"1,1\n", "trace x.csv:2: bare \""},
	} {
		if _, err := ReadTrace("x.csv", strings.NewReader(c.text), time.UTC); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	broken := errors.New("the disk is gone")
	if _, err := ReadTrace("x.csv", failing{broken}, time.UTC); !errors.Is(err, broken) {
		t.Errorf("%v, want that %v", err, broken)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestDemandIsRated wants rows to last until the next instant, and their cost not to depend on where they are cut.
func TestDemandIsRated(t *testing.T) {
	text := `gib,class,time,vcpu
1,performance,2026-03-01 00:00,0.5
4, general-purpose, 2026-03-01 00:00, 2
0,general-purpose,2026-02-28T17:00:00Z,1.5
`
	trace, err := ReadTrace("x.csv", strings.NewReader(text), zone(t, "Asia/Shanghai"))
	if err != nil {
		t.Fatal(err)
	}
	items := shippedItems(t)
	for _, cuts := range [][]int64{nil, {trace.From + 1, trace.From + 1_234_567, trace.To - 1}} {
		cells, err := trace.Cells(items, cuts)
		if err != nil {
			t.Fatal(err)
		}
		sums := map[string]billing.Quantity{}
		for _, c := range cells {
			sums[c.Item.ID] += c.Quantity
		}
		// One hour of each row: the last one lasts as long as the one before it.
		want := map[string]billing.Quantity{"performance/default/vcpu": 5e8, "performance/default/memory": 1e9, "general-purpose/default/vcpu": 35e8, "general-purpose/default/memory": 4e9}
		if fmt.Sprint(sums) != fmt.Sprint(want) {
			t.Errorf("cut at %v: %v, want %v", cuts, sums, want)
		}
	}
	if trace.From != ms(t, "2026-02-28T16:00:00Z") || trace.To != ms(t, "2026-02-28T18:00:00Z") {
		t.Errorf("from %s to %s", instant(trace.From), instant(trace.To))
	}
}

func TestSimulateRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, says string }{
		"a part of a day":  {"time,vcpu,gib\n2026-03-01 00:00,1,1\n2026-03-01 11:30,1,1\n", "trace x.csv: 2026-03-01T00:00:00Z to 2026-03-01T23:00:00Z: want at least one whole day of UTC"},
		"an unknown class": {"time,vcpu,gib,class\n2026-03-01,1,1,general-purpose\n2026-03-02,1,1,turbo\n", `trace x.csv:3: class: price book exact-1: no price for class "turbo"`},
	} {
		trace, err := ReadTrace("x.csv", strings.NewReader(c.text), time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Simulate(trace, shippedItems(t), fiftyFive, time.UTC, Options{}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

// TestPeakCapacity is by hand: each class's peak of each resource, for all of two days.
func TestPeakCapacity(t *testing.T) {
	text := "time,vcpu,gib,class\n2026-03-01 00:00,10,5,general-purpose\n2026-03-01 00:00,1,1,performance\n2026-03-01 12:00,2,50,general-purpose\n" +
		"2026-03-02 00:00,0,0,general-purpose\n2026-03-02 12:00,1,1,general-purpose\n2026-03-03 00:00,500,500,general-purpose\n2026-03-03 01:00,1,1,general-purpose\n"
	trace, err := ReadTrace("x.csv", strings.NewReader(text), time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Simulate(trace, shippedItems(t), fiftyFive, time.UTC, Options{})
	if err != nil {
		t.Fatal(err)
	}
	// 12 h × (10 + 2 + 1) × 0.06 + 12 h × (5 + 50 + 1) × 0.03 + 12 h × (0.078 + 0.039), and
	// 48 h × (10 × 0.06 + 50 × 0.03 + 0.078 + 0.039).
	if s.Days != 2 || s.List != billing.MustMoney("30.924") || s.Peak != billing.MustMoney("106.416") {
		t.Errorf("%d days, list %s, peak %s", s.Days, s.List, s.Peak)
	}
	for _, p := range s.Plans {
		if p.Peak != billing.MustMoney("47.8872") { // less 55 %
			t.Errorf("%s: peak %s", p.Candidate.Offer.Name, p.Peak)
		}
	}
}

// TestTheTide holds what docs/billing/plans.md says of the demand that is shipped.
func TestTheTide(t *testing.T) {
	chicago := zone(t, "America/Chicago")
	file, err := os.Open("../../examples/savings/tide.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	trace, err := ReadTrace("tide.csv", file, chicago)
	if err != nil {
		t.Fatal(err)
	}
	least, most := trace.rows[0].milli, trace.rows[0].milli
	for _, r := range trace.rows {
		least, most = min(least, r.milli), max(most, r.milli)
		if r.to-r.from != 3_600_000 {
			t.Fatalf("the row of line %d lasts for %d ms", r.line, r.to-r.from)
		}
	}
	if most != 10*least {
		t.Errorf("between %d and %d m: want 10:1", least, most)
	}
	s, err := Simulate(trace, shippedItems(t), fiftyFive, chicago, Options{})
	if err != nil {
		t.Fatal(err)
	}
	compared(t, s)
	day, hour := s.Plans[0], s.Plans[1]
	if s.Days != 181 || day.Candidate.Offer.Name != "daily" || s.List != billing.MustMoney("237321") || s.Peak != billing.MustMoney("521160") {
		t.Errorf("%d days, %s first, list %s, peak %s", s.Days, day.Candidate.Offer.Name, s.List, s.Peak)
	}
	for name, c := range map[string]struct{ got, want float64 }{
		"day": {day.InSample.Saving(), 0.531}, "day, out of sample": {day.Rolling.Saving(), 0.532}, "day, worst": {day.Worst.Saving(), 0.522},
		"hour": {hour.InSample.Saving(), 0.320}, "hour, out of sample": {hour.Rolling.Saving(), 0.319}, "day, regret": {day.Rolling.Regret(), 0.001},
	} {
		if c.got < c.want-0.0005 || c.got >= c.want+0.0005 {
			t.Errorf("%s: %.4f, want %.3f", name, c.got, c.want)
		}
	}
	if day.Commitment != billing.MustMoney("604.15") || day.InSample.Cost.Fixed(2) != "111368.59" || hour.InSample.Cost.Fixed(2) != "161423.49" {
		t.Errorf("commitment %s, cost %s by the day, %s by the hour", day.Commitment, day.InSample.Cost.Fixed(2), hour.InSample.Cost.Fixed(2))
	}
	if day.ChanceToLose != 0 || day.Rolling.Lost != 0 || day.Rolling.Windows != 6 {
		t.Errorf("chance to lose %g, %d of %d windows", day.ChanceToLose, day.Rolling.Lost, day.Rolling.Windows)
	}
}
