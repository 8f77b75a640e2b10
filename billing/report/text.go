package report

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"swell.dev/swell/billing"
	"swell.dev/swell/internal/fixed"
)

// OthersLabel and NoneLabel are what people read where a row has no key, or a charge no value.
const (
	OthersLabel = "(others)"
	NoneLabel   = "(none)"
)

// decimals are the places with which amounts are shown to people, so that small sums aren't all zeros: two, or as
// many as give the largest four digits. CSV and JSON have all places.
func decimals(largest billing.Money) int {
	if largest.Sign() < 0 {
		largest = largest.Neg()
	}
	if largest.IsZero() {
		return 2
	}
	whole, fraction, _ := strings.Cut(largest.String(), ".")
	if whole != "0" {
		return max(2, 4-len(whole))
	}
	zeros := len(fraction) - len(strings.TrimLeft(fraction, "0"))
	return min(zeros+4, 21)
}

// hours writes a quantity with three places.
func hours(q billing.Quantity) string {
	return thousandths(int64(q), 1_000_000)
}

// thousandths writes v/scale in thousandths, where scale is what one thousandth is.
func thousandths(v, scale int64) string {
	sign := ""
	if v < 0 {
		sign, v = "-", -v
	}
	return sign + fixed.Thousandths((v+scale/2)/scale)
}

// seconds writes milliseconds.
func seconds(millis int64) string { return thousandths(millis, 1) }

// percent writes part of whole with one place; nothing where there is no whole.
func percent(part, whole billing.Money) string {
	if whole.IsZero() {
		return ""
	}
	return strconv.FormatFloat(100*part.Float()/whole.Float(), 'f', 1, 64) + "%"
}

// Share writes part/whole in millionths, rounded half to even, so that it is the same everywhere; nothing where
// there is no whole.
func Share(part, whole billing.Money) string {
	if whole.IsZero() {
		return ""
	}
	r := new(big.Rat).Quo(rat(part), rat(whole))
	return r.FloatString(6)
}

func rat(m billing.Money) *big.Rat {
	r, ok := new(big.Rat).SetString(m.String())
	if !ok {
		panic("money: " + m.String())
	}
	return r
}

// name writes a period: its day or month where it is one.
func (p Period) name(step Step, zone *time.Location) string {
	from := time.UnixMilli(p.From).In(zone)
	switch step {
	case Monthly:
		return from.Format("2006-01")
	case Daily:
		return from.Format(time.DateOnly)
	case Hourly:
		return from.Format("2006-01-02T15:04Z07:00")
	}
	return fmt.Sprintf("%s to %s", instant(p.From, zone), instant(p.To, zone))
}

// instant writes a day where it is a day's beginning.
func instant(ms int64, zone *time.Location) string {
	t := time.UnixMilli(ms).In(zone)
	if y, m, d := t.Date(); t.Equal(billing.Midnight(y, m, d, zone)) {
		return t.Format(time.DateOnly)
	}
	return t.Format(time.RFC3339)
}

// text is a key as people read it.
func (r *Row) text(i int) string {
	switch {
	case r.Others:
		return OthersLabel
	case r.Key[i] == "":
		return NoneLabel
	}
	return r.Key[i]
}
