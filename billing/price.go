package billing

import (
	"fmt"
	"math/big"
)

// Price is money in 1e-12 of the currency for an hour of one unit of a resource (a vCPU or a GiB).
type Price uint64

// picosPerUnit are the smallest units of a price in one of the currency.
const picosPerUnit = 1_000_000_000_000

// ParsePrice reads a decimal such as 0.06 per hour, exactly: at most twelve places.
func ParsePrice(s string) (Price, error) {
	r, ok := new(big.Rat).SetString(s)
	if !ok || r.Sign() < 0 {
		return 0, fmt.Errorf("price %q: want a decimal that isn't negative, such as 0.06", s)
	}
	r.Mul(r, new(big.Rat).SetInt64(picosPerUnit))
	if !r.IsInt() {
		return 0, fmt.Errorf("price %q: more than twelve decimal places", s)
	}
	if !r.Num().IsUint64() || r.Num().Uint64() > 1<<52 {
		return 0, fmt.Errorf("price %q: above 4503 an hour", s)
	}
	return Price(r.Num().Uint64()), nil
}
