package billing

import "time"

// Interval is what a plan's commitment is for, each on its own: what one leaves is lost.
type Interval uint8

// The intervals.
const (
	Day  Interval = iota // a calendar day of the plan's zone, of 23, 24 or 25 hours
	Hour                 // an hour, counted from the plan's start
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

// Bounds answers the interval that holds t, which is within the plan's time: cut to the plan's start and end, though
// both begin and end intervals of days. Hours are counted from the start, so that a zone of half hours has whole ones.
func (p *Plan) Bounds(t time.Time) (from, to time.Time) {
	if p.Interval == Hour {
		from = t.Add(-t.Sub(p.Start) % time.Hour)
		to = from.Add(time.Hour)
	} else {
		y, m, d := t.In(p.Zone).Date()
		from, to = Midnight(y, m, d, p.Zone), Midnight(y, m, d+1, p.Zone)
		// A clock that is put back over midnight shows the day before once more: that hour is the new day's.
		for n := 2; !to.After(t); n++ {
			from, to = to, Midnight(y, m, d+n, p.Zone)
		}
	}
	if from.Before(p.Start) {
		from = p.Start
	}
	if to.After(p.End) {
		to = p.End
	}
	return from, to
}

// Midnight is the first instant at which a zone's clock shows a day or a later one: 01:00 where the clock jumps over
// midnight, the first of two midnights, and the next day's where the zone leaves a day out.
func Midnight(year int, month time.Month, day int, zone *time.Location) time.Time {
	// No zone is a day away from UTC, so that the walk begins before midnight; then the first period of the zone
	// in which the clock reaches it has it.
	utc := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	for t := utc.AddDate(0, 0, -1).In(zone); ; {
		_, offset := t.Zone()
		at := utc.Add(-time.Duration(offset) * time.Second).In(zone)
		if at.Before(t) {
			at = t
		}
		_, end := t.ZoneBounds()
		if end.IsZero() || at.Before(end) {
			return at
		}
		t = end
	}
}
