package focus

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Rules that hold for columns by their type, and for the file's header.
const (
	rulePresent     = "MUST be present"
	ruleRecommended = "SHOULD be present"
	ruleNotNull     = "MUST NOT be null"
	ruleDecimal     = "MUST be of type Decimal and conform to NumericFormat"
	ruleDateTime    = "MUST be of type Date/Time and conform to DateTimeFormat: YYYY-MM-DDTHH:mm:ssZ"
	ruleString      = "MUST conform to NullHandling: null instead of a placeholder"
	ruleBlank       = "SHOULD conform to StringHandling: no strings of nothing but white space"
	ruleCurrency    = "MUST conform to CurrencyFormat: a code of ISO 4217"
	ruleKeyValue    = "MUST conform to KeyValueFormat: a JSON object of unique keys, whose values are neither objects nor arrays"
	ruleObject      = "MUST conform to JsonObjectFormat: a JSON object of unique keys"
	ruleKnown       = "MUST be a column of the dataset, or have the prefix x_ of custom columns"
	ruleOnce        = "MUST be unique"
	ruleOrder       = "SHOULD be in the order of names, FOCUS's columns before custom ones"
	ruleCustomName  = "SHOULD be the prefix x_ and a name in Pascal case of at most 50 characters"
)

var (
	numberForm     = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?([eE]-?[0-9]+)?$`)
	momentForm     = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$`)
	currencyForm   = regexp.MustCompile(`^[A-Z]{3}$`)
	customNameForm = regexp.MustCompile(`^x_[A-Z][A-Za-z0-9]*$`)
)

// placeholders are what files have instead of null. No name of a pod or a namespace can be one of them.
var placeholders = []string{"NULL", "Null", "N/A", "n/a", "Not Applicable", "<null>"}

// keyValues are the JSON columns that are flat.
var keyValues = []string{"AllocatedTags", "InvoiceDetailGrain", "SkuPriceDetails", "Tags"}

var currencies = []string{"BillingCurrency", "PaymentCurrency", "PricingCurrency"}

// header checks the file's columns and chooses what is checked of their values.
func (c *checker) header(t Table, v Version, d Dataset) {
	all := map[string]*Column{}
	columns := known(v, d)
	for i := range columns {
		all[columns[i].Name] = &columns[i]
	}
	c.columns = make([]*Column, len(c.names))
	c.checks = make([]func(*checker, string) (string, string), len(c.names))
	for i, name := range c.names {
		if _, twice := c.index[name]; twice {
			c.report.found(Violation{0, name, ruleOnce, "it is there twice"})
		}
		c.index[name] = i
		c.columns[i] = all[name]
		switch custom := strings.HasPrefix(name, "x_"); {
		case all[name] == nil && !custom:
			c.report.found(Violation{0, name, ruleKnown, fmt.Sprintf("FOCUS %s has no such column in %s", v, d.ID())})
		case custom && (!customNameForm.MatchString(name) || len(name) > 50):
			c.report.found(Violation{0, name, ruleCustomName, "it is named otherwise"})
		}
		if i > 0 && before(name, c.names[i-1]) {
			c.report.found(Violation{0, name, ruleOrder, "it is behind " + c.names[i-1]})
		}
		if all[name] != nil {
			c.checks[i] = valueCheck(*all[name])
			if rule, problem := physicalProblem(t, i, *all[name]); problem != "" {
				c.report.found(Violation{0, name, rule, problem})
			}
		}
	}
	for _, col := range columns {
		if _, ok := c.index[col.Name]; ok {
			continue
		}
		switch col.Level {
		case Mandatory:
			c.report.found(Violation{0, col.Name, rulePresent, "it is missing"})
		case Recommended:
			// Columns that aren't written have nothing to say: see column.go.
			if col.written {
				c.report.found(Violation{0, col.Name, ruleRecommended, "it is missing"})
			}
		}
	}
}

// before orders FOCUS's columns before custom ones, and each by name.
func before(a, b string) bool {
	if x, y := strings.HasPrefix(a, "x_"), strings.HasPrefix(b, "x_"); x != y {
		return y
	}
	return a < b
}

// physicalProblem compares a column's type in the file, where files have types.
func physicalProblem(t Table, i int, c Column) (rule, problem string) {
	has, ok := t.physical(i)
	if !ok {
		return "", ""
	}
	want := c.Type
	if want == JSON {
		want = String
	}
	if has == want {
		return "", ""
	}
	return map[Type]string{String: "MUST be of type String", Decimal: ruleDecimal, DateTime: ruleDateTime}[want],
		fmt.Sprintf("the file's type is one for %s", has)
}

// valueCheck answers what is checked of each value of a column.
func valueCheck(c Column) func(*checker, string) (string, string) {
	switch {
	case c.Type == Decimal:
		return func(_ *checker, s string) (string, string) {
			if !numberForm.MatchString(s) {
				return ruleDecimal, fmt.Sprintf("it is %q", s)
			}
			return "", ""
		}
	case c.Type == DateTime:
		return func(_ *checker, s string) (string, string) {
			if _, err := time.Parse(timeForm, s); err != nil || !momentForm.MatchString(s) {
				return ruleDateTime, fmt.Sprintf("it is %q", s)
			}
			return "", ""
		}
	case c.Type == JSON:
		rule, flat := ruleObject, false
		if slices.Contains(keyValues, c.Name) {
			rule, flat = ruleKeyValue, true
		}
		return func(k *checker, s string) (string, string) {
			o, err := k.objects.parse(s)
			if err == nil && flat {
				err = nested(o)
			}
			if err != nil {
				return rule, err.Error()
			}
			return "", ""
		}
	case slices.Contains(currencies, c.Name):
		return func(_ *checker, s string) (string, string) {
			if !currencyForm.MatchString(s) {
				return ruleCurrency, fmt.Sprintf("it is %q", s)
			}
			return "", ""
		}
	}
	return func(_ *checker, s string) (string, string) {
		switch {
		case slices.Contains(placeholders, s):
			return ruleString, fmt.Sprintf("it is %q", s)
		case strings.TrimSpace(s) == "":
			return ruleBlank, fmt.Sprintf("it is %q", s)
		}
		return "", ""
	}
}
