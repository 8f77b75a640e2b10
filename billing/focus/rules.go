package focus

import (
	"fmt"
	"math/big"
	"strings"
)

// rule is one that a row keeps by itself. It isn't checked of files that lack its columns.
type rule struct {
	in      Version
	dataset Dataset
	column  string
	with    []string // other columns that it is about
	text    string
	broken  func(*record) string // what is wrong; empty: nothing
}

func (r *rule) columns() []string { return append([]string{r.column}, r.with...) }

// rules are FOCUS's, by dataset.
var rules = concat(costAndUsageRules, contractCommitmentRules, invoiceRules)

func concat(lists ...[]rule) []rule {
	var all []rule
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// when makes a rule of the rows for which a condition holds.
func when(in Version, d Dataset, column string, with []string, text string, condition, holds func(*record) bool) rule {
	return rule{in, d, column, with, text, func(r *record) string {
		if condition(r) && !holds(r) {
			return r.show(append([]string{column}, with...)...)
		}
		return ""
	}}
}

func always(*record) bool { return true }

func isNull(name string) func(*record) bool { return func(r *record) bool { return r.null(name) } }

func notNull(name string) func(*record) bool { return func(r *record) bool { return !r.null(name) } }

func says(name string, values ...string) func(*record) bool {
	return func(r *record) bool { return r.is(name, values...) }
}

func not(f func(*record) bool) func(*record) bool { return func(r *record) bool { return !f(r) } }

func all(list ...func(*record) bool) func(*record) bool {
	return func(r *record) bool {
		for _, f := range list {
			if !f(r) {
				return false
			}
		}
		return true
	}
}

func either(list ...func(*record) bool) func(*record) bool {
	return func(r *record) bool {
		for _, f := range list {
			if f(r) {
				return true
			}
		}
		return false
	}
}

// nullWithout: null when the other is.
func nullWithout(in Version, d Dataset, column, other string) rule {
	return when(in, d, column, []string{other}, "MUST be null when "+other+" is null", isNull(other), isNull(column))
}

// nullTogether: null when and only when the other is.
func nullTogether(in Version, d Dataset, column, other string) []rule {
	return []rule{nullWithout(in, d, column, other),
		when(in, d, column, []string{other}, "MUST NOT be null when "+other+" is not null", notNull(other), notNull(column))}
}

func allowed(in Version, d Dataset, column string, values ...string) rule {
	return when(in, d, column, nil, "MUST be one of the allowed values: "+strings.Join(values, ", "), notNull(column), says(column, values...))
}

// equal: two numbers are the same; what is no number is left to others.
func equal(a, b string) func(*record) bool {
	return func(r *record) bool {
		x, y := r.number(a), r.number(b)
		return x == nil || y == nil || x.Cmp(y) == 0
	}
}

func zero(name string) func(*record) bool {
	return func(r *record) bool { n := r.number(name); return n == nil || n.Sign() == 0 }
}

func between(name string, low, high int64) func(*record) bool {
	return func(r *record) bool {
		n := r.number(name)
		return n == nil || (n.Cmp(big.NewRat(low, 1)) >= 0 && n.Cmp(big.NewRat(high, 1)) <= 0)
	}
}

func atLeastZero(name string) func(*record) bool {
	return func(r *record) bool { n := r.number(name); return n == nil || n.Sign() >= 0 }
}

// product: the cost is unit price × quantity, to the last place.
func product(d Dataset, cost, unitPrice, quantity string) rule {
	return rule{everyVersion, d, cost, []string{unitPrice, quantity},
		fmt.Sprintf("MUST equal the product of %s and %s when neither is null", unitPrice, quantity), func(r *record) string {
			c, p, q := r.number(cost), r.number(unitPrice), r.number(quantity)
			if c == nil || p == nil || q == nil {
				return ""
			}
			if want := p.Mul(p, q); c.Cmp(want) != 0 {
				return r.show(cost, unitPrice, quantity)
			}
			return ""
		}}
}

// earlier: a moment before another, or at it. Moments of FOCUS's form are ordered as text.
func earlier(a, b string, same bool) func(*record) bool {
	return func(r *record) bool {
		if r.null(a) || r.null(b) {
			return true
		}
		return r.text(a) < r.text(b) || (same && r.text(a) == r.text(b))
	}
}
