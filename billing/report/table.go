package report

import (
	"io"
	"strings"

	"swell.dev/swell/billing"
	"swell.dev/swell/internal/table"
)

// Table writes the rows and the total for people: amounts are rounded, resources that nothing used are left out.
func (r *Report) Table(w io.Writer) error {
	var columns []table.Column
	stepped := r.Query.Step != NoStep
	if stepped {
		columns = append(columns, table.Column{Name: strings.ToUpper(r.Query.Step.String())})
	}
	for _, d := range r.Query.By {
		columns = append(columns, table.Column{Name: strings.ToUpper(d.String())})
	}
	if len(columns) == 0 {
		columns = append(columns, table.Column{})
	}
	keys := len(columns)
	for _, name := range append(append([]string{"SECONDS"}, r.resourceNames()...), "LIST", "BILLED", "EFFECTIVE", "SAVING", "SHARE") {
		columns = append(columns, table.Column{Name: name, Right: true})
	}
	columns = append(columns, table.Column{})
	var rows [][]string
	for i := range r.Rows {
		row := &r.Rows[i]
		if !stepped && len(r.Query.By) == 0 {
			break // it is the total
		}
		var line []string
		if stepped {
			line = append(line, row.Period.name(r.Query.Step, r.Query.Zone))
		}
		for j := range r.Query.By {
			line = append(line, printable(row.text(j)))
		}
		rows = append(rows, append(line, r.cells(&row.Sums)...))
	}
	total := make([]string, keys)
	total[0] = "total"
	rows = append(rows, append(total, r.cells(&r.Total)...))
	return table.New(columns...).Print(w, rows...)
}

// used are the resources that anything used.
func (r *Report) used() []billing.Resource {
	var out []billing.Resource
	for _, of := range billing.Resources {
		for i := range r.Rows {
			if r.Rows[i].Quantity[of] != 0 {
				out = append(out, of)
				break
			}
		}
	}
	return out
}

func (r *Report) resourceNames() []string {
	var out []string
	for _, of := range r.used() {
		name := strings.ToUpper(of.Unit())
		if of == billing.GPUMemory || of == billing.Storage {
			name = strings.ToUpper(of.String()) + " " + name
		}
		out = append(out, name)
	}
	return out
}

func (r *Report) cells(s *Sums) []string {
	line := []string{seconds(s.Millis)}
	for _, of := range r.used() {
		line = append(line, hours(s.Quantity[of]))
	}
	places := decimals(r.Total.List)
	for _, m := range []billing.Money{s.List, s.Billed, s.Effective, s.Saving()} {
		line = append(line, m.Fixed(places))
	}
	return append(line, percent(s.Effective, r.Total.Effective), r.Currency)
}

// printable keeps what somebody named a pod from steering a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) {
			return '?'
		}
		return r
	}, s)
}
