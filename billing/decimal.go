package billing

import (
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strings"
)

func pow10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// decimal writes v×10^-places.
func decimal(v *big.Int, places int) string {
	digits := new(big.Int).Abs(v).String()
	if len(digits) <= places {
		digits = strings.Repeat("0", places+1-len(digits)) + digits
	}
	if places > 0 {
		digits = digits[:len(digits)-places] + "." + digits[len(digits)-places:]
	}
	if v.Sign() < 0 {
		return "-" + digits
	}
	return digits
}

var decimalForm = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)

// parseDecimal reads a decimal in units of 10^-places.
func parseDecimal(s string, places int) (*big.Int, error) {
	if len(s) > 64 || !decimalForm.MatchString(s) {
		return nil, errors.New("want a decimal such as 12.5")
	}
	whole, fraction, _ := strings.Cut(s, ".")
	fraction = strings.TrimRight(fraction, "0")
	if len(fraction) > places {
		return nil, fmt.Errorf("more than %d decimal places", places)
	}
	v, _ := new(big.Int).SetString(whole+fraction+strings.Repeat("0", places-len(fraction)), 10)
	return v, nil
}
