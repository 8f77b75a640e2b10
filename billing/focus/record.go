package focus

import (
	"fmt"
	"math/big"
	"slices"
)

// record is a row that is checked. What a column that the file lacks says is null.
type record struct {
	c      *checker
	fields []field
}

func (r *record) field(name string) field {
	if i, ok := r.c.index[name]; ok {
		return r.fields[i]
	}
	return field{null: true}
}

func (r *record) null(name string) bool { return r.field(name).null }

func (r *record) text(name string) string { return r.field(name).text }

// is reports that the column says one of the values.
func (r *record) is(name string, values ...string) bool {
	f := r.field(name)
	return !f.null && slices.Contains(values, f.text)
}

// number answers nil for what is null or no number: its type is checked elsewhere.
func (r *record) number(name string) *big.Rat {
	f := r.field(name)
	if f.null || !numberForm.MatchString(f.text) {
		return nil
	}
	n, _ := new(big.Rat).SetString(f.text)
	return n
}

// show says what some columns say.
func (r *record) show(names ...string) string {
	s := ""
	for _, name := range names {
		if s != "" {
			s += ", "
		}
		if f := r.field(name); f.null {
			s += name + " is null"
		} else {
			s += fmt.Sprintf("%s is %q", name, f.text)
		}
	}
	return s
}
