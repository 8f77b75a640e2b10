// Package fixed writes integers that count fractions of a unit as decimals, exactly: no float is
// involved, so that a bill's lines add up to its total to the last digit.
package fixed

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Thousandths writes v/1000 with three digits after the point.
func Thousandths(v int64) string { return Decimal(v, 3) }

// Decimal writes v/10^digits with that many digits after the point.
func Decimal(v int64, digits int) string {
	sign := ""
	magnitude := uint64(v)
	if v < 0 {
		sign, magnitude = "-", -magnitude // two's complement: right for the smallest int64 too
	}
	s := strconv.FormatUint(magnitude, 10)
	for len(s) <= digits {
		s = "0" + s
	}
	if digits == 0 {
		return sign + s
	}
	return sign + s[:len(s)-digits] + "." + s[len(s)-digits:]
}

// Parse reads what Decimal writes: an unsigned decimal of at most that many digits after the point.
func Parse(s string, digits int) (int64, error) {
	whole, fraction, point := strings.Cut(s, ".")
	if len(fraction) > digits {
		fraction = strings.TrimRight(fraction, "0")
	}
	if len(fraction) > digits {
		return 0, fmt.Errorf("more than %d decimal places", digits)
	}
	if whole == "" || point && strings.HasSuffix(s, ".") || strings.Trim(whole+fraction, "0123456789") != "" {
		return 0, errors.New("want a decimal such as 12.5")
	}
	v, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", digits-len(fraction)), 10, 64)
	if err != nil {
		return 0, errors.New("too much")
	}
	return v, nil
}

// Bytes writes a size for reading, in decimal units with one digit after the point, rounded down.
func Bytes(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + "B"
	}
	units := []string{"kB", "MB", "GB", "TB", "PB", "EB"}
	unit, scale := 0, int64(1000)
	for n/scale >= 1000 && unit < len(units)-1 {
		unit, scale = unit+1, scale*1000
	}
	return Decimal(n/(scale/10), 1) + units[unit]
}
