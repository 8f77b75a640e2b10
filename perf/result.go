package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// result is what a scenario found, as it is written into a file.
type result struct {
	Scenario string            `json:"scenario"`
	Time     time.Time         `json:"time"`
	Machine  machine           `json:"machine"`
	Setting  map[string]string `json:"setting"`
	Rounds   int               `json:"rounds"`
	Samples  int               `json:"samplesPerRound"`
	Rates    []rate            `json:"rates,omitempty"`
	Figures  []figure          `json:"figures"`
	Curves   []curve           `json:"curves,omitempty"`
}

type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory string `json:"memory"`
	Kernel string `json:"kernel"`
	Cgroup string `json:"cgroup"`
}

// figure is one latency in milliseconds: of the rounds' percentiles the median, the least and the most.
type figure struct {
	Name string  `json:"name"`
	P50  spread  `json:"p50Ms"`
	P99  spread  `json:"p99Ms"`
	P999 *spread `json:"p999Ms,omitempty"` // of rounds of at least 1,000
}

// curve is how one number depends on another. Of each round's, the median.
type curve struct {
	Plot   string       `json:"plot"` // those of one plot are drawn together
	Name   string       `json:"name"`
	Points [][2]float64 `json:"points"`
}

type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// rate is one number of each round: the median, the least and the most.
type rate struct {
	Name string `json:"name"`
	spread
}

// rates collects numbers by their names.
type rates struct {
	names []string
	of    map[string][]float64
}

func (r *rates) add(name string, value float64) {
	if r.of == nil {
		r.of = map[string][]float64{}
	}
	if _, ok := r.of[name]; !ok {
		r.names = append(r.names, name)
	}
	r.of[name] = append(r.of[name], value)
}

func (r *rates) all() []rate {
	if r == nil {
		return nil
	}
	var out []rate
	for _, name := range r.names {
		out = append(out, rate{Name: name, spread: spreadOf(slices.Clone(r.of[name]))})
	}
	return out
}

// series collects one latency, a slice per round.
type series struct {
	name   string
	rounds [][]time.Duration
}

func (s *series) begin() { s.rounds = append(s.rounds, nil) }

func (s *series) add(d time.Duration) {
	last := len(s.rounds) - 1
	s.rounds[last] = append(s.rounds[last], d)
}

// sort spares each percentile the sorting.
func (s *series) sort() {
	for _, round := range s.rounds {
		slices.Sort(round)
	}
}

func (s *series) figure() figure {
	f := figure{Name: s.name, P50: s.spread(0.50), P99: s.spread(0.99)}
	if s.least() >= 1000 {
		p999 := s.spread(0.999)
		f.P999 = &p999
	}
	return f
}

// least answers how much the smallest round holds.
func (s *series) least() int {
	least := math.MaxInt
	for _, round := range s.rounds {
		least = min(least, len(round))
	}
	return least
}

// quantiles are the shares at which the curve of a latency has its points.
var quantiles = []float64{0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9995, 0.9999}

// plotLatencies is the plot of curves that series make.
const plotLatencies = "latencies"

// curve answers the latency in milliseconds that a share of all doesn't exceed, as far as a round has as many.
func (s *series) curve() curve {
	c := curve{Plot: plotLatencies, Name: s.name}
	for _, q := range quantiles {
		if (1-q)*float64(s.least()) >= 1 {
			c.Points = append(c.Points, [2]float64{q, s.spread(q).Median})
		}
	}
	return c
}

// spread answers how a percentile varies over the rounds.
func (s *series) spread(q float64) spread {
	var of []float64
	for _, round := range s.rounds {
		if len(round) > 0 {
			of = append(of, percentile(round, q).Seconds()*1000)
		}
	}
	return spreadBy(fine, of)
}

// spreadOf sorts its argument.
func spreadOf(of []float64) spread { return spreadBy(rounded, of) }

func spreadBy(round func(float64) float64, of []float64) spread {
	if len(of) == 0 {
		return spread{}
	}
	slices.Sort(of)
	return spread{Median: round(of[len(of)/2]), Min: round(of[0]), Max: round(of[len(of)-1])}
}

func rounded(ms float64) float64 { return math.Round(ms*100) / 100 }

// fine keeps three digits that count of what is smaller than one.
func fine(v float64) float64 {
	if v == 0 || math.Abs(v) >= 1 {
		return rounded(v)
	}
	scale := math.Pow(10, 2-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}

// percentile is the nearest rank's: the smallest value that at least a share q of all doesn't exceed.
func percentile(of []time.Duration, q float64) time.Duration {
	sorted := of
	if !slices.IsSorted(of) {
		sorted = slices.Sorted(slices.Values(of))
	}
	return sorted[max(int(math.Ceil(q*float64(len(sorted))))-1, 0)]
}

// publish prints a result and writes it down.
func (s *setting) publish(name string, samples int, with map[string]string, rates *rates, all ...*series) error {
	return s.publishWith(name, samples, with, rates, nil, all...)
}

// publishWith has curves besides those of the series.
func (s *setting) publishWith(name string, samples int, with map[string]string, rates *rates, curves []curve, all ...*series) error {
	r := result{Rates: rates.all(), Scenario: name, Time: time.Now().UTC().Truncate(time.Second), Machine: thisMachine(), Setting: with, Rounds: s.rounds, Samples: samples}
	for _, one := range all {
		one.sort()
		r.Figures = append(r.Figures, one.figure())
		if c := one.curve(); len(c.Points) > 1 {
			r.Curves = append(r.Curves, c)
		}
	}
	r.Curves = append(r.Curves, curves...)
	return s.publishAs(&r, r.print)
}

// pairs are points of curves, each of which gets one line.
var pairs = regexp.MustCompile(`\[\s+(-?[\d.e+-]+),\s+(-?[\d.e+-]+)\s+\]`)

// publishAs is publish for a scenario that prints in its own way.
func (s *setting) publishAs(r *result, print func()) error {
	if s.as != "" {
		r.Scenario = s.as
	}
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	raw = pairs.ReplaceAll(raw, []byte("[$1, $2]"))
	if s.json {
		fmt.Println(string(raw))
	} else {
		print()
	}
	if s.results == "" {
		return nil
	}
	if err := os.MkdirAll(s.results, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.results, r.Scenario+".json"), append(raw, '\n'), 0o644)
}

func (r *result) print() {
	m := r.Machine
	fmt.Printf("%s: %d rounds of %d on %d × %s, %s, Linux %s, %s\n", r.Scenario, r.Rounds, r.Samples, m.Cores, m.CPU, m.Memory, m.Kernel, m.Cgroup)
	for _, one := range r.Rates {
		fmt.Printf("%-52s %28s\n", one.Name, one.spread)
	}
	if len(r.Figures) > 0 {
		fmt.Printf("%-52s %28s %28s %28s\n", "milliseconds: median of rounds (least … most)", "p50", "p99", "p99.9")
	}
	for _, f := range r.Figures {
		p999 := "–"
		if f.P999 != nil {
			p999 = f.P999.String()
		}
		fmt.Printf("%-52s %28s %28s %28s\n", f.Name, f.P50, f.P99, p999)
	}
}

func (s spread) String() string {
	return fmt.Sprintf("%s (%s … %s)", number(s.Median), number(s.Min), number(s.Max))
}

func thisMachine() machine {
	m := machine{CPU: runtime.GOARCH, Cores: runtime.NumCPU(), Memory: "?", Kernel: "?", Cgroup: "cgroup v2"}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				m.CPU = strings.Trim(name, " \t:\n")
				break
			}
		}
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.Memory = fmt.Sprintf("%d GiB", (uint64(info.Totalram)*uint64(info.Unit)+1<<29)>>30)
	}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		m.Kernel = unix.ByteSliceToString(uts.Release[:])
	}
	if _, err := os.Stat("/sys/fs/cgroup/memory/memory.limit_in_bytes"); err == nil {
		m.Cgroup = "cgroup v1"
	}
	return m
}
