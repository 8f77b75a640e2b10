package slots

import (
	"fmt"
	"time"

	"swell.dev/swell/api/v1alpha1"
)

// window is a SlotWindow, read.
type window struct {
	days     [7]bool // by time.Weekday, of its beginning
	from, to int     // minutes of the day
	zone     *time.Location
	min      int
}

func readWindow(w v1alpha1.SlotWindow) (window, error) {
	out := window{min: int(w.Min)}
	var err error
	if out.zone, err = time.LoadLocation(w.TimeZone); err != nil {
		return out, err
	}
	for _, t := range []struct {
		text string
		into *int
	}{{w.From, &out.from}, {w.To, &out.to}} {
		at, err := time.Parse("15:04", t.text)
		if err != nil {
			return out, fmt.Errorf("time of day %q: want 15:04", t.text)
		}
		*t.into = at.Hour()*60 + at.Minute()
	}
	for _, name := range w.Days {
		known := false
		for d := time.Sunday; d <= time.Saturday; d++ {
			if d.String() == name {
				out.days[d], known = true, true
			}
		}
		if !known {
			return out, fmt.Errorf("day %q is none", name)
		}
	}
	if len(w.Days) == 0 {
		out.days = [7]bool{true, true, true, true, true, true, true}
	}
	return out, nil
}

// open tells whether the window is open. One that ends at or before the time it begins at ends the next day.
func (w window) open(now time.Time) bool {
	now = now.In(w.zone)
	minute := now.Hour()*60 + now.Minute()
	today, yesterday := w.days[now.Weekday()], w.days[(now.Weekday()+6)%7]
	if w.from < w.to {
		return today && minute >= w.from && minute < w.to
	}
	return today && minute >= w.from || yesterday && minute < w.to
}
