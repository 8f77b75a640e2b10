package focus

import (
	"time"

	"swell.dev/swell/billing"
)

// Value is what a row says in one column. The zero value is null.
type Value struct {
	kind  kind
	text  string
	money billing.Money // of a decimal: any number, in 1e-21
	ms    int64         // Unix milliseconds
}

type kind uint8

const (
	null kind = iota
	text
	decimal
	moment
)

// str is null when it is empty: FOCUS has no empty strings.
func str(s string) Value {
	if s == "" {
		return Value{}
	}
	return Value{kind: text, text: s}
}

func num(m billing.Money) Value { return Value{kind: decimal, money: m} }

// one is the price for which a quantity costs what it counts.
const one billing.Price = 1_000_000_000_000

// hours is a quantity as a number.
func hours(q billing.Quantity) Value { return num(q.At(one)) }

// price is a unit price as a number.
func price(p billing.Price) Value { return num(billing.Quantity(1_000_000_000).At(p)) }

func at(ms int64) Value { return Value{kind: moment, ms: ms} }

// timeForm is the one form that FOCUS has for a moment.
const timeForm = "2006-01-02T15:04:05Z"

// String is the value in a CSV file.
func (v Value) String() string {
	switch v.kind {
	case text:
		return v.text
	case decimal:
		return v.money.String()
	case moment:
		return time.UnixMilli(v.ms).UTC().Format(timeForm)
	}
	return ""
}
