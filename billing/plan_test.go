package billing

import (
	"testing"
	"time"
)

func at(t *testing.T, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func in(t *testing.T, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func TestIntervalsFollowTheZone(t *testing.T) {
	for _, c := range []struct {
		zone           string
		at, start, end string
	}{
		{"Asia/Shanghai", "2026-11-27T15:59:59Z", "2026-11-26T16:00:00Z", "2026-11-27T16:00:00Z"},
		{"Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},          // 23 hours
		{"Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},          // 25 hours
		{"Africa/Cairo", "2026-04-23T10:00:00Z", "2026-04-22T22:00:00Z", "2026-04-23T22:00:00Z"},           // midnight is jumped over:
		{"Africa/Cairo", "2026-04-24T10:00:00Z", "2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"},           // the day begins at 01:00
		{"America/Havana", "2026-11-01T04:30:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"},         // two midnights, west of UTC
		{"America/Havana", "2026-11-01T05:30:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"},         //
		{"Asia/Amman", "2021-10-28T20:30:00Z", "2021-10-27T21:00:00Z", "2021-10-28T21:00:00Z"},             // two midnights, east of UTC
		{"Asia/Amman", "2021-10-28T21:30:00Z", "2021-10-28T21:00:00Z", "2021-10-29T22:00:00Z"},             //
		{"Asia/Amman", "2021-10-28T22:30:00Z", "2021-10-28T21:00:00Z", "2021-10-29T22:00:00Z"},             //
		{"Asia/Beirut", "2026-10-24T20:30:00Z", "2026-10-23T21:00:00Z", "2026-10-24T22:00:00Z"},            // back from midnight to 23:00
		{"America/St_Johns", "2006-10-29T02:30:30Z", "2006-10-29T02:30:00Z", "2006-10-30T03:30:00Z"},       // back from 00:01 to 23:01:
		{"America/St_Johns", "2006-10-29T03:00:00Z", "2006-10-29T02:30:00Z", "2006-10-30T03:30:00Z"},       // the new day has begun
		{"Pacific/Apia", "2011-12-30T09:00:00Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"},           // 30 December was left out
		{"Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"},           //
		{"Asia/Kathmandu", "2026-11-27T00:00:00Z", "2026-11-26T18:15:00Z", "2026-11-27T18:15:00Z"},         //
		{"Australia/Lord_Howe", "2026-10-03T14:00:00Z", "2026-10-03T13:30:00Z", "2026-10-04T13:00:00Z"},    // 23½ hours
		{"UTC", "2026-12-31T00:00:00Z", "2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z"},                    //
		{"UTC", "2028-02-28T12:00:00Z", "2028-02-28T00:00:00Z", "2028-02-29T00:00:00Z"},                    //
		{"America/Los_Angeles", "2026-01-31T23:00:00Z", "2026-01-31T08:00:00Z", "2026-02-01T08:00:00Z"},    //
		{"Pacific/Kiritimati", "2026-01-31T10:00:00Z", "2026-01-31T10:00:00Z", "2026-02-01T10:00:00Z"},     // 14 hours ahead
		{"America/Sao_Paulo", "2018-11-03T12:00:00-03:00", "2018-11-03T03:00:00Z", "2018-11-04T03:00:00Z"}, // the next midnight is jumped over
		{"America/Sao_Paulo", "2018-11-04T12:00:00-02:00", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"}, //
		{"Antarctica/Troll", "2026-03-29T00:30:00Z", "2026-03-29T00:00:00Z", "2026-03-29T22:00:00Z"},       // 2 hours at once
		{"Atlantic/Azores", "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z", "2026-10-26T01:00:00Z"},        // 01:00 back to 00:00 in summer time's UTC
		{"Africa/Casablanca", "2026-02-15T01:30:00Z", "2026-02-14T23:00:00Z", "2026-02-16T00:00:00Z"},      // back for Ramadan
	} {
		p := &Plan{Interval: Day, Zone: in(t, c.zone), Start: at(t, "2000-01-01T00:00:00Z"), End: at(t, "2030-01-01T00:00:00Z")}
		from, to := p.Bounds(at(t, c.at))
		if got := [2]string{from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339)}; got != [2]string{c.start, c.end} {
			t.Errorf("%s: the day of %s is %s to %s, want %s to %s", c.zone, c.at, got[0], got[1], c.start, c.end)
		}
	}
}

// TestDaysFollowEachOther holds for every zone of these, over years of changes: a day ends where the next one begins,
// and no instant is in two.
func TestDaysFollowEachOther(t *testing.T) {
	for _, name := range []string{"UTC", "Europe/Berlin", "Africa/Cairo", "America/Havana", "Asia/Amman", "Asia/Beirut", "America/St_Johns",
		"Pacific/Apia", "Pacific/Kwajalein", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Casablanca", "Asia/Manila"} {
		p := &Plan{Interval: Day, Zone: in(t, name), Start: Midnight(1990, 1, 1, in(t, name)), End: Midnight(2030, 1, 1, in(t, name))}
		days := 0
		for day := p.Start; day.Before(p.End); days++ {
			from, to := p.Bounds(day)
			if !from.Equal(day) || !to.After(from) {
				t.Fatalf("%s: the day from %s begins at %s and ends at %s", name, day, from, to)
			}
			for _, within := range []time.Time{from.Add(time.Millisecond), from.Add(to.Sub(from) / 2), to.Add(-time.Millisecond)} {
				if f, e := p.Bounds(within); !f.Equal(from) || !e.Equal(to) {
					t.Fatalf("%s: %s is in the day from %s to %s, want %s to %s", name, within, f, e, from, to)
				}
			}
			if hours := to.Sub(from).Hours(); hours < 22 || hours > 26 {
				t.Errorf("%s: the day of %s has %g hours", name, from, hours)
			}
			day = to
		}
		want := 14610 // 40 years
		if name == "Pacific/Apia" || name == "Pacific/Kwajalein" {
			want-- // crossed the date line
		}
		if days != want {
			t.Errorf("%s: %d days, want %d", name, days, want)
		}
	}
}

func TestHoursAreCountedFromTheStart(t *testing.T) {
	zone := in(t, "Asia/Kolkata")
	p := &Plan{Interval: Hour, Zone: zone, Start: Midnight(2026, 11, 1, zone), End: Midnight(2026, 12, 1, zone)}
	for _, c := range []struct{ at, start, end string }{
		{"2026-10-31T18:30:00Z", "2026-10-31T18:30:00Z", "2026-10-31T19:30:00Z"},
		{"2026-11-15T12:29:59Z", "2026-11-15T11:30:00Z", "2026-11-15T12:30:00Z"},
		{"2026-11-30T18:00:00Z", "2026-11-30T17:30:00Z", "2026-11-30T18:30:00Z"},
	} {
		from, to := p.Bounds(at(t, c.at))
		if got := [2]string{from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339)}; got != [2]string{c.start, c.end} {
			t.Errorf("the hour of %s is %s to %s, want %s to %s", c.at, got[0], got[1], c.start, c.end)
		}
	}
}

func TestIntervalsAreCutToThePlan(t *testing.T) {
	for _, interval := range []Interval{Day, Hour} {
		p := &Plan{Interval: interval, Zone: time.UTC, Start: at(t, "2026-01-01T10:20:00Z"), End: at(t, "2026-01-01T10:50:00Z")}
		if from, to := p.Bounds(at(t, "2026-01-01T10:30:00Z")); !from.Equal(p.Start) || !to.Equal(p.End) {
			t.Errorf("%s: %s to %s", interval, from, to)
		}
	}
}
