package plans

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/billing"
)

var market = Market{Currency: "CNY", Offers: func() []billing.Offer {
	return []billing.Offer{
		{Name: "day-1y", Interval: billing.Day, TermDays: 365, ReturnWindow: 72 * time.Hour, Discounts: []billing.PlanDiscount{{Discount: 550_000}}},
		{Name: "hour-30d", Interval: billing.Hour, TermDays: 30, Discounts: []billing.PlanDiscount{{Class: "performance", Discount: 275_000}, {Discount: 300_000}}},
	}
}}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// buy is what the API server does with a new plan.
func buy(t *testing.T, bought, spec string, renewed *v1alpha1.SavingsPlan) (*v1alpha1.SavingsPlan, string) {
	t.Helper()
	p := &v1alpha1.SavingsPlan{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "u", CreationTimestamp: metav1.NewTime(at(t, bought))}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	market.Complete(p, renewed, p.CreationTimestamp.Time)
	if err := market.Validate(p).ToAggregate(); err != nil {
		return p, err.Error()
	}
	return p, ""
}

func TestPurchase(t *testing.T) {
	for name, c := range map[string]struct {
		bought, spec string
		start, end   string // instants
		until        string
	}{
		"the next midnight": {"2027-03-01T10:00:00Z", "{offer: day-1y, commitment: '12.5'}",
			"2027-03-02T00:00:00Z", "2028-03-01T00:00:00Z", "2027-03-04T10:00:00Z"},
		"at midnight itself the next one": {"2027-03-01T00:00:00Z", "{offer: day-1y, commitment: '12.5'}",
			"2027-03-02T00:00:00Z", "2028-03-01T00:00:00Z", "2027-03-04T00:00:00Z"},
		"tomorrow is the zone's": {"2027-03-01T17:00:00Z", "{offer: day-1y, commitment: '1', timeZone: Asia/Shanghai}",
			"2027-03-02T16:00:00Z", "2028-03-01T16:00:00Z", "2027-03-04T17:00:00Z"},
		"days over a change of clocks": {"2027-03-01T00:00:00Z", "{discounts: [{discount: 10%}], commitment: '1', timeZone: Europe/Berlin, startDate: 2027-03-28, termDays: 1}",
			"2027-03-27T23:00:00Z", "2027-03-28T22:00:00Z", "2027-03-02T00:00:00Z"},
		"no way back": {"2027-03-01T00:00:00Z", "{offer: hour-30d, commitment: '1', startDate: 2027-04-01}",
			"2027-04-01T00:00:00Z", "2027-05-01T00:00:00Z", "0001-01-01T00:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			p, problem := buy(t, c.bought, c.spec, nil)
			if problem != "" {
				t.Fatal(problem)
			}
			st := p.Status
			if !st.StartTime.Equal(ptr(at(t, c.start))) || !st.EndTime.Equal(ptr(at(t, c.end))) || !st.ReturnableUntil.Time.Equal(at(t, c.until)) {
				t.Errorf("%s to %s, back until %s; want %s, %s, %s", st.StartTime, st.EndTime, st.ReturnableUntil, c.start, c.end, c.until)
			}
			if st.Phase != v1alpha1.SavingsPlanQueued {
				t.Errorf("phase %q", st.Phase)
			}
			b, err := Plan(p)
			if err != nil {
				t.Fatal(err)
			}
			if b.Commitment != billing.MustMoney(p.Spec.Commitment) || !b.Start.Equal(at(t, c.start)) || !b.End.Equal(at(t, c.end)) || len(b.Discounts) != len(p.Spec.Discounts) ||
				b.Zone.String() != p.Spec.TimeZone || b.UID != "u" || (b.Interval == billing.Hour) != (p.Spec.Interval == v1alpha1.SavingsHour) {
				t.Errorf("%+v", b)
			}
		})
	}
}

func ptr(v time.Time) *metav1.Time { return &metav1.Time{Time: v} }

func TestOfferIsCopied(t *testing.T) {
	p, problem := buy(t, "2027-03-01T10:00:00Z", "{offer: hour-30d, commitment: '1', scope: {account: a, project: web, computeClass: performance}}", nil)
	if problem != "" {
		t.Fatal(problem)
	}
	want := []v1alpha1.SavingsDiscount{{ComputeClass: "performance", Discount: "27.5%"}, {Discount: "30%"}}
	if s := p.Spec; !slices.Equal(s.Discounts, want) || s.TermDays != 30 || s.Currency != "CNY" || *s.ReturnWindowSeconds != 0 {
		t.Errorf("%+v", s)
	}
	b, err := Plan(p)
	if err != nil {
		t.Fatal(err)
	}
	if b.Discounts[0] != (billing.PlanDiscount{Class: "performance", Discount: 275_000}) || b.Scope != (billing.Scope{Account: "a", Project: "web", Class: "performance"}) {
		t.Errorf("%+v", b)
	}
}

func TestPurchaseRefuses(t *testing.T) {
	for spec, want := range map[string]string{
		"{commitment: '1', termDays: 5}":                                           `spec.offer: Required value: the price book offers day-1y, hour-30d`,
		"{offer: gold, commitment: '1', termDays: 5, discounts: [{discount: 5%}]}": `spec.offer: Invalid value: "gold": isn't offered; the price book offers day-1y, hour-30d`,
		"{offer: day-1y}":                                                                          `spec.commitment: Required value`,
		"{offer: day-1y, commitment: '0'}":                                                         `spec.commitment: Invalid value: "0": must be more than 0`,
		"{offer: day-1y, commitment: '-5'}":                                                        `spec.commitment`,
		"{offer: day-1y, commitment: 'lots'}":                                                      `want a decimal`,
		"{offer: day-1y, commitment: '1000000000001'}":                                             `at most 1000000000000`,
		"{offer: day-1y, commitment: '1', currency: USD}":                                          `spec.currency: Unsupported value: "USD": supported values: "CNY"`,
		"{offer: day-1y, commitment: '1', timeZone: Mars}":                                         `spec.timeZone: Invalid value: "Mars"`,
		"{offer: day-1y, commitment: '1', timeZone: Local}":                                        `spec.timeZone`,
		"{offer: day-1y, commitment: '1', startDate: tomorrow}":                                    `spec.startDate: Invalid value: "tomorrow": must be a date such as 2027-01-31`,
		"{offer: day-1y, commitment: '1', startDate: 2027-03-01}":                                  `on 2027-03-02 at the earliest`,
		"{offer: day-1y, commitment: '1', startDate: 2037-04-01}":                                  `within ten years`,
		"{offer: day-1y, commitment: '1', termDays: 30}":                                           `spec.termDays: Invalid value: 30: offer day-1y has 365`,
		"{offer: day-1y, commitment: '1', interval: Hour}":                                         `spec.interval: Invalid value: "Hour": offer day-1y has Day`,
		"{offer: day-1y, commitment: '1', discounts: [{discount: 99%}]}":                           `spec.discounts`,
		"{offer: day-1y, commitment: '1', returnWindowSeconds: 864000}":                            `spec.returnWindowSeconds: Invalid value: 864000: offer day-1y has 259200`,
		"{commitment: '1', termDays: 0, discounts: [{discount: 5%}]}":                              `spec.termDays: Invalid value: 0`,
		"{commitment: '1', termDays: 4000, discounts: [{discount: 5%}]}":                           `spec.termDays`,
		"{commitment: '1', termDays: 5, interval: Week, discounts: [{discount: 5%}]}":              `spec.interval: Unsupported value: "Week"`,
		"{commitment: '1', termDays: 5, discounts: [{discount: 100%}]}":                            `spec.discounts[0].discount: Invalid value: "100%"`,
		"{commitment: '1', termDays: 5, discounts: [{discount: 0%}]}":                              `must be more than 0%`,
		"{commitment: '1', termDays: 5, discounts: [{discount: '5'}]}":                             `spec.discounts[0].discount`,
		"{commitment: '1', termDays: 5, discounts: [{discount: 5%, resource: disk}]}":              `spec.discounts[0].resource: Unsupported value: "disk"`,
		"{commitment: '1', termDays: 5, discounts: [{discount: 5%, computeClass: turbo}]}":         `spec.discounts[0].computeClass`,
		"{commitment: '1', termDays: 5, discounts: [{discount: 5%}], returnWindowSeconds: -1}":     `spec.returnWindowSeconds`,
		"{commitment: '1', termDays: 5, discounts: [{discount: 5%}], scope: {project: No_}}":       `spec.scope.project: Invalid value: "No_": must be the name of a namespace`,
		"{commitment: '1', termDays: 5, discounts: [{discount: 5%}], scope: {account: a/b}}":       `spec.scope.account`,
		"{commitment: '1', termDays: 5, discounts: [{discount: 5%}], scope: {computeClass: gold}}": `spec.scope.computeClass`,
	} {
		if _, problem := buy(t, "2027-03-01T10:00:00Z", spec, nil); !strings.Contains(problem, want) {
			t.Errorf("%s: %q, want %q", spec, problem, want)
		}
	}
}

func TestRenewal(t *testing.T) {
	old, problem := buy(t, "2027-03-01T10:00:00Z", "{offer: day-1y, commitment: '12.5', timeZone: Asia/Shanghai, scope: {project: web}}", nil)
	if problem != "" {
		t.Fatal(problem)
	}
	next, problem := buy(t, "2027-09-01T10:00:00Z", "{renews: p}", old)
	if problem != "" {
		t.Fatal(problem)
	}
	if !next.Status.StartTime.Equal(&old.Status.EndTime) || next.Spec.Commitment != "12.5" || next.Spec.Scope.Project != "web" || next.Spec.Offer != "day-1y" || next.Spec.TermDays != 365 {
		t.Errorf("%+v %+v", next.Spec, next.Status)
	}
	// On other terms, and of a plan whose offer is gone.
	other, problem := buy(t, "2027-09-01T10:00:00Z", "{renews: p, offer: hour-30d, commitment: '1'}", old)
	if problem != "" || other.Spec.Interval != v1alpha1.SavingsHour || other.Spec.TermDays != 30 || other.Spec.Commitment != "1" || other.Spec.TimeZone != "Asia/Shanghai" {
		t.Errorf("%q %+v", problem, other.Spec)
	}
	old.Spec.Offer = "gone"
	if next, problem = buy(t, "2027-09-01T10:00:00Z", "{renews: p}", old); problem != "" || len(next.Spec.Discounts) != 1 {
		t.Errorf("%q %+v", problem, next.Spec)
	}
	// Too late to follow without a gap.
	if next, problem = buy(t, "2028-09-01T10:00:00Z", "{renews: p}", old); problem != "" || next.Spec.StartDate != "2028-09-02" {
		t.Errorf("%q %+v", problem, next.Spec)
	}
}

func TestPhases(t *testing.T) {
	p, _ := buy(t, "2027-03-01T10:00:00Z", "{offer: day-1y, commitment: '1'}", nil)
	for when, want := range map[string]v1alpha1.SavingsPlanPhase{
		"2027-03-01T23:59:59Z": v1alpha1.SavingsPlanQueued, "2027-03-02T00:00:00Z": v1alpha1.SavingsPlanActive,
		"2028-02-29T23:59:59Z": v1alpha1.SavingsPlanActive, "2028-03-01T00:00:00Z": v1alpha1.SavingsPlanEnded,
	} {
		if got, _ := p.PhaseAt(at(t, when)); got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	p.Status.ReturnedAt = metav1.NewTime(at(t, "2027-03-02T00:00:00Z"))
	if got, next := p.PhaseAt(at(t, "2027-03-01T00:00:00Z")); got != v1alpha1.SavingsPlanReturned || !next.IsZero() {
		t.Errorf("%s until %s", got, next)
	}
}
