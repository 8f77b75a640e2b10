package rating_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/rating"
)

// TestDaysOfAZone: a segment of one vCPU, cut at a zone's midnights, has the hours that each day had, and all of them
// together those that passed.
func TestDaysOfAZone(t *testing.T) {
	for _, c := range []struct {
		zone     string
		from, to string // dates
		hours    string
	}{
		{"UTC", "2026-02-27", "2026-03-02", "24 24 24"},
		{"UTC", "2028-02-28", "2028-03-01", "24 24"},                      // a leap year's February
		{"UTC", "2026-12-31", "2027-01-02", "24 24"},                      // a year's end
		{"Europe/Berlin", "2026-03-28", "2026-03-31", "24 23 24"},         // clocks put forward
		{"Europe/Berlin", "2026-10-24", "2026-10-27", "24 25 24"},         // and back
		{"Asia/Shanghai", "2026-03-28", "2026-03-31", "24 24 24"},         //
		{"Australia/Lord_Howe", "2026-10-03", "2026-10-06", "24 23.5 24"}, // by half an hour
		{"Africa/Cairo", "2026-04-23", "2026-04-25", "24 23"},             // at midnight: the 24th begins at 01:00
		{"Atlantic/Azores", "2026-10-24", "2026-10-27", "24 25 24"},       // back at 01:00 to midnight
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		date := func(s string) time.Time {
			d, err := time.Parse(time.DateOnly, s)
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		midnight := func(d time.Time) time.Time { return billing.Midnight(d.Year(), d.Month(), d.Day(), zone) }
		rater := &rating.Rater{Books: books(t, strings.Replace(first, "2026-01-01", "2015-01-01", 1))}
		for d := date(c.from).AddDate(0, 0, 1); d.Before(date(c.to)); d = d.AddDate(0, 0, 1) {
			rater.Cuts = append(rater.Cuts, midnight(d).UnixMilli())
		}
		seg := usagev1.Segment{
			ID: usagev1.ID{PodUID: "p", Sequence: 1}, ComputeClass: "general-purpose", QoS: "default", CPUMilli: 1000,
			Start: midnight(date(c.from)).UTC(), End: midnight(date(c.to)).UTC(),
		}
		var hours []string
		var sum billing.Quantity
		for _, l := range collect(t, rater, seg) {
			hours = append(hours, strings.TrimRight(strings.TrimRight(l.Quantity.Hours(), "0"), "."))
			sum += l.Quantity
		}
		if got := strings.Join(hours, " "); got != c.hours {
			t.Errorf("%s from %s: %s hours, want %s", c.zone, c.from, got, c.hours)
		}
		if want := fmt.Sprintf("%.9f", seg.End.Sub(seg.Start).Hours()); sum.Hours() != want {
			t.Errorf("%s from %s: %s hours in all, want %s", c.zone, c.from, sum.Hours(), want)
		}
	}
}

// TestLeapSecondsArentCounted: 2016 ended with one.
func TestLeapSecondsArentCounted(t *testing.T) {
	s := segment("p", 1, 1000, 0, 0, 0)
	s.Start, s.End = time.Date(2016, 12, 31, 23, 59, 0, 0, time.UTC), time.Date(2017, 1, 1, 0, 1, 0, 0, time.UTC)
	rater := &rating.Rater{Books: books(t, strings.Replace(first, "2026-01-01", "2015-01-01", 1)), Cuts: []int64{time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()}}
	var got []int64
	for _, l := range collect(t, rater, s) {
		got = append(got, l.Quantity.Millis())
	}
	if want := []int64{60_000, 60_000}; !slices.Equal(got, want) {
		t.Errorf("%v ms, want %v", got, want)
	}
}

// TestADateOfABookIsItsZones: prices change at the first instant of a day where the book says it is.
func TestADateOfABookIsItsZones(t *testing.T) {
	for zone, want := range map[string]string{
		"Asia/Shanghai": "2026-04-23T16:00:00Z", "America/New_York": "2026-04-24T04:00:00Z",
		"Africa/Cairo": "2026-04-23T22:00:00Z", // where that day begins at 01:00
	} {
		b := parsed(t, strings.Replace(first, "effective: 2026-01-01", "effective: 2026-04-24\nzone: "+zone, 1))
		if got := b.Effective.Format(time.RFC3339); got != want {
			t.Errorf("%s: from %s on, want %s", zone, got, want)
		}
	}
}
