package budgets

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

func instant(t testing.TB, text string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func specOf(t testing.TB, text string) v1alpha1.BudgetSpec {
	t.Helper()
	s := v1alpha1.BudgetSpec{Currency: "CNY", TimeZone: "UTC", HardStop: v1alpha1.HardStopNone}
	if err := yaml.UnmarshalStrict([]byte(text), &s); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	for i := range s.Thresholds {
		if s.Thresholds[i].Of == "" {
			s.Thresholds[i].Of = v1alpha1.BudgetActual
		}
	}
	return s
}

func budgetFor(t testing.TB, text string) *budget {
	t.Helper()
	o := &v1alpha1.Budget{Spec: specOf(t, text)}
	o.Name, o.Namespace, o.UID = "monthly", "shop", "u1"
	b, err := read(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDefaultGrace(t *testing.T) {
	if b := budgetFor(t, "{amount: '1', hardStop: DenyAndStop}"); b.grace != 5*time.Minute {
		t.Error(b.grace)
	}
}

const unit = 1_000_000 // of the currency

// TestMonth looks at one budget over a month and into the next.
func TestMonth(t *testing.T) {
	b := budgetFor(t, "{amount: '1000', thresholds: [{percent: 50}, {percent: 90, of: Forecast}, {percent: 100}], hardStop: DenyAndStop, graceSeconds: 600, timeZone: Asia/Shanghai}")
	first := instant(t, "2027-03-01T08:00:00+08:00")
	for _, c := range []struct {
		at      string
		spent   int64
		state   v1alpha1.BudgetState
		alerts  []string
		stop    bool
		crossed int
	}{
		{"2027-03-01T08:30:00+08:00", 1 * unit, "Within", nil, false, 0}, // too early to foresee anything
		{"2027-03-02T08:00:00+08:00", 20 * unit, "Within", nil, false, 0},
		{"2027-03-03T08:00:00+08:00", 60 * unit, "Within", []string{"BudgetForecast"}, false, 1}, // 30 a day for 30.67 days
		{"2027-03-10T08:00:00+08:00", 100 * unit, "Within", nil, false, 1},                       // foreseen no more, and not told again
		{"2027-03-11T08:00:00+08:00", 500 * unit, "Within", []string{"BudgetThreshold"}, false, 2},
		{"2027-03-12T08:00:00+08:00", 1000*unit - 1, "Within", nil, false, 2},
		{"2027-03-12T08:00:01+08:00", 1000 * unit, "Denying", []string{"BudgetThreshold", "BudgetSpent"}, false, 3},
		{"2027-03-12T08:10:00+08:00", 1001 * unit, "Denying", nil, false, 3},
		{"2027-03-12T08:10:01+08:00", 1001 * unit, "Stopping", nil, true, 3},
		{"2027-03-31T23:59:59+08:00", 1002 * unit, "Stopping", nil, true, 3},
		{"2027-04-01T00:00:00+08:00", 0, "Within", nil, false, 0},
	} {
		now := instant(t, c.at)
		b.turn(now)
		out := b.look(now, Spending{Spent: c.spent, PerHour: unit, First: first})
		var reasons []string
		for _, a := range out.alerts {
			reasons = append(reasons, a.reason)
		}
		if out.status.State != c.state || !slices.Equal(reasons, c.alerts) || out.stop != c.stop || len(out.status.Crossed) != c.crossed ||
			(out.denied != nil) != (c.state == "Denying" || c.state == "Stopping") {
			t.Errorf("%s with %d spent: %s, alerts %v, stop %v, crossed %v, denied %v; want %+v", c.at, c.spent, out.status.State, reasons, out.stop, out.status.Crossed, out.denied, c)
		}
		if c.state == "Denying" {
			for _, part := range []string{"budget shop/monthly is spent", " of 1000.000000 CNY since 2027-03-01T00:00:00+08:00", "until the month ends at 2027-04-01T00:00:00+08:00"} {
				if !strings.Contains(out.denied.Error(), part) {
					t.Errorf("%s: %q, want %q", c.at, out.denied, part)
				}
			}
		}
	}
}

func TestRaisedAndLowered(t *testing.T) {
	now := instant(t, "2027-03-15T00:00:00Z")
	spent := Spending{Spent: 600 * unit, First: instant(t, "2027-03-01T00:00:00Z")}
	k := &book{known: map[time.Time]map[string]Spending{instant(t, "2027-03-01T00:00:00Z").UTC(): {"shop": spent}}}
	look := func(spec string, generation int64) (outcome, *denials) {
		o := &v1alpha1.Budget{Spec: specOf(t, spec)}
		o.Name, o.Namespace, o.UID, o.Generation = "monthly", "shop", "u1", generation
		if errs := k.read([]controlplane.Object{o}); errs != nil {
			t.Fatal(errs)
		}
		outs, d := k.look(now, func(string) string { return "default" })
		return outs[controlplane.Key{Resource: budgetsResource, Namespace: "shop", Name: "monthly"}], d
	}
	out, d := look("{amount: '500', hardStop: Deny, thresholds: [{percent: 100}, {percent: 200, of: Forecast}]}", 1)
	if out.status.State != v1alpha1.BudgetDenying || d.projects["shop"] == nil || len(out.alerts) != 3 || out.status.Percent != "120.0%" {
		t.Errorf("%+v", out)
	}
	out, d = look("{amount: '2000', hardStop: Deny, thresholds: [{percent: 100}, {percent: 200, of: Forecast}]}", 2)
	if out.status.State != v1alpha1.BudgetWithin || d.projects["shop"] != nil || len(out.status.Crossed) != 0 || len(out.alerts) != 1 || out.alerts[0].reason != "BudgetRestored" {
		t.Errorf("%+v", out)
	}
	if out, d = look("{amount: '600', hardStop: None}", 3); out.status.State != v1alpha1.BudgetSpent || d.projects["shop"] != nil {
		t.Errorf("%+v", out)
	}
	// One that is removed and made anew knows nothing of before.
	k.read(nil)
	if out, _ = look("{amount: '600', hardStop: Deny}", 1); len(out.alerts) != 1 {
		t.Errorf("%+v", out)
	}
}

func TestAccountsAddUp(t *testing.T) {
	month := instant(t, "2027-03-01T00:00:00Z").UTC()
	k := &book{known: map[time.Time]map[string]Spending{month: {
		"a1": {Spent: 400 * unit, PerHour: 1, First: month}, "a2": {Spent: 600 * unit, PerHour: 2}, "b1": {Spent: 5000 * unit},
	}}}
	o := &v1alpha1.AccountBudget{Spec: v1alpha1.AccountBudgetSpec{Account: "a", BudgetSpec: specOf(t, "{amount: '1000', hardStop: Deny}")}}
	o.Name, o.UID = "everything", "u2"
	if errs := k.read([]controlplane.Object{o}); errs != nil {
		t.Fatal(errs)
	}
	outs, d := k.look(instant(t, "2027-03-02T00:00:00Z"), func(project string) string { return project[:1] })
	st := outs[controlplane.Key{Resource: accountBudgetsResource, Name: "everything"}].status
	if st.Spent != "1000.000000" || st.PerHour != "0.000003" || d.accounts["a"] == nil || d.accounts["b"] != nil || len(d.projects) != 0 {
		t.Errorf("%+v, %v", st, d)
	}
	if !strings.Contains(d.accounts["a"].Error(), "budget everything of account a is spent") {
		t.Error(d.accounts["a"])
	}
}

// TestMonthsOfZones: where the clock jumps over the midnight of a first, and where months are an hour longer or shorter.
func TestMonthsOfZones(t *testing.T) {
	for _, c := range []struct{ zone, now, from, until string }{
		{"UTC", "2027-12-31T23:59:59Z", "2027-12-01T00:00:00Z", "2028-01-01T00:00:00Z"},
		{"Europe/Berlin", "2027-03-15T00:00:00Z", "2027-02-28T23:00:00Z", "2027-03-31T22:00:00Z"},
		{"Asia/Kathmandu", "2027-03-31T18:15:00Z", "2027-03-31T18:15:00Z", "2027-04-30T18:15:00Z"},
		{"America/Asuncion", "2017-10-01T04:30:00Z", "2017-10-01T04:00:00Z", "2017-11-01T03:00:00Z"}, // at 00:00 of October 1st the clock said 01:00
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		from, until := monthOf(instant(t, c.now), zone)
		if !from.Equal(instant(t, c.from)) || !until.Equal(instant(t, c.until)) {
			t.Errorf("%s at %s: %s to %s, want %s to %s", c.zone, c.now, from.UTC(), until.UTC(), c.from, c.until)
		}
	}
}

func TestHugeAmounts(t *testing.T) {
	b := budgetFor(t, "{amount: '100000000000', thresholds: [{percent: 1000}]}")
	now := instant(t, "2027-03-15T00:00:00Z")
	b.turn(now)
	if out := b.look(now, Spending{Spent: 1<<63 - 1, First: instant(t, "2027-03-01T00:00:00Z")}); out.status.Percent != "9223.3%" || len(out.status.Crossed) != 1 || out.status.Forecast != "9223372036854.775807" {
		t.Errorf("%+v", out.status)
	}
	if s := (Spending{Spent: 1<<63 - 2}).plus(Spending{Spent: 5}); s.Spent != 1<<63-1 {
		t.Error(s)
	}
}

// TestAnyMonth: however spending goes on and whenever the control plane starts anew, each threshold is told of once a
// month at most, a budget denies from when it is spent to the month's end, and its grace isn't begun again.
func TestAnyMonth(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 7))
		b := budgetFor(t, "{amount: '100', thresholds: [{percent: 10}, {percent: 60}, {percent: 100}, {percent: 150}, {percent: 120, of: Forecast}], hardStop: DenyAndStop, graceSeconds: 3600, timeZone: America/Sao_Paulo}")
		told := map[string]int{}
		var month time.Time
		var spent int64
		var since, stopAt time.Time
		for now := instant(t, "2027-01-20T00:00:00Z"); now.Before(instant(t, "2027-04-10T00:00:00Z")); now = now.Add(time.Duration(r.Int64N(int64(20 * time.Hour)))) {
			if r.IntN(3) == 0 { // anew, with what was stored
				o := &v1alpha1.Budget{Spec: specOf(t, "{amount: '100', thresholds: [{percent: 10}, {percent: 60}, {percent: 100}, {percent: 150}, {percent: 120, of: Forecast}], hardStop: DenyAndStop, graceSeconds: 3600, timeZone: America/Sao_Paulo}")}
				o.Name, o.Namespace, o.UID = "monthly", "shop", "u1"
				o.Status = Kept(b.status(now, nil))
				raw, err := json.Marshal(o)
				if err != nil {
					t.Fatal(err)
				}
				o = &v1alpha1.Budget{}
				if err := json.Unmarshal(raw, o); err != nil {
					t.Fatal(err)
				}
				if b, err = read(o); err != nil {
					t.Fatal(err)
				}
			}
			b.turn(now)
			if !b.from.Equal(month) {
				month, spent, since, stopAt = b.from, 0, time.Time{}, time.Time{}
				clear(told)
			}
			spent += r.Int64N(8 * unit)
			if spent >= 100*unit && since.IsZero() {
				since = now
			}
			out := b.look(now, Spending{Spent: spent, First: b.from})
			for _, a := range out.alerts {
				of := a.reason
				if i := strings.Index(a.message, "which is "); i >= 0 {
					of += a.message[i:]
				}
				if told[of]++; told[of] > 1 {
					t.Fatalf("seed %d at %s: told again: %s", seed, now, a.message)
				}
			}
			if (out.denied != nil) != !since.IsZero() {
				t.Fatalf("seed %d at %s: %d spent, denied: %v", seed, now, spent, out.denied)
			}
			if out.denied != nil {
				if stopAt.IsZero() {
					stopAt = out.status.StopTime.Time
				}
				if !out.status.StopTime.Time.Equal(stopAt) || out.stop != !now.Before(stopAt) {
					t.Fatalf("seed %d at %s: pods are ended at %s, it was %s; now: %v", seed, now, out.status.StopTime, stopAt, out.stop)
				}
			}
		}
	}
}
