package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// How the plots of curves are drawn, by their names.
var plotForms = map[string]chart{
	plotLatencies: {title: "latency", xLabel: "share of all that are answered within it", yLabel: "milliseconds", xTail: true, yLog: true},
	"growth":      {title: "memory and storage over time", xLabel: "seconds", yLabel: "MiB"},
	"latency":     {title: "a create with nothing else to do", xLabel: "nodes", yLabel: "milliseconds", xLog: true},
	"with":        {title: "with the reflex", xLabel: "milliseconds", yLabel: "milli-CPU"},
	"without":     {title: "without", xLabel: "milliseconds", yLabel: "milli-CPU"},
	"memory":      {title: "what a node takes", xLabel: "nodes", yLabel: "KiB", xLog: true},
}

// plots draws a result: its curves by plot, and bars of the rates whose unit is pods or containers a second.
func (r *result) plots() []namedChart {
	var out []namedChart
	bars := chart{title: r.Scenario + ": rates, with the spread of the rounds", xLabel: "a second"}
	for _, one := range r.Rates {
		if strings.Contains(one.Name, "pods/s") && one.Max > 0 && !strings.Contains(one.Name, " : ") || strings.HasPrefix(one.Name, "containers/s,") {
			bars.bars = append(bars.bars, chartBar{one.Name, one.spread})
		}
	}
	if len(bars.bars) > 0 {
		out = append(out, namedChart{"rates", bars})
	}
	var names []string
	for _, c := range r.Curves {
		if !slices.Contains(names, c.Plot) {
			names = append(names, c.Plot)
		}
	}
	for _, name := range names {
		form, ok := plotForms[name]
		if !ok {
			form = chart{title: name}
		}
		form.title = r.Scenario + ": " + form.title
		for _, c := range r.Curves {
			if c.Plot == name && len(c.Points) > 1 {
				form.lines = append(form.lines, c)
			}
		}
		if len(form.lines) > 0 {
			out = append(out, namedChart{name, form})
		}
	}
	return out
}

type namedChart struct {
	name string
	chart
}

// writePlots writes the plots into a folder and answers the lines that show them.
func (r *result) writePlots(dir string) (string, error) {
	var b strings.Builder
	for _, p := range r.plots() {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
		file := fmt.Sprintf("%s-%s.svg", r.Scenario, p.name)
		if err := os.WriteFile(filepath.Join(dir, file), []byte(p.svg()), 0o644); err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "\n![%s](%s/%s)\n", p.title, filepath.Base(dir), file)
	}
	return b.String(), nil
}
