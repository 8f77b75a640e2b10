package report

import (
	"net/url"
	"strings"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
)

func TestParseQueryComplains(t *testing.T) {
	for params, says := range map[string]string{
		"from=2026-11-02&to=2026-11": "from 2026-11-02T00:00:00Z: want a time before the end, 2026-11-01T00:00:00Z",
		"by=colour":                  `by: dimension "colour": want one of pod, uid, workload`,
		"by=label:":                  `dimension "label:"`,
		"by=label":                   `dimension "label"`,
		"by=pod:x":                   `dimension "pod:x"`,
		"by=pod,pod":                 `by "pod": given twice`,
		"by=day&step=hour":           `by "day": the step is hour already`,
		"step=week":                  `step "week": want one of none, hour, day, month`,
		"filter=web":                 `filter "web": want DIMENSION=VALUE`,
		"filter=colour=red":          `filter "colour=red"`,
		"labelSelector=a%20b":        `labelSelector "a b"`,
		"limit=none":                 `limit "none": want a number of rows`,
		"limit=0":                    `limit "0"`,
		"limit=200000":               "limit 200000: want between 1 and 100000",
		"step=hour&limit=50000":      "limit 50000: want between 1 and",
		"step=hour&from=2001-01":     "more than 10000 of them",
	} {
		v, err := url.ParseQuery(params)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parsed(v); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", params, err, says)
		}
	}
}

func TestParseQueryDefaults(t *testing.T) {
	q := query(t, "")
	if len(q.By) != 1 || q.By[0].String() != "project" || q.Step != NoStep || q.Limit != DefaultLimit {
		t.Errorf("%+v", q)
	}
	for _, name := range Dimensions() {
		if name == "label:KEY" {
			name = "label:app.kubernetes.io/name"
		}
		if got := MustDimension(name).String(); got != name {
			t.Errorf("%s is read as %s", name, got)
		}
	}
	if got := MustDimension("namespace").String(); got != "project" {
		t.Errorf("a namespace is read as %s", got)
	}
}

// TestPeriods: days are calendar days, with 23 and 25 hours where clocks change; months end when they do.
func TestPeriods(t *testing.T) {
	for params, want := range map[string]struct {
		count int
		hours []int64 // of some
		first int
	}{
		"from=2026-10-24&to=2026-10-27&zone=Europe/Berlin&step=day":                              {3, []int64{24, 25, 24}, 0},
		"from=2026-03-28&to=2026-03-31&zone=Europe/Berlin&step=day":                              {3, []int64{24, 23, 24}, 0},
		"from=2026-10-25&to=2026-10-26&zone=Europe/Berlin&step=hour":                             {25, []int64{1, 1, 1}, 0},
		"from=2026-01&to=2027-01&zone=UTC&step=month":                                            {12, []int64{31 * 24, 28 * 24, 31 * 24}, 0},
		"from=2024-02&to=2024-03&zone=UTC&step=day":                                              {29, nil, 0},
		"from=2026-01-15&to=2026-03-02&zone=UTC&step=month":                                      {3, []int64{17 * 24, 28 * 24, 24}, 0},
		"from=2026-10-24T12:00:00Z&to=2026-10-25T12:00:00Z&zone=Asia/Kolkata&step=day":           {2, nil, 0},
		"from=2026-10-24T12:30:00Z&to=2026-10-24T13:30:00Z&zone=Asia/Kolkata&step=hour":          {2, nil, 0},
		"from=2026-09-05&to=2026-09-07&zone=America/Santiago&step=day":                           {2, []int64{24, 23}, 0}, // no midnight on the 6th
		"from=2026-10-24T12:00:00.500Z&to=2026-10-24T12:00:00.501Z&step=none":                    {1, nil, 0},
		"from=2026-10-25T00:30:00%2B02:00&to=2026-10-25T03:30:00%2B01:00&zone=UTC&step=hour&by=": {5, nil, 0},
	} {
		q := query(t, params)
		periods, err := q.Step.periods(q.From, q.To, q.Zone)
		if err != nil {
			t.Fatal(err)
		}
		if len(periods) != want.count || periods[0].From != q.From.UnixMilli() || periods[len(periods)-1].To != q.To.UnixMilli() {
			t.Errorf("%s: %d periods %v, want %d", params, len(periods), periods, want.count)
			continue
		}
		for i, h := range want.hours {
			if p := periods[i]; p.To-p.From != h*3_600_000 {
				t.Errorf("%s: period %d has %d hours, want %d", params, i, (p.To-p.From)/3_600_000, h)
			}
		}
		for i := range periods {
			if i > 0 && periods[i].From != periods[i-1].To {
				t.Errorf("%s: periods %d and %d don't abut", params, i-1, i)
			}
			if got := periodOf(periods, periods[i].To-1); got != i {
				t.Errorf("%s: the end of %d is in %d", params, i, got)
			}
		}
		if got := periodOf(periods, periods[0].From-1); got != 0 {
			t.Errorf("what begins before is of period %d", got)
		}
		cuts, err := q.Cuts()
		if err != nil || len(cuts) != want.count+1 {
			t.Errorf("%s: cuts %v, %v", params, cuts, err)
		}
	}
}

func TestBefore(t *testing.T) {
	for params, want := range map[string][2]string{
		"from=2026-10&to=2026-11&zone=Europe/Berlin": {"2026-08-31T22:00:00Z", "2026-09-30T22:00:00Z"},
		"from=2026-01&to=2026-03":                    {"2025-11-01T00:00:00Z", "2026-01-01T00:00:00Z"},
		"from=2026-11-20&to=2026-11-27":              {"2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z"},
		"from=2026-11&to=2026-12":                    {"2026-10-01T00:00:00Z", "2026-10-27T09:00:00Z"}, // it isn't over
		"from=2026-11-27&to=2026-11-28":              {"2026-11-26T00:00:00Z", "2026-11-26T09:00:00Z"},
		"from=2026-12&to=2027-01":                    {"2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"},
	} {
		q := query(t, params).Before(made)
		if got := [2]string{q.From.UTC().Format(time.RFC3339), q.To.UTC().Format(time.RFC3339)}; got != want {
			t.Errorf("%s: %v, want %v", params, got, want)
		}
	}
}

func TestMatches(t *testing.T) {
	s := &usagev1.Segment{Pod: "web-x2x4z", ComputeClass: "performance", Node: "n1", Labels: map[string]string{"app": "web"}}
	use := billing.Charge{Project: "shop", Account: "acme", Segment: s, Item: &billing.Item{ID: "performance/default/vcpu"}}
	own := billing.Charge{Kind: billing.Purchase, Account: "acme", Plan: &billing.Plan{Name: "p"}}
	for params, want := range map[string][2]bool{
		"":                                    {true, true},
		"filter=project=shop":                 {true, false},
		"filter=project=shop&filter=project=": {true, true},
		"filter=project=shop&filter=node=n2":  {false, false},
		"filter=account=acme":                 {true, true},
		"filter=workload=shop/web":            {true, false},
		"filter=pod=shop/web-x2x4z":           {true, false},
		"filter=label:app=web":                {true, false},
		"filter=item=performance/default/vcpu&filter=resource=vcpu": {true, false},
		"filter=plan=p":                          {false, true},
		"filter=kind=purchase":                   {false, true},
		"filter=class=performance&filter=region": {false, false},
		"labelSelector=app%20in%20(web,api)":     {true, false},
		"labelSelector=app!=web":                 {false, false},
	} {
		v, err := url.ParseQuery(params)
		if err != nil {
			t.Fatal(err)
		}
		q, err := parsed(v)
		if strings.HasSuffix(params, "filter=region") {
			if err == nil {
				t.Errorf("%s: want an error", params)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var buf []byte
		if got := [2]bool{q.matches(&use, &buf), q.matches(&own, &buf)}; got != want {
			t.Errorf("%s: %v, want %v", params, got, want)
		}
	}
}
