package billing

import "time"

// Interval is what a plan's commitment is for, each on its own: what one leaves is lost.
type Interval uint8

// The intervals.
const (
	Day  Interval = iota // a calendar day of the plan's zone, of 23, 24 or 25 hours
	Hour                 // an hour of the clock, UTC
)

func (i Interval) String() string { return [...]string{"day", "hour"}[i] }

// Plan is a savings plan: a commitment to spend an amount in each interval, drawn down by use at a discount. It
// doesn't change once it is bought.
type Plan struct {
	Name       string
	UID        string
	Interval   Interval
	Zone       *time.Location // whose midnights begin days
	Start, End time.Time      // both midnights of Zone; the end isn't part of it
	Commitment Money          // per interval
	Discounts  []PlanDiscount // the first that fits an item holds; an item that none fits isn't covered
	Scope      Scope
	Bought     time.Time
	Returned   time.Time // within its window; such a plan has never been
}

// PlanDiscount is a discount on some items. Empty fields fit all. Best-effort is never covered.
type PlanDiscount struct {
	Class    string
	Resource string // Resource's name
	Model    string
	Region   string
	Discount Discount
}

// Scope is whose use a plan covers; empty fields are everybody's.
type Scope struct {
	Account string
	Project string
	Class   string
}

// Covers reports whether the scope holds for use of a class.
func (s Scope) Covers(account, project, class string) bool {
	return (s.Account == "" || s.Account == account) && (s.Project == "" || s.Project == project) && (s.Class == "" || s.Class == class)
}

// Discount answers the plan's discount on an item.
func (p *Plan) Discount(i *Item) (Discount, bool) {
	if i.SKU.QoS == QoSBestEffort {
		return 0, false
	}
	for _, d := range p.Discounts {
		if (d.Class == "" || d.Class == i.SKU.Class) && (d.Resource == "" || d.Resource == i.SKU.Resource.String()) &&
			(d.Model == "" || d.Model == i.SKU.Model) && (d.Region == "" || d.Region == i.SKU.Region) {
			return d.Discount, true
		}
	}
	return 0, false
}

// QoSBestEffort is the quality of service that no plan covers.
const QoSBestEffort = "best-effort"

// Next answers the end of the interval that holds t, cut to the plan's end.
func (p *Plan) Next(t time.Time) time.Time {
	var end time.Time
	if p.Interval == Hour {
		end = t.UTC().Truncate(time.Hour).Add(time.Hour)
	} else {
		y, m, d := t.In(p.Zone).Date()
		end = Midnight(y, m, d+1, p.Zone)
	}
	if end.After(p.End) {
		return p.End
	}
	return end
}

// Midnight is the first instant of a day in a zone: 01:00 where the clock jumps over midnight.
func Midnight(year int, month time.Month, day int, zone *time.Location) time.Time {
	t := time.Date(year, month, day, 0, 0, 0, 0, zone)
	if t.Hour() == 0 {
		return t
	}
	// Date answered an instant on one side of a jump over midnight: the jump itself is the day's beginning.
	start, _ := t.ZoneBounds()
	if _, end := t.ZoneBounds(); t.Day() != time.Date(year, month, day, 12, 0, 0, 0, zone).Day() {
		return end
	}
	return start
}
