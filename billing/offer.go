package billing

import "time"

// Offer is a savings plan that a price book sells. What was bought isn't changed by later books: a plan keeps the
// offer's terms.
type Offer struct {
	Name         string
	Interval     Interval
	TermDays     int           // calendar days of the plan's zone
	ReturnWindow time.Duration // from the purchase; 0: it can't be returned
	Discounts    []PlanDiscount
	Zone         *time.Location // nil: the buyer chooses
}
