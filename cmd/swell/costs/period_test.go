package costs

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestPeriod(t *testing.T) {
	now := time.Date(2026, 11, 27, 9, 30, 0, 0, time.UTC)
	for query, want := range map[string]string{
		"":                                   "2026-11-01T00:00:00Z 2026-12-01T00:00:00Z 29",
		"month=2026-02":                      "2026-02-01T00:00:00Z 2026-03-01T00:00:00Z 27",
		"month=2026-10&zone=Europe/Berlin":   "2026-09-30T22:00:00Z 2026-10-31T23:00:00Z 30",
		"from=2026-11-01&to=2026-11-03":      "2026-11-01T00:00:00Z 2026-11-03T00:00:00Z 1",
		"from=2026-11-26&zone=Asia/Shanghai": "2026-11-25T16:00:00Z 2026-11-27T09:30:00Z 1",
		"from=2026-11-01T12:00:00%2B02:00&to=2026-11-02": "2026-11-01T10:00:00Z 2026-11-02T00:00:00Z 0",
	} {
		v, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		p, err := PeriodOf(v, now)
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		got := p.From.UTC().Format(time.RFC3339) + " " + p.To.UTC().Format(time.RFC3339) + " " + strconv.Itoa(len(p.Days()))
		if got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	for query, want := range map[string]string{
		"zone=Mars/Base":                "zone",
		"zone=Local":                    "zone",
		"month=October":                 `month: "October"`,
		"month=2026-10&from=2026-10-02": "beside it",
		"from=soon":                     `from: "soon"`,
		"from=2026-11-03&to=2026-11-03": "before to",
	} {
		v, _ := url.ParseQuery(query)
		if _, err := PeriodOf(v, now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", query, err, want)
		}
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	day := Period{time.Date(2026, 10, 25, 0, 0, 0, 0, berlin), time.Date(2026, 10, 26, 0, 0, 0, 0, berlin), berlin}
	if n := len(day.Hours()); n != 24 {
		t.Errorf("a day of 25 hours has %d boundaries between them", n)
	}
	kathmandu, _ := time.LoadLocation("Asia/Kathmandu")
	day = Period{time.Date(2026, 10, 25, 0, 0, 0, 0, kathmandu), time.Date(2026, 10, 26, 0, 0, 0, 0, kathmandu), kathmandu}
	if h := day.Hours(); len(h) != 23 || time.UnixMilli(h[0]).In(kathmandu).Minute() != 0 {
		t.Errorf("hours of a zone of quarters: %d, first at %s", len(h), time.UnixMilli(h[0]).In(kathmandu))
	}
}
