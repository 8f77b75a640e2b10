package billing

import (
	"fmt"
	"math/big"
	"math/bits"
	"strconv"
	"strings"
)

// moneyPlaces are the decimal places of Money: those of a Price and those of a Quantity together, so that a
// product of the two is exact.
const moneyPlaces = pricePlaces + quantityPlaces

// Money is an exact amount of a currency, in units of 1e-21 of it and 128 bits: up to 1.7e17 either way, beyond
// which its methods panic. No operation rounds but Round and Fixed. The zero value is no money, and equal amounts
// are equal values.
type Money struct {
	hi int64
	lo uint64
}

// Plus answers m+n.
func (m Money) Plus(n Money) Money {
	lo, carry := bits.Add64(m.lo, n.lo, 0)
	hi := m.hi + n.hi + int64(carry)
	if (m.hi < 0) == (n.hi < 0) && (hi < 0) != (m.hi < 0) {
		panic(fmt.Sprintf("money: %s and %s are too much together", m, n))
	}
	return Money{hi, lo}
}

// Minus answers m−n.
func (m Money) Minus(n Money) Money { return m.Plus(n.Neg()) }

// Neg answers −m.
func (m Money) Neg() Money {
	lo, borrow := bits.Sub64(0, m.lo, 0)
	return Money{-m.hi - int64(borrow), lo}
}

// Compare answers -1, 0 or 1, as m is less than, equal to or more than n.
func (m Money) Compare(n Money) int {
	switch {
	case m == n:
		return 0
	case m.hi < n.hi, m.hi == n.hi && m.lo < n.lo:
		return -1
	}
	return 1
}

// Sign answers -1, 0 or 1.
func (m Money) Sign() int { return m.Compare(Money{}) }

// IsZero reports that it is nothing; JSON's omitzero asks for it.
func (m Money) IsZero() bool { return m == Money{} }

// Buys answers how much of a resource m pays for at a price, rounded down; m isn't negative, and the price isn't
// zero. What is more than a Quantity can hold is the largest one.
func (m Money) Buys(p Price) Quantity {
	if m.hi < 0 {
		panic(fmt.Sprintf("money: %s buys nothing", m))
	}
	if uint64(m.hi) >= uint64(p) {
		return MaxQuantity
	}
	q, _ := bits.Div64(uint64(m.hi), m.lo, uint64(p))
	return Quantity(min(q, uint64(MaxQuantity)))
}

// Float is m as nearly as a float64 can say it: for charts and for estimates, never for a bill.
func (m Money) Float() float64 {
	f, _ := new(big.Rat).SetFrac(m.big(), pow10(moneyPlaces)).Float64()
	return f
}

// String writes all decimal places but trailing zeros.
func (m Money) String() string {
	var buf [48]byte
	b := buf[:0]
	if m.hi < 0 {
		b, m = append(b, '-'), m.Neg()
	}
	// The quotient is below 2⁶⁴, since hi is below 2⁶³ and with it below 10¹⁹.
	q, low := bits.Div64(uint64(m.hi), m.lo, 1e19)
	b = strconv.AppendUint(b, q/100, 10)
	if q%100 == 0 && low == 0 {
		return string(b)
	}
	b = append(b, '.', byte('0'+q/10%10), byte('0'+q%10))
	end := len(b) + 19
	for i := end - 1; i >= end-19; i-- {
		buf[i] = byte('0' + low%10)
		low /= 10
	}
	return strings.TrimRight(string(buf[:end]), "0")
}

// Fixed writes m with a number of decimal places, rounded half to even.
func (m Money) Fixed(places int) string { return m.FixedBy(places, HalfEven) }

// FixedBy is Fixed with another rounding.
func (m Money) FixedBy(places int, mode Rounding) string {
	return decimal(m.scaled(places, mode), places)
}

// Round answers m rounded to a number of decimal places.
func (m Money) Round(places int, mode Rounding) Money {
	v := m.scaled(places, mode)
	return moneyOf(v.Mul(v, pow10(moneyPlaces-places)))
}

// scaled is m in units of 10^-places.
func (m Money) scaled(places int, mode Rounding) *big.Int {
	return mode.quotient(m.big(), pow10(moneyPlaces-places))
}

// ParseMoney reads a decimal such as 12.5, exactly: at most 21 places.
func ParseMoney(s string) (Money, error) {
	v, err := parseDecimal(s, moneyPlaces)
	if err != nil {
		return Money{}, fmt.Errorf("amount %q: %w", s, err)
	}
	if v.BitLen() > 126 {
		return Money{}, fmt.Errorf("amount %q: too much", s)
	}
	return moneyOf(v), nil
}

// MustMoney is ParseMoney for constants.
func MustMoney(s string) Money {
	m, err := ParseMoney(s)
	if err != nil {
		panic(err)
	}
	return m
}

// MarshalText writes String; JSON has it as a string, since no JSON number is exact.
func (m Money) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what ParseMoney does.
func (m *Money) UnmarshalText(b []byte) (err error) {
	*m, err = ParseMoney(string(b))
	return err
}

// Bytes are the amount's 16 bytes, big endian, two's complement, in 1e-21 of the currency: Parquet's
// DECIMAL(38,21).
func (m Money) Bytes() [16]byte {
	var b [16]byte
	for i := range 8 {
		b[i] = byte(uint64(m.hi) >> (56 - 8*i))
		b[8+i] = byte(m.lo >> (56 - 8*i))
	}
	return b
}

func (m Money) big() *big.Int {
	v := new(big.Int).Lsh(big.NewInt(m.hi), 64)
	return v.Add(v, new(big.Int).SetUint64(m.lo))
}

func moneyOf(v *big.Int) Money {
	if v.BitLen() > 127 {
		panic(fmt.Sprintf("money: %s is too much", decimal(v, moneyPlaces)))
	}
	m := Money{lo: new(big.Int).And(v, new(big.Int).SetUint64(1<<64-1)).Uint64()}
	m.hi = new(big.Int).Rsh(v, 64).Int64()
	return m
}
