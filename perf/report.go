package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func reportCommand(s *setting) *cobra.Command {
	var page string
	cmd := &cobra.Command{
		Use: "report", Short: "Write the tables and plots of a page from the results; what is written by hand around them stays",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return report(s.results, page) },
	}
	cmd.Flags().StringVar(&page, "page", "docs/performance.md", "page with markers; plots go into a folder beside it, named as it is")
	return cmd
}

// Markers enclose what the program writes: a line with the beginning and a name, and a line with the end.
const (
	markBegin = "<!-- perf:begin "
	markEnd   = "<!-- perf:end -->"
	markClose = " -->"
)

// sectionTargets is the name of the part that compares with the bars; every other one is a result's.
const sectionTargets = "targets"

const notMeasured = "Not measured yet."

// report writes the parts of a page, and the plots.
func report(results, page string) error {
	all, err := readResults(results)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	plots := strings.TrimSuffix(page, filepath.Ext(page))
	written, err := fillIn(string(text), func(name string) (string, error) {
		if name == sectionTargets {
			return targetsTable(all), nil
		}
		r := all[name]
		if r == nil {
			return notMeasured + "\n", nil
		}
		images, err := r.writePlots(plots)
		return r.markdown() + images, err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	return os.WriteFile(page, []byte(written), 0o644)
}

func readResults(dir string) (map[string]*result, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	all := map[string]*result{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var r result
		if err := json.Unmarshal(raw, &r); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = &r
	}
	return all, nil
}

// fillIn replaces what stands between markers by what is made for each name.
func fillIn(page string, make func(name string) (string, error)) (string, error) {
	var out strings.Builder
	open := ""
	for line := range strings.Lines(page) {
		bare := strings.TrimSpace(line)
		name, begins := strings.CutPrefix(bare, markBegin)
		switch {
		case begins && open != "":
			return "", fmt.Errorf("%s begins within %s", bare, open)
		case begins:
			var closed bool
			if name, closed = strings.CutSuffix(name, markClose); !closed {
				return "", fmt.Errorf("%s has no end", bare)
			}
			open = name
			part, err := make(name)
			if err != nil {
				return "", fmt.Errorf("%s: %w", name, err)
			}
			out.WriteString(line + "\n" + part + "\n")
		case bare == markEnd && open == "":
			return "", errors.New("a part ends that hasn't begun")
		case bare == markEnd:
			open = ""
			out.WriteString(line)
		case open == "":
			out.WriteString(line)
		}
	}
	if open != "" {
		return "", fmt.Errorf("%s doesn't end", open)
	}
	return out.String(), nil
}

func targetsTable(all map[string]*result) string {
	var b strings.Builder
	b.WriteString("| what | bar | measured (least … most) | |\n|---|---|---|---|\n")
	for _, t := range targets {
		got, ok := t.find(all)
		if !ok {
			fmt.Fprintf(&b, "| %s | %s | – | not measured yet |\n", t.what, t.bar)
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %s %s | %s |\n", t.what, t.bar, got.human(), t.unit, t.verdict(got.Median))
	}
	return b.String()
}

// human is a spread as people read it.
func (s spread) human() string {
	if s.Min == s.Max {
		return "**" + number(s.Median) + "**"
	}
	return fmt.Sprintf("**%s** (%s … %s)", number(s.Median), number(s.Min), number(s.Max))
}

// markdown is the tables of a result.
func (r *result) markdown() string {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "%s: %d rounds of %s on %d × %s, %s, Linux %s, %s.\n", r.Time.Format("2006-01-02"), r.Rounds, grouped(int64(r.Samples)), m.Cores, m.CPU, m.Memory, m.Kernel, m.Cgroup)
	var with []string
	for name, value := range r.Setting {
		with = append(with, name+": "+value)
	}
	slices.Sort(with)
	fmt.Fprintf(&b, "Setting: %s.\n", strings.Join(with, "; "))
	if len(r.Rates) > 0 {
		b.WriteString("\n| | median of rounds (least … most) |\n|---|---|\n")
		for _, one := range r.Rates {
			fmt.Fprintf(&b, "| %s | %s |\n", one.Name, one.human())
		}
	}
	if len(r.Figures) > 0 {
		b.WriteString("\n| milliseconds | p50 | p99 | p99.9 |\n|---|---|---|---|\n")
		for _, f := range r.Figures {
			p999 := "–"
			if f.P999 != nil {
				p999 = f.P999.human()
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", f.Name, f.P50.human(), f.P99.human(), p999)
		}
	}
	return b.String()
}
