package plans

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/billing"
)

// Bounds of what may be bought.
const (
	maxTermDays     = 3660
	maxAhead        = 3660 * 24 * time.Hour // of the start
	maxReturnWindow = 366 * 24 * 60 * 60    // seconds
	maxDiscounts    = 100
	maxCommitment   = "1000000000000"
)

// Validate answers what is wrong with a plan that Complete has seen. The plan's creation is its purchase.
func (m Market) Validate(p *v1alpha1.SavingsPlan) field.ErrorList {
	at, s := field.NewPath("spec"), &p.Spec
	var errs field.ErrorList
	if s.Offer == "" && len(s.Discounts) == 0 {
		errs = append(errs, field.Required(at.Child("offer"), offerNames(m.Offers())))
	}
	// A renewal keeps its terms, whether or not they are still offered.
	if o := m.offer(s.Offer); s.Offer != "" && o == nil && s.Renews == "" {
		errs = append(errs, field.Invalid(at.Child("offer"), s.Offer, "isn't offered; "+offerNames(m.Offers())))
	} else if o != nil && s.Renews == "" {
		errs = append(errs, asOffered(s, o, at)...)
	}
	if s.Interval != v1alpha1.SavingsDay && s.Interval != v1alpha1.SavingsHour {
		errs = append(errs, field.NotSupported(at.Child("interval"), s.Interval, []v1alpha1.SavingsInterval{v1alpha1.SavingsDay, v1alpha1.SavingsHour}))
	}
	errs = append(errs, validateDiscounts(s.Discounts, at.Child("discounts"))...)
	errs = append(errs, validateCommitment(s.Commitment, at.Child("commitment"))...)
	if s.Currency != m.Currency {
		errs = append(errs, field.NotSupported(at.Child("currency"), s.Currency, []string{m.Currency}))
	}
	errs = append(errs, validateTerm(p, at)...)
	if w := *s.ReturnWindowSeconds; w < 0 || w > maxReturnWindow {
		errs = append(errs, field.Invalid(at.Child("returnWindowSeconds"), w, fmt.Sprintf("must be between 0 and %d", maxReturnWindow)))
	}
	return append(errs, validateScope(s.Scope, at.Child("scope"))...)
}

// asOffered answers where a purchase says other terms than its offer.
func asOffered(s *v1alpha1.SavingsPlanSpec, o *billing.Offer, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	other := func(name string, value any, offered any) {
		errs = append(errs, field.Invalid(at.Child(name), value, fmt.Sprintf("offer %s has %v; leave it out, or buy without an offer", o.Name, offered)))
	}
	if want := intervalOf(o.Interval); s.Interval != want {
		other("interval", s.Interval, want)
	}
	if s.TermDays != int32(o.TermDays) {
		other("termDays", s.TermDays, o.TermDays)
	}
	if want := int64(o.ReturnWindow / time.Second); *s.ReturnWindowSeconds != want {
		other("returnWindowSeconds", *s.ReturnWindowSeconds, want)
	}
	if want := discountsOf(o.Discounts); !slices.Equal(s.Discounts, want) {
		other("discounts", s.Discounts, want)
	}
	return errs
}

func validateDiscounts(list []v1alpha1.SavingsDiscount, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(list) > maxDiscounts {
		errs = append(errs, field.TooMany(at, len(list), maxDiscounts))
	}
	for i, d := range list {
		p := at.Index(i)
		switch v, err := billing.ParseDiscount(d.Discount); {
		case err != nil:
			errs = append(errs, field.Invalid(p.Child("discount"), d.Discount, "must be a percentage below 100%, such as 55%, of at most four decimal places"))
		case v == 0:
			errs = append(errs, field.Invalid(p.Child("discount"), d.Discount, "must be more than 0%"))
		}
		errs = append(errs, validateClass(d.ComputeClass, p.Child("computeClass"))...)
		if _, ok := billing.ParseResource(d.Resource); !ok && d.Resource != "" {
			errs = append(errs, field.NotSupported(p.Child("resource"), d.Resource, resourceNames()))
		}
		for _, name := range []struct{ field, value string }{{"model", d.Model}, {"region", d.Region}} {
			errs = append(errs, validateName(name.value, p.Child(name.field))...)
		}
	}
	return errs
}

func resourceNames() []string {
	var names []string
	for _, r := range billing.Resources {
		names = append(names, r.String())
	}
	return names
}

func validateClass(class string, at *field.Path) field.ErrorList {
	known := []string{v1alpha1.ClassGeneralPurpose, v1alpha1.ClassPerformance, v1alpha1.ClassGPU}
	if class != "" && !slices.Contains(known, class) {
		return field.ErrorList{field.NotSupported(at, class, known)}
	}
	return nil
}

func validateName(name string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, problem := range validation.IsValidLabelValue(name) {
		errs = append(errs, field.Invalid(at, name, problem))
	}
	return errs
}

func validateCommitment(s string, at *field.Path) field.ErrorList {
	v, err := billing.ParseMoney(s)
	switch {
	case s == "":
		return field.ErrorList{field.Required(at, "what is committed to each interval, as a decimal such as \"12.5\"")}
	case err != nil:
		return field.ErrorList{field.Invalid(at, s, err.Error())}
	case v.Sign() <= 0 || v.Compare(billing.MustMoney(maxCommitment)) > 0:
		return field.ErrorList{field.Invalid(at, s, "must be more than 0 and at most "+maxCommitment)}
	}
	return nil
}

func validateTerm(p *v1alpha1.SavingsPlan, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	s := &p.Spec
	if s.TermDays < 1 || s.TermDays > maxTermDays {
		errs = append(errs, field.Invalid(at.Child("termDays"), s.TermDays, fmt.Sprintf("must be between 1 and %d calendar days", maxTermDays)))
	}
	zone, err := parseZone(s.TimeZone)
	if err != nil {
		return append(errs, field.Invalid(at.Child("timeZone"), s.TimeZone, "must be a name of the IANA time zone database, such as Asia/Shanghai"))
	}
	if _, err := time.Parse(dateLayout, s.StartDate); err != nil {
		return append(errs, field.Invalid(at.Child("startDate"), s.StartDate, "must be a date such as 2027-01-31"))
	}
	bought, start := p.CreationTimestamp.Time, p.Status.StartTime.Time
	switch {
	case !start.After(bought):
		y, m, d := bought.In(zone).Date()
		errs = append(errs, field.Invalid(at.Child("startDate"), s.StartDate, fmt.Sprintf("has begun already in %s: a plan starts at a midnight to come, on %s at the earliest",
			s.TimeZone, time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC).Format(dateLayout))))
	case start.Sub(bought) > maxAhead:
		errs = append(errs, field.Invalid(at.Child("startDate"), s.StartDate, "must be within ten years"))
	}
	return errs
}

func validateScope(s v1alpha1.SavingsScope, at *field.Path) field.ErrorList {
	errs := validateName(s.Account, at.Child("account"))
	if s.Project != "" {
		for _, problem := range validation.IsDNS1123Label(s.Project) {
			errs = append(errs, field.Invalid(at.Child("project"), s.Project, "must be the name of a namespace: "+problem))
		}
	}
	return append(errs, validateClass(s.ComputeClass, at.Child("computeClass"))...)
}
