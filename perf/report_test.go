package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func wellFormed(t *testing.T, doc string) (texts []string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(doc))
	in := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return texts
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		switch token := token.(type) {
		case xml.StartElement:
			in = token.Name.Local == "text"
		case xml.EndElement:
			in = false
		case xml.CharData:
			if in {
				texts = append(texts, string(token))
			}
		}
	}
}

func TestChartsAreWellFormed(t *testing.T) {
	for name, c := range map[string]chart{
		"bars":  {title: `a "b" <c> & d`, xLabel: "pods/s", bars: []chartBar{{"one & only", spread{10, 5, 12}}, {"none", spread{}}}},
		"lines": {title: "<x>", xLabel: "nodes", yLabel: "ms", xLog: true, lines: []curve{{Name: "a<b", Points: [][2]float64{{100, 1.5}, {10000, 2}}}}},
		"tail": {title: "x", xLabel: "share", yLabel: "ms", xTail: true, yLog: true,
			lines: []curve{{Name: "a", Points: [][2]float64{{0.01, 0}, {0.5, 3}, {0.9999, 2000}}}, {Name: "b", Points: [][2]float64{{0.5, 1}, {0.99, 1}}}}},
		"flat": {title: "x", xLabel: "s", yLabel: "MiB", lines: []curve{{Name: "a", Points: [][2]float64{{1, 5}, {1, 5}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			doc := c.svg()
			texts := strings.Join(wellFormed(t, doc), "\n")
			for _, want := range []string{c.title, c.xLabel, c.yLabel} {
				if !strings.Contains(texts, want) {
					t.Errorf("%q isn't shown", want)
				}
			}
			if strings.Contains(doc, "NaN") || strings.Contains(doc, "Inf") {
				t.Errorf("a coordinate is no number:\n%s", doc)
			}
			if !strings.Contains(doc, "prefers-color-scheme:dark") {
				t.Error("it can't be read on a dark page")
			}
		})
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		log       bool
		want      string
	}{
		{0, 10, false, "[0,2,4,6,8,10]"}, {0, 1000, false, "[0,200,400,600,800,1000]"}, {0, 0, false, "[0,0.2,0.4,0.6,0.8,1]"},
		{3, 700, true, "[1,10,100,1000]"}, {1, 100, true, "[1,10,100]"},
	} {
		ticks := ticksOf(c.low, c.high, c.log)
		for i := range ticks {
			ticks[i] = rounded(ticks[i])
		}
		if got, _ := json.Marshal(ticks); string(got) != c.want {
			t.Errorf("%v…%v: %s, want %s", c.low, c.high, got, c.want)
		}
	}
	for v, want := range map[float64]string{0: "0", 1234567: "1,234,567", 99.96: "100", 12.34: "12.3", 1.234: "1.23", -1234: "-1,234", 0.004: "0.004", 123: "123"} {
		if got := number(v); got != want {
			t.Errorf("%v is written %s, want %s", v, got, want)
		}
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		target target
		got    float64
		want   string
	}{
		{target{least: true, value: 10}, 25, "met, by 2.5 ×"},
		{target{least: true, value: 10}, 10, "met, by 1 ×"},
		{target{least: true, value: 10}, 5, "missed: 0.5 × of it"},
		{target{value: 3}, 1.5, "met, by 2 ×"},
		{target{value: 3}, 6, "missed: 2 × as much"},
		{target{}, 0, "met"},
		{target{}, 1, "missed"},
	} {
		if got := c.target.verdict(c.got); got != c.want {
			t.Errorf("%v of %+v: %s, want %s", c.got, c.target, got, c.want)
		}
	}
}

func TestReportIsIdempotent(t *testing.T) {
	dir := t.TempDir()
	results := filepath.Join(dir, "results")
	s := &setting{results: results, rounds: 2, json: true}
	found := &rates{}
	found.add("pods/s to Running", 12_000)
	found.add("pods/s to Running", 14_000)
	found.add("lost or placed twice", 0)
	latency := &series{name: "POST → 201"}
	for range 2 {
		latency.begin()
		for i := range 2000 {
			latency.add(time.Duration(i) * time.Microsecond)
		}
	}
	if err := s.publish("create", 2000, map[string]string{"nodes": "10"}, found, latency); err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(dir, "performance.md")
	const by = "# By hand\n\n<!-- perf:begin targets -->\n<!-- perf:end -->\n\nBetween.\n\n<!-- perf:begin create -->\nformer words\n<!-- perf:end -->\n\n<!-- perf:begin tide -->\n<!-- perf:end -->\nAfter."
	if err := os.WriteFile(page, []byte(by), 0o644); err != nil {
		t.Fatal(err)
	}
	read := func() string {
		t.Helper()
		if err := report(results, page); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	first := read()
	for _, want := range []string{
		"# By hand\n", "\nBetween.\n", "\nAfter.", "| **14,000** (12,000 … 14,000) |", "met, by 1.4 ×", "not measured yet", notMeasured, "nodes: 10",
		"![create: latency](performance/create-latencies.svg)", "![create: rates",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("%q is missing in\n%s", want, first)
		}
	}
	if strings.Contains(first, "former words") {
		t.Error("what stood between the markers is still there")
	}
	svg, err := os.ReadFile(filepath.Join(dir, "performance", "create-latencies.svg"))
	if err != nil {
		t.Fatal(err)
	}
	wellFormed(t, string(svg))
	if second := read(); second != first {
		t.Errorf("a second report differs:\n%s", second)
	}
}

func TestBrokenMarkersAreRefused(t *testing.T) {
	make := func(string) (string, error) { return "x\n", nil }
	for _, page := range []string{
		"<!-- perf:begin a -->\n", "<!-- perf:end -->\n", "<!-- perf:begin a -->\n<!-- perf:begin b -->\n<!-- perf:end -->\n", "<!-- perf:begin a\n<!-- perf:end -->\n",
	} {
		if got, err := fillIn(page, make); err == nil {
			t.Errorf("%q became %q", page, got)
		}
	}
}

// TestTargetsNameWhatIsMeasured reads the committed results: a figure that was renamed would silently be
// shown as not measured.
func TestTargetsNameWhatIsMeasured(t *testing.T) {
	all, err := readResults("results")
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range targets {
		if _, ok := target.find(all); all[target.result] != nil && !ok {
			t.Errorf("%s.json has no %q", target.result, target.figure)
		}
	}
}
