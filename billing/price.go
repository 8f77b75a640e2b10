package billing

import (
	"fmt"
	"math/big"
)

// pricePlaces are the decimal places of a Price.
const pricePlaces = 12

// Price is money for an hour of one unit of a resource (vCPU, GiB, GPU), in 1e-12 of the currency.
type Price uint64

// maxPrice is above a million an hour, and leaves products with quantities within Money.
const maxPrice = 1 << 60

// ParsePrice reads a decimal such as 0.06 per hour, exactly: at most twelve places.
func ParsePrice(s string) (Price, error) {
	v, err := parseDecimal(s, pricePlaces)
	if err != nil {
		return 0, fmt.Errorf("price %q: %w", s, err)
	}
	if v.Sign() < 0 || !v.IsUint64() || v.Uint64() > maxPrice {
		return 0, fmt.Errorf("price %q: want between 0 and 1152921 an hour", s)
	}
	return Price(v.Uint64()), nil
}

// String writes the price without trailing zeros.
func (p Price) String() string { return Quantity(1_000_000_000).At(p).String() }

// Discount is a share of the list price that a plan takes off, in millionths: 550,000 is 55 %.
type Discount uint32

// WholeDiscount would be the whole price.
const WholeDiscount Discount = 1_000_000

// Off answers the price less the discount, rounded half to even to the 1e-12.
func (p Price) Off(d Discount) Price {
	v := new(big.Int).SetUint64(uint64(p))
	v.Mul(v, big.NewInt(int64(WholeDiscount-d)))
	return Price(HalfEven.quotient(v, big.NewInt(int64(WholeDiscount))).Uint64())
}

// String writes it as a percentage: 55%.
func (d Discount) String() string {
	m := Money{}
	v := new(big.Int).Mul(big.NewInt(int64(d)), pow10(moneyPlaces-4))
	m = moneyOf(v)
	return m.String() + "%"
}

// ParseDiscount reads a percentage such as 55% or 27.5%: less than 100, at most four places.
func ParseDiscount(s string) (Discount, error) {
	number, ok := cutPercent(s)
	v, err := parseDecimal(number, 4)
	if !ok || err != nil || v.Sign() < 0 || v.Cmp(big.NewInt(int64(WholeDiscount))) >= 0 {
		return 0, fmt.Errorf("discount %q: want a percentage below 100%%, such as 55%%, of at most four decimal places", s)
	}
	return Discount(v.Int64()), nil
}

func cutPercent(s string) (string, bool) {
	if n := len(s); n > 0 && s[n-1] == '%' {
		return s[:n-1], true
	}
	return s, false
}
