package admission

import (
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/fixed"
)

// Budgets admits budgets in the currency of the price book.
type Budgets struct{ Currency string }

// BudgetPlaces are the decimal places that a budget's amount may have, and that spending is compared in.
const BudgetPlaces = 6

const (
	maxThresholds       = 20
	maxThresholdPercent = 1000
	maxGrace            = 7 * 24 * 60 * 60 // seconds
	// maxBudget keeps amounts, and what is spent of them ten times over, within 64 bits of millionths.
	maxBudget = 100_000_000_000
)

// Default fills in what a budget leaves open.
func (b Budgets) Default(s *v1alpha1.BudgetSpec) {
	set(&s.Currency, b.Currency)
	set(&s.TimeZone, "UTC")
	set(&s.HardStop, v1alpha1.HardStopNone)
	if s.Thresholds == nil {
		s.Thresholds = []v1alpha1.BudgetThreshold{{Percent: 50}, {Percent: 80}, {Percent: 100}}
	}
	for i := range s.Thresholds {
		set(&s.Thresholds[i].Of, v1alpha1.BudgetActual)
	}
}

// Validate answers what is wrong with a budget that is complete.
func (b Budgets) Validate(s *v1alpha1.BudgetSpec) field.ErrorList {
	at := field.NewPath("spec")
	var errs field.ErrorList
	switch v, err := fixed.Parse(s.Amount, BudgetPlaces); {
	case s.Amount == "":
		errs = append(errs, field.Required(at.Child("amount"), "what a calendar month may cost, as a decimal such as \"1500\""))
	case err != nil:
		errs = append(errs, field.Invalid(at.Child("amount"), s.Amount, err.Error()))
	case v <= 0 || v > maxBudget*1_000_000:
		errs = append(errs, field.Invalid(at.Child("amount"), s.Amount, "must be more than 0 and at most 100000000000"))
	}
	if s.Currency != b.Currency {
		errs = append(errs, field.NotSupported(at.Child("currency"), s.Currency, []string{b.Currency}))
	}
	if _, err := time.LoadLocation(s.TimeZone); err != nil || s.TimeZone == "Local" {
		errs = append(errs, field.Invalid(at.Child("timeZone"), s.TimeZone, "must be a name of the IANA time zone database, such as Europe/Berlin"))
	}
	errs = append(errs, validateThresholds(s.Thresholds, at.Child("thresholds"))...)
	errs = append(errs, supported(at.Child("hardStop"), s.HardStop, v1alpha1.HardStopNone, v1alpha1.HardStopDeny, v1alpha1.HardStopEnd)...)
	if g := s.GraceSeconds; g != nil {
		switch {
		case s.HardStop != v1alpha1.HardStopEnd:
			errs = append(errs, field.Forbidden(at.Child("graceSeconds"), "is of hardStop DenyAndStop, by which pods are ended"))
		case *g < 0 || *g > maxGrace:
			errs = append(errs, field.Invalid(at.Child("graceSeconds"), *g, "must be between 0 and 604800"))
		}
	}
	return errs
}

func validateThresholds(list []v1alpha1.BudgetThreshold, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(list) > maxThresholds {
		errs = append(errs, field.TooMany(at, len(list), maxThresholds))
	}
	seen := map[v1alpha1.BudgetThreshold]bool{}
	for i, t := range list {
		p := at.Index(i)
		if t.Percent < 1 || t.Percent > maxThresholdPercent {
			errs = append(errs, field.Invalid(p.Child("percent"), t.Percent, "must be between 1 and 1000"))
		}
		errs = append(errs, supported(p.Child("of"), t.Of, v1alpha1.BudgetActual, v1alpha1.BudgetForecast)...)
		if seen[t] {
			errs = append(errs, field.Duplicate(p, t))
		}
		seen[t] = true
	}
	return errs
}
