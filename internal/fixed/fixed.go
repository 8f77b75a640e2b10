// Package fixed writes integers that count fractions of a unit as decimals, exactly: no float is
// involved, so that a bill's lines add up to its total to the last digit.
package fixed

import "strconv"

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
