package fixed

import "strings"

// Round writes a decimal such as 12.3456 with a number of places, rounded half to even. What isn't a decimal comes
// back as it is.
func Round(s string, places int) string {
	sign, magnitude := "", s
	if strings.HasPrefix(s, "-") {
		sign, magnitude = "-", s[1:]
	}
	whole, fraction, _ := strings.Cut(magnitude, ".")
	if strings.Trim(whole+fraction, "0123456789") != "" || whole == "" {
		return s
	}
	if short := places - len(fraction); short >= 0 {
		return join(sign, whole+fraction+strings.Repeat("0", short), places)
	}
	digits, rest := []byte(whole+fraction[:places]), fraction[places:]
	if up(digits[len(digits)-1], rest) {
		i := len(digits) - 1
		for ; i >= 0 && digits[i] == '9'; i-- {
			digits[i] = '0'
		}
		if i < 0 {
			digits = append([]byte{'1'}, digits...)
		} else {
			digits[i]++
		}
	}
	if strings.Trim(string(digits), "0") == "" {
		sign = ""
	}
	return join(sign, string(digits), places)
}

// up reports whether the digits that are left out round the last one that stays up.
func up(last byte, rest string) bool {
	if rest[0] == '5' && strings.Trim(rest[1:], "0") == "" {
		return (last-'0')%2 == 1
	}
	return rest[0] >= '5'
}

func join(sign, digits string, places int) string {
	if places == 0 {
		return sign + digits
	}
	return sign + digits[:len(digits)-places] + "." + digits[len(digits)-places:]
}
