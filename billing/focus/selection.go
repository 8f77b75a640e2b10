package focus

import (
	"fmt"
	"slices"
	"strings"
)

// Selection is the columns that a reader wants, of those that there are.
type Selection struct {
	Columns []Column
	index   []int // of the selected ones; nil: all
}

// Select chooses columns by name, in the order of all; no names are all.
func Select(all []Column, names []string) (*Selection, error) {
	s := &Selection{Columns: all}
	if len(names) == 0 {
		return s, nil
	}
	for _, name := range names {
		if !slices.ContainsFunc(all, func(c Column) bool { return c.Name == name }) {
			var known []string
			for _, c := range all {
				known = append(known, c.Name)
			}
			return nil, fmt.Errorf("column %q: want some of %s", name, strings.Join(known, ", "))
		}
	}
	s.Columns = nil
	for i, c := range all {
		if slices.Contains(names, c.Name) {
			s.Columns = append(s.Columns, c)
			s.index = append(s.index, i)
		}
	}
	return s, nil
}

// Of passes the selected columns of rows on to a writer that was made with them.
func (s *Selection) Of(w Writer) Writer {
	if s.index == nil {
		return w
	}
	return &selected{w, s.index, make(Row, len(s.index))}
}

type selected struct {
	Writer
	index []int
	row   Row
}

func (s *selected) Write(row Row) error {
	for k, i := range s.index {
		s.row[k] = row[i]
	}
	return s.Writer.Write(s.row)
}
