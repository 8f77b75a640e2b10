package costs

import (
	"net/url"
	"time"

	"swell.dev/swell/billing"
)

// Period is what the parameters from, to, month and zone of a query say.
type Period struct {
	From, To time.Time
	Zone     *time.Location
}

// PeriodOf reads a period: from and to as RFC 3339 or as a day of the zone (from its beginning, and to its
// beginning), or a month; without any, the present month. Zone is UTC where none is given.
func PeriodOf(v url.Values, now time.Time) (Period, error) {
	p := Period{Zone: time.UTC}
	if name := v.Get("zone"); name != "" {
		zone, err := time.LoadLocation(name)
		if err != nil || name == "Local" {
			return p, &BadQuery{"zone", name, "a name of the IANA time zone database, such as Europe/Berlin"}
		}
		p.Zone = zone
	}
	month := now.In(p.Zone)
	if text := v.Get("month"); text != "" {
		var err error
		if month, err = time.ParseInLocation("2006-01", text, p.Zone); err != nil {
			return p, &BadQuery{"month", text, "a month such as 2026-10"}
		}
		if v.Has("from") || v.Has("to") {
			return p, &BadQuery{"month", text, "no from and to beside it"}
		}
	}
	p.From = billing.Midnight(month.Year(), month.Month(), 1, p.Zone)
	p.To = billing.Midnight(month.Year(), month.Month()+1, 1, p.Zone)
	for _, bound := range []struct {
		name string
		at   *time.Time
	}{{"from", &p.From}, {"to", &p.To}} {
		text := v.Get(bound.name)
		if text == "" {
			continue
		}
		at, err := instant(text, p.Zone)
		if err != nil {
			return p, &BadQuery{bound.name, text, "a day such as 2026-10-31, or a time such as 2026-10-31T15:04:05Z"}
		}
		*bound.at = at
	}
	if v.Get("from") != "" && v.Get("to") == "" && v.Get("month") == "" {
		p.To = now
	}
	if !p.From.Before(p.To) {
		return p, &BadQuery{"from", p.From.Format(time.RFC3339), "a time before to, which is " + p.To.Format(time.RFC3339)}
	}
	return p, nil
}

func instant(text string, zone *time.Location) (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return billing.Midnight(day.Year(), day.Month(), day.Day(), zone), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	return at.Truncate(time.Millisecond), err
}

// Days are the beginnings of the calendar days of the period's zone within the period, in Unix milliseconds.
func (p Period) Days() []int64 {
	return p.steps(func(t time.Time) time.Time { return billing.Midnight(t.Year(), t.Month(), t.Day()+1, p.Zone) })
}

// Months are the beginnings of months.
func (p Period) Months() []int64 {
	return p.steps(func(t time.Time) time.Time { return billing.Midnight(t.Year(), t.Month()+1, 1, p.Zone) })
}

// Hours are the beginnings of hours, of 60 minutes each.
func (p Period) Hours() []int64 {
	return p.steps(func(t time.Time) time.Time {
		_, offset := t.Zone()
		into := (t.Unix() + int64(offset)) % 3600
		return t.Truncate(time.Second).Add(time.Duration(3600-into) * time.Second)
	})
}

func (p Period) steps(next func(time.Time) time.Time) []int64 {
	var out []int64
	for t := next(p.From.In(p.Zone)); t.Before(p.To); t = next(t.In(p.Zone)) {
		out = append(out, t.UnixMilli())
	}
	return out
}
