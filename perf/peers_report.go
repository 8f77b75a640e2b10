package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"swell.dev/swell/internal/table"
)

// Figures that are compared, and what of them.
const (
	figureRunning = "pods/s to Running"
	figureCPU     = "servers, CPU µs per pod"
	figureAllCPU  = "servers and load, CPU µs per pod"
	ratioRunning  = "Swell : Kubernetes, " + figureRunning
	ratioCPU      = "Kubernetes : Swell, " + figureCPU
	ratioAllCPU   = "Kubernetes : Swell, " + figureAllCPU // what else the machine does changes it little
)

// peersReport gathers the rounds of all contenders.
type peersReport struct {
	columns []*column
	ratios  rates
}

// column is what the rounds of one contender found.
type column struct {
	contender
	rates                    rates
	answered, bound, running series
}

func newPeersReport(all []contender) *peersReport {
	p := &peersReport{}
	for _, c := range all {
		p.columns = append(p.columns, &column{
			contender: c,
			answered:  series{name: "POST → 201"}, bound: series{name: "POST → a watch says bound"}, running: series{name: "POST → a watch says Running"},
		})
	}
	return p
}

func (c *column) add(r *peerRound) {
	perPod := func(d time.Duration) float64 { return d.Seconds() * 1e6 / float64(c.pods) }
	c.rates.add("pods/s to 201", perSecond(len(r.answered), r.allAnswered))
	c.rates.add("pods/s bound to a node", perSecond(len(r.bound), r.allBound))
	c.rates.add(figureRunning, perSecond(len(r.running), r.allRunning))
	c.rates.add(figureCPU, perPod(r.serverCPU))
	c.rates.add("load, watch and stand-ins, CPU µs per pod", perPod(r.loadCPU))
	c.rates.add(figureAllCPU, perPod(r.serverCPU+r.loadCPU))
	c.rates.add("cores used, of servers and load", perSecond((r.serverCPU+r.loadCPU).Seconds(), r.allRunning))
	c.rates.add("servers, peak RSS in MiB", float64(r.serverRSS)/(1<<20))
	c.rates.add("etcd's transactions per pod", r.proposals/float64(c.pods))
	c.rates.add("etcd's fsyncs per pod", r.fsyncs/float64(c.pods))
	c.rates.add("refused with 429", float64(r.refused))
	c.rates.add("lost or placed twice", float64(r.wrong))
	for _, one := range []struct {
		of     *series
		values []time.Duration
	}{{&c.answered, r.answered}, {&c.bound, r.bound}, {&c.running, r.running}} {
		one.of.rounds = append(one.of.rounds, one.values)
	}
}

func perSecond[N int | float64](n N, in time.Duration) float64 {
	if in <= 0 {
		return 0
	}
	return float64(n) / in.Seconds()
}

// endRound compares the first two, which had as many pods.
func (p *peersReport) endRound() {
	last := func(c *column, figure string) float64 {
		of := c.rates.of[figure]
		return of[len(of)-1]
	}
	kubernetes, swell := p.columns[0], p.columns[1]
	for _, r := range []struct {
		name, figure   string
		of, comparedTo *column
	}{
		{ratioRunning, figureRunning, swell, kubernetes},
		{ratioCPU, figureCPU, kubernetes, swell},
		{ratioAllCPU, figureAllCPU, kubernetes, swell},
	} {
		if by := last(r.comparedTo, r.figure); by > 0 {
			p.ratios.add(r.name, last(r.of, r.figure)/by)
		}
	}
}

// all is every number under the name of its contender, for the file.
func (p *peersReport) all() (rates []rate, figures []figure) {
	rates = p.ratios.all()
	for _, c := range p.columns {
		for _, r := range c.rates.all() {
			r.Name = c.name + ": " + r.Name
			rates = append(rates, r)
		}
		for _, s := range []*series{&c.answered, &c.bound, &c.running} {
			f := s.figure()
			f.Name = c.name + ": " + f.Name
			figures = append(figures, f)
		}
	}
	return rates, figures
}

// print shows the contenders side by side, and the ratios of each round.
func (p *peersReport) print(w io.Writer, r *result) {
	m := r.Machine
	fmt.Fprintf(w, "\n%d rounds, in turn, on %d × %s, %s, Linux %s\n%s\nMedians of the rounds (least … most).\n\n",
		r.Rounds, m.Cores, m.CPU, m.Memory, m.Kernel, r.Setting["versions"])
	columns := []table.Column{{}}
	pods := []string{"pods in a round"}
	for _, c := range p.columns {
		columns = append(columns, table.Column{Name: c.name, Right: true})
		pods = append(pods, fmt.Sprint(c.contender.pods))
	}
	rows := [][]string{pods}
	for i, name := range p.columns[0].rates.names {
		row := []string{name}
		for _, c := range p.columns {
			row = append(row, short(c.rates.all()[i].spread))
		}
		rows = append(rows, row)
	}
	for i, s := range []*series{&p.columns[0].answered, &p.columns[0].bound, &p.columns[0].running} {
		for _, q := range []struct {
			name string
			of   float64
		}{{"p50", 0.50}, {"p99", 0.99}} {
			row := []string{s.name + ", " + q.name + " ms"}
			for _, c := range p.columns {
				row = append(row, short([]*series{&c.answered, &c.bound, &c.running}[i].spread(q.of)))
			}
			rows = append(rows, row)
		}
	}
	_ = table.New(columns...).Print(w, rows...) // fails as the lines around it would
	fmt.Fprintf(w, "\nRatios with %d pods each, by round:\n", p.columns[0].pods)
	for _, r := range p.ratios.all() {
		var each []string
		for _, v := range p.ratios.of[r.Name] {
			each = append(each, magnitude(v))
		}
		fmt.Fprintf(w, "%s   %s   median %s\n", r.Name, strings.Join(each, ", "), magnitude(r.Median))
	}
}

// short is a spread as the table shows it.
func short(s spread) string {
	return fmt.Sprintf("%s (%s … %s)", magnitude(s.Median), magnitude(s.Min), magnitude(s.Max))
}

// magnitude shows three digits or more.
func magnitude(v float64) string {
	switch {
	case v == 0 || v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// peerVersions is what the programs say of themselves, each on a line of its own.
func peerVersions(ctx context.Context, dir string) (string, error) {
	var said []string
	for _, name := range kubePrograms {
		out, err := exec.CommandContext(ctx, filepath.Join(dir, name), "--version").CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%s --version: %w\n%s", name, err, out)
		}
		first, _, _ := strings.Cut(string(out), "\n")
		said = append(said, name+": "+strings.TrimSpace(first))
	}
	return strings.Join(said, "; "), nil
}
