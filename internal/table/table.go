// Package table writes rows in aligned columns, also when rows keep coming.
package table

import (
	"io"
	"strings"
	"unicode/utf8"
)

// gap separates columns.
const gap = "   "

// Column is a heading and the side on which its cells are aligned.
type Column struct {
	Name  string
	Right bool // for numbers
}

// Table remembers its widths, so that rows printed later align with earlier ones; a later cell that is
// wider widens its column from there on. The heading is printed with the first rows.
type Table struct {
	columns []Column
	widths  []int
	started bool
}

// New answers a table with these columns.
func New(columns ...Column) *Table {
	t := &Table{columns: columns, widths: make([]int, len(columns))}
	for i, c := range columns {
		t.widths[i] = utf8.RuneCountInString(c.Name)
	}
	return t
}

// Print writes rows; every row has one cell per column, and an empty cell stays empty.
func (t *Table) Print(w io.Writer, rows ...[]string) error {
	for _, row := range rows {
		for i, cell := range row {
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	if !t.started {
		t.started = true
		heading := make([]string, len(t.columns))
		for i, c := range t.columns {
			heading[i] = c.Name
		}
		t.line(&b, heading)
	}
	for _, row := range rows {
		t.line(&b, row)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *Table) line(b *strings.Builder, row []string) {
	var line strings.Builder
	for i, cell := range row {
		pad := strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(cell))
		if i > 0 {
			line.WriteString(gap)
		}
		if t.columns[i].Right {
			line.WriteString(pad + cell)
		} else {
			line.WriteString(cell + pad)
		}
	}
	b.WriteString(strings.TrimRight(line.String(), " "))
	b.WriteByte('\n')
}
