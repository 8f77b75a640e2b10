package client

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestBillSimulateIsAsThePageSays runs the page's command and wants what the page shows.
func TestBillSimulateIsAsThePageSays(t *testing.T) {
	page, err := os.ReadFile("../../../docs/billing/plans.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```\n$ swell ")
	block, _, _ := strings.Cut(rest, "```\n")
	command, want, _ := strings.Cut(block, "\n")
	args := strings.Fields(strings.Replace(command, "examples/", "../../../examples/", 1))
	if len(args) != 8 {
		t.Fatalf("the page's command is %q", command)
	}
	f := newFakeAPI(t)
	if r := f.mustRun(args...); r.stdout != want || r.stderr != "" {
		t.Errorf("printed\n%s%s\nwant\n%s", r.stdout, r.stderr, want)
	}
	if asked := f.requested(""); len(asked) != 0 {
		t.Errorf("the server was asked: %v", asked)
	}
}

const halfDays = `time,vcpu,gib
2026-03-01 00:00,10,20
2026-03-01 12:00,1,2
2026-03-02 00:00,10,20
2026-03-02 12:00,1,2
`

func TestBillSimulateFormats(t *testing.T) {
	f := newFakeAPI(t)
	for _, format := range []string{"json", "yaml"} {
		r := f.runWith(strings.NewReader(halfDays), "bill", "simulate", "--trace", "-", "--offer", "day-1y", "--zone", "Asia/Shanghai", "-o", format)
		if r.err != nil {
			t.Fatal(r.err)
		}
		text := []byte(r.stdout)
		if format == "yaml" {
			var err error
			if text, err = yaml.YAMLToJSON(text); err != nil {
				t.Fatal(err)
			}
		}
		var got map[string]any
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		p := got["plans"].([]any)[0].(map[string]any)
		// A day is 12 h × 11 × 0.12 at list, and 7.128 less 55 %, which cannot be bought: 7.13 can.
		if got["list"] != "31.68" || got["from"] != "2026-03-01T00:00:00+08:00" || got["days"] != 2.0 || got["currency"] != "CNY" ||
			p["offer"] != "day-1y" || p["interval"] != "day" || p["commitment"] != "7.13" || p["cost"] != "14.26" || p["chanceToLose"] != 0.0 ||
			p["worst"].(map[string]any)["to"] != "2026-03-03T00:00:00+08:00" || got["peakCapacity"].(map[string]any)["cost"] != "57.6" || p["outOfSample"] != nil {
			t.Errorf("%s: %s", format, r.stdout)
		}
	}
}

func TestBillSimulateRefuses(t *testing.T) {
	f := newFakeAPI(t)
	dir := t.TempDir()
	trace, prices, none := filepath.Join(dir, "trace.csv"), filepath.Join(dir, "prices.yaml"), filepath.Join(dir, "none.yaml")
	book := `version: x
effective: 2020-01-01
currency: EUR
bestEffort: 20%
prices:
  general-purpose: {default: {vcpu: 1, gib: 1}}
  performance: {default: {vcpu: 1, gib: 1}}
`
	offers := `savingsPlans:
  - {name: berlin, interval: day, term: 30d, zone: Europe/Berlin, discounts: [{discount: 30%}]}
  - {name: anywhere, interval: day, term: 30d, discounts: [{discount: 30%}]}
`
	for file, text := range map[string]string{trace: halfDays, prices: book + offers, none: book} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args  string
		says  string
		usage bool
	}{
		{"", "--trace is missing", true},
		{"--trace TRACE --train -1", "--train -1: want a number of days", true},
		{"--trace TRACE --test -1", "--test -1: want a number of days", true},
		{"--trace TRACE --offer day-1y --discount 5%", "want one or the other", true},
		{"--trace TRACE x", `unexpected argument "x"`, true},
		{"--trace TRACE --discount 55", `--discount: discount "55": want a percentage below 100%`, false},
		{"--trace TRACE --offer day-2y", `--offer "day-2y": price book exact-1 offers day-30d, day-1y, hour-30d, hour-1y`, false},
		{"--trace TRACE --price-file NONE", "price book x has no offers: want --discount", false},
		{"--trace TRACE --price-file NONE --offer day", `--offer "day": price book x offers nothing`, false},
		{"--trace TRACE --zone Mars/Olympus", `--zone "Mars/Olympus": want a name of the time zone database`, false},
		{"--trace TRACE --zone Local", `--zone "Local"`, false},
		{"--trace TRACE --price-file PRICES --zone UTC", "offer berlin has days of Europe/Berlin, others of UTC", false},
		{"--trace TRACE.gone", "no such file", false},
		{"--trace PRICES", `unknown column "version: x"`, false},
		{"--trace TRACE --price-file TRACE", "price file", false},
	} {
		args := strings.Fields(strings.NewReplacer("TRACE", trace, "PRICES", prices, "NONE", none).Replace(c.args))
		r := f.run(append([]string{"bill", "simulate"}, args...)...)
		var usage *UsageError
		if r.err == nil || !strings.Contains(r.err.Error(), c.says) || errors.As(r.err, &usage) != c.usage {
			t.Errorf("%s: %v, want %q", c.args, r.err, c.says)
		}
	}
	if r := f.mustRun("bill", "simulate", "--trace", trace, "--price-file", prices); !strings.HasPrefix(r.stdout, "2 days of Europe/Berlin from 2026-03-01 on, prices of x in EUR\n") {
		t.Errorf("printed %s", r.stdout)
	}
}
