package focus

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// Violation is a rule of FOCUS's that a file breaks.
type Violation struct {
	Row     int // of the file's rows, from 1; 0: the file as a whole
	Column  string
	Rule    string // what FOCUS says of the column: MUST be …, SHOULD be …
	Problem string // what the file says instead
}

// Must reports that the rule isn't a mere recommendation.
func (v Violation) Must() bool { return strings.HasPrefix(v.Rule, "MUST") }

func (v Violation) String() string {
	where := "file"
	if v.Row > 0 {
		where = fmt.Sprintf("row %d", v.Row)
	}
	return fmt.Sprintf("%s: %s %s: %s", where, v.Column, v.Rule, v.Problem)
}

// Report is what a validation found.
type Report struct {
	Rows       int
	Musts      int // violations of what must be
	Shoulds    int // violations of recommendations
	Violations []Violation
}

// MaxViolations are told in full; beyond them they are counted.
const MaxViolations = 1000

func (r *Report) found(v Violation) {
	if v.Must() {
		r.Musts++
	} else {
		r.Shoulds++
	}
	if len(r.Violations) < MaxViolations {
		r.Violations = append(r.Violations, v)
	}
}

// Validate checks a file against the rules that a version of FOCUS has for a dataset. It needs little memory, however
// long the file is. An error says that the file can't be read.
func Validate(t Table, v Version, d Dataset) (*Report, error) {
	c := newChecker(t, v, d)
	for {
		fields, err := t.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", c.report.Rows+1, err)
		}
		c.report.Rows++
		c.row(fields)
	}
	for _, f := range c.files {
		f.done(func(v Violation) { c.report.found(v) })
	}
	return c.report, nil
}

// checker holds what is known of a file from its header.
type checker struct {
	report  *Report
	names   []string
	columns []*Column // of the names; nil: none of FOCUS's
	checks  []func(c *checker, text string) (rule, problem string)
	objects objects
	index   map[string]int
	rules   []rule
	files   []fileRule
}

func newChecker(t Table, v Version, d Dataset) *checker {
	c := &checker{report: &Report{}, names: t.names(), index: map[string]int{}, objects: objects{}}
	c.header(t, v, d)
	for _, r := range rules {
		if r.in&v != 0 && r.dataset == d && c.hasAll(r.columns()) {
			c.rules = append(c.rules, r)
		}
	}
	for _, f := range fileRules(v, d) {
		if c.hasAll(f.needs()) {
			c.files = append(c.files, f)
		}
	}
	return c
}

func (c *checker) hasAll(columns []string) bool {
	for _, name := range columns {
		if _, ok := c.index[name]; !ok {
			return false
		}
	}
	return true
}

func (c *checker) row(fields []field) {
	r := &record{c, fields}
	for i, f := range fields {
		column := c.columns[i]
		switch {
		case f.null:
			if column != nil && !column.Nullable {
				c.broken(c.names[i], ruleNotNull, "it is null")
			}
		case c.checks[i] != nil:
			if rule, problem := c.checks[i](c, f.text); problem != "" {
				c.broken(c.names[i], rule, problem)
			}
		}
	}
	for i := range c.rules {
		if problem := c.rules[i].broken(r); problem != "" {
			c.broken(c.rules[i].column, c.rules[i].text, problem)
		}
	}
	for _, f := range c.files {
		f.add(r)
	}
}

func (c *checker) broken(column, rule, problem string) {
	c.report.found(Violation{c.report.Rows, column, rule, problem})
}
