package plans

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/billing"
)

// Market is what plans are bought on.
type Market struct {
	Currency string
	// Offers answers those of the price book that holds now.
	Offers func() []billing.Offer
	// Models and regions aren't checked: a plan may be bought before the first node of its kind is there.
}

// Terms of a plan that no offer and no buyer names.
const (
	defaultReturnWindow = 24 * time.Hour
	dateLayout          = time.DateOnly
)

func (m Market) offer(name string) *billing.Offer {
	for _, o := range m.Offers() {
		if o.Name == name {
			return &o
		}
	}
	return nil
}

// Complete fills in what a purchase leaves open, from the plan that it renews and then from its offer, and fixes
// when it starts and ends. What can't be read is left for Validate.
func (m Market) Complete(p, renewed *v1alpha1.SavingsPlan, bought time.Time) {
	s := &p.Spec
	if renewed != nil {
		renew(s, renewed, bought)
	}
	if o := m.offer(s.Offer); o != nil {
		fromOffer(s, o)
	}
	set(&s.Interval, v1alpha1.SavingsDay)
	set(&s.Currency, m.Currency)
	set(&s.TimeZone, "UTC")
	if s.ReturnWindowSeconds == nil {
		window := int64(defaultReturnWindow / time.Second)
		s.ReturnWindowSeconds = &window
	}
	zone, err := parseZone(s.TimeZone)
	if err != nil {
		return
	}
	if s.StartDate == "" {
		y, month, d := bought.In(zone).Date()
		s.StartDate = time.Date(y, month, d+1, 0, 0, 0, 0, time.UTC).Format(dateLayout)
	}
	first, err := time.Parse(dateLayout, s.StartDate)
	if err != nil {
		return
	}
	y, month, d := first.Date()
	p.Status.StartTime = metav1.NewTime(billing.Midnight(y, month, d, zone).UTC())
	p.Status.EndTime = metav1.NewTime(billing.Midnight(y, month, d+int(s.TermDays), zone).UTC())
	if w := *s.ReturnWindowSeconds; w > 0 && w <= maxReturnWindow {
		p.Status.ReturnableUntil = metav1.NewTime(bought.Add(time.Duration(w) * time.Second).UTC())
	}
	p.Status.Phase, _ = p.PhaseAt(bought)
}

// renew takes over what the renewal doesn't say itself, and starts it where the old plan ends, if that is to come.
func renew(s *v1alpha1.SavingsPlanSpec, old *v1alpha1.SavingsPlan, bought time.Time) {
	own := s.Offer != "" || len(s.Discounts) > 0 // other terms
	if !own {
		s.Offer, s.Discounts = old.Spec.Offer, old.DeepCopy().Spec.Discounts
		set(&s.Interval, old.Spec.Interval)
		set(&s.TermDays, old.Spec.TermDays)
		if s.ReturnWindowSeconds == nil {
			s.ReturnWindowSeconds = old.DeepCopy().Spec.ReturnWindowSeconds
		}
	}
	set(&s.Commitment, old.Spec.Commitment)
	set(&s.Currency, old.Spec.Currency)
	set(&s.TimeZone, old.Spec.TimeZone)
	set(&s.Scope, old.Spec.Scope)
	if zone, err := parseZone(old.Spec.TimeZone); err == nil && old.Status.EndTime.After(bought) {
		set(&s.StartDate, old.Status.EndTime.In(zone).Format(dateLayout))
	}
}

// fromOffer takes over the offer's terms; a buyer who says others is refused.
func fromOffer(s *v1alpha1.SavingsPlanSpec, o *billing.Offer) {
	set(&s.Interval, intervalOf(o.Interval))
	set(&s.TermDays, int32(o.TermDays))
	if s.ReturnWindowSeconds == nil {
		window := int64(o.ReturnWindow / time.Second)
		s.ReturnWindowSeconds = &window
	}
	if s.Discounts == nil {
		s.Discounts = discountsOf(o.Discounts)
	}
	if o.Zone != nil {
		set(&s.TimeZone, o.Zone.String())
	}
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func intervalOf(i billing.Interval) v1alpha1.SavingsInterval {
	if i == billing.Hour {
		return v1alpha1.SavingsHour
	}
	return v1alpha1.SavingsDay
}

func discountsOf(list []billing.PlanDiscount) []v1alpha1.SavingsDiscount {
	out := make([]v1alpha1.SavingsDiscount, len(list))
	for i, d := range list {
		out[i] = v1alpha1.SavingsDiscount{ComputeClass: d.Class, Resource: d.Resource, Model: d.Model, Region: d.Region, Discount: d.Discount.String()}
	}
	return out
}

func offerNames(offers []billing.Offer) string {
	names := make([]string, len(offers))
	for i, o := range offers {
		names[i] = o.Name
	}
	if len(names) == 0 {
		return "the price book has no offers: name spec.discounts instead"
	}
	return "the price book offers " + strings.Join(names, ", ")
}
