package opencost

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Window is a time: End isn't part of it.
type Window struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

const (
	day  = 24 * time.Hour
	week = 7 * day
)

var (
	durationForm = regexp.MustCompile(`^([1-9][0-9]{0,5})(m|h|d|w)$`)
	unixForm     = regexp.MustCompile(`^([0-9]{1,11})[,-]([0-9]{1,11})$`)
	units        = map[string]time.Duration{"m": time.Minute, "h": time.Hour, "d": day, "w": week}
)

func parseDuration(s string) (time.Duration, bool) {
	m := durationForm.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	n, err := strconv.Atoi(m[1])
	return time.Duration(n) * units[m[2]], err == nil
}

// parseWindow reads a window: today, yesterday, week and lastweek (from Sunday), month, lastmonth; so many minutes,
// hours, days or weeks up to the end of the present one; a pair of times. Days are UTC's.
func parseWindow(s string, now time.Time) (Window, error) {
	now = now.UTC().Truncate(time.Millisecond)
	today := now.Truncate(day)
	sunday := today.AddDate(0, 0, -int(today.Weekday()))
	first := today.AddDate(0, 0, 1-today.Day())
	switch s {
	case "today":
		return Window{today, today.Add(day)}, nil
	case "yesterday":
		return Window{today.Add(-day), today}, nil
	case "week":
		return Window{sunday, now}.checked(s)
	case "lastweek":
		return Window{sunday.Add(-week), sunday}, nil
	case "month":
		return Window{first, now}.checked(s)
	case "lastmonth":
		return Window{first.AddDate(0, -1, 0), first}, nil
	}
	if d, ok := parseDuration(s); ok {
		unit := units[s[len(s)-1:]]
		if unit == week {
			unit = day // weeks end with today
		}
		end := now.Truncate(unit).Add(unit)
		return Window{end.Add(-d), end}, nil
	}
	if m := unixForm.FindStringSubmatch(s); m != nil {
		from, _ := strconv.ParseInt(m[1], 10, 64)
		to, _ := strconv.ParseInt(m[2], 10, 64)
		return Window{time.Unix(from, 0).UTC(), time.Unix(to, 0).UTC()}.checked(s)
	}
	if a, b, ok := strings.Cut(s, ","); ok {
		from, err := time.Parse(time.RFC3339, a)
		to, err2 := time.Parse(time.RFC3339, b)
		if err == nil && err2 == nil {
			return Window{from.UTC().Truncate(time.Millisecond), to.UTC().Truncate(time.Millisecond)}.checked(s)
		}
	}
	return Window{}, fmt.Errorf("%q: want today, yesterday, week, lastweek, month or lastmonth, a duration such as 24h or 7d, "+
		"or a pair of times such as 2026-10-01T00:00:00Z,2026-11-01T00:00:00Z", s)
}

func (w Window) checked(s string) (Window, error) {
	if !w.Start.Before(w.End) {
		return w, fmt.Errorf("%q: the end isn't after the beginning", s)
	}
	return w, nil
}

// steps divides a window. A step is a duration, or month.
func (w Window) steps(step string) ([]Window, error) {
	if s, ok := map[string]string{"hour": "1h", "day": "1d", "week": "1w"}[step]; ok {
		step = s
	}
	next := func(t time.Time) time.Time { return time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC) }
	if step != "month" {
		d, ok := parseDuration(step)
		if !ok {
			return nil, fmt.Errorf("%q: want a duration such as 1h or 1d, or one of hour, day, week, month", step)
		}
		next = func(t time.Time) time.Time { return t.Add(d) }
	}
	var out []Window
	for at := w.Start; at.Before(w.End); at = out[len(out)-1].End {
		if len(out) == maxSets {
			return nil, fmt.Errorf("%q: more than %d steps in the window", step, maxSets)
		}
		end := next(at)
		if end.After(w.End) {
			end = w.End
		}
		out = append(out, Window{at, end})
	}
	return out, nil
}
