package billing

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/bits"
)

// quantityPlaces are the decimal places of a Quantity in hours.
const quantityPlaces = 9

// Quantity is how much of a resource was used: units (vCPU, GiB, GPU) × hours, in 1e-9 of them. It is what a
// bill's line says of the use and what its price is multiplied with; it is the one thing that is rounded, once per
// segment and resource, to 3.6 µs of a unit.
type Quantity int64

// MaxQuantity is more than nine billion hours.
const MaxQuantity = Quantity(math.MaxInt64)

// ErrTooLarge says that a quantity is beyond MaxQuantity: more than any real use.
var ErrTooLarge = errors.New("the quantity is too large")

// At answers what the quantity costs, exactly.
func (q Quantity) At(p Price) Money {
	if q < 0 {
		return (-q).At(p).Neg()
	}
	hi, lo := bits.Mul64(uint64(q), uint64(p))
	return Money{int64(hi), lo}
}

// Hours writes q in hours, with all its places.
func (q Quantity) Hours() string { return decimal(big.NewInt(int64(q)), quantityPlaces) }

// Millis answers q in whole unit-milliseconds, rounded half to even: for people, it isn't exact.
func (q Quantity) Millis() int64 {
	if q < 0 {
		return -(-q).Millis()
	}
	hi, lo := bits.Mul64(uint64(q), 9)
	v, rest := bits.Div64(hi, lo, 2500)
	if 2*rest > 2500 || 2*rest == 2500 && v%2 == 1 {
		v++
	}
	return int64(v)
}

// Of answers q×n/d rounded down: the share of q that falls to the first n of d. Sums of what falls to each of d
// are q: see Share.
func (q Quantity) Of(n, d uint64) Quantity {
	if q < 0 {
		panic("quantity: a share of less than nothing")
	}
	hi, lo := bits.Mul64(uint64(q), n)
	v, _ := bits.Div64(hi, lo, d)
	return Quantity(v)
}

// VCPU answers the vCPU-hours of a size in thousandths of a vCPU held for some milliseconds.
func VCPU(milli, ms uint64, mode Rounding) (Quantity, error) {
	// milli/1000 × ms/3.6e6 hours are milli×ms×5/18 in 1e-9 hours.
	if hi, lo := bits.Mul64(milli, ms); hi == 0 && lo < math.MaxUint64/5 {
		return mode.small(lo*5, 18)
	}
	return mode.product(milli, ms, 5, 18)
}

// GiB answers the GiB-hours of a size in bytes held for some milliseconds.
func GiB(bytes, ms uint64, mode Rounding) (Quantity, error) {
	// bytes/2³⁰ × ms/3.6e6 hours are bytes×ms×2500/(9×2³⁰) in 1e-9 hours, or bytes×ms×625/(9×2²⁸).
	hi, lo := bits.Mul64(bytes, ms)
	if over, h := bits.Mul64(hi, 625); over == 0 {
		ch, cl := bits.Mul64(lo, 625)
		if h, carry := bits.Add64(h, ch, 0); carry == 0 {
			if d := uint64(9 << 28); h < d {
				q, rest := bits.Div64(h, cl, d)
				return mode.finish(q, rest, d)
			}
		}
	}
	return mode.product(bytes, ms, 625, 9<<28)
}

// Rounding says what becomes of a fraction.
type Rounding uint8

// The roundings.
const (
	HalfEven Rounding = iota // to the nearest; a half to the even one
	HalfUp                   // to the nearest; a half away from zero
	Up                       // away from zero
	Down                     // towards zero
)

var roundings = []string{"half-even", "half-up", "up", "down"}

// ParseRounding knows half-even, half-up, up and down.
func ParseRounding(s string) (Rounding, error) {
	for i, name := range roundings {
		if s == name {
			return Rounding(i), nil
		}
	}
	return 0, fmt.Errorf("rounding %q: want one of half-even, half-up, up, down", s)
}

func (r Rounding) String() string { return roundings[r] }

func (r Rounding) small(n, d uint64) (Quantity, error) { return r.finish(n/d, n%d, d) }

// finish rounds q + rest/d, where d is below 2⁶³.
func (r Rounding) finish(q, rest, d uint64) (Quantity, error) {
	if rest != 0 {
		switch r {
		case HalfEven:
			if 2*rest > d || (2*rest == d && q%2 == 1) {
				q++
			}
		case HalfUp:
			if 2*rest >= d {
				q++
			}
		case Up:
			q++
		}
	}
	if q > math.MaxInt64 {
		return 0, ErrTooLarge
	}
	return Quantity(q), nil
}

// product answers a×b×n/d.
func (r Rounding) product(a, b, n, d uint64) (Quantity, error) {
	v := new(big.Int).SetUint64(a)
	v.Mul(v, new(big.Int).SetUint64(b)).Mul(v, new(big.Int).SetUint64(n))
	if v = r.quotient(v, new(big.Int).SetUint64(d)); !v.IsInt64() {
		return 0, ErrTooLarge
	}
	return Quantity(v.Int64()), nil
}

// quotient answers v/d rounded; d is positive.
func (r Rounding) quotient(v, d *big.Int) *big.Int {
	q, rest := new(big.Int).QuoRem(new(big.Int).Abs(v), d, new(big.Int))
	twice := rest.Lsh(rest, 1)
	away := false
	switch c := twice.Cmp(d); r {
	case HalfEven:
		away = c > 0 || (c == 0 && q.Bit(0) == 1)
	case HalfUp:
		away = c >= 0
	case Up:
		away = twice.Sign() > 0
	}
	if away {
		q.Add(q, big.NewInt(1))
	}
	if v.Sign() < 0 {
		q.Neg(q)
	}
	return q
}

// Share hands out a quantity in proportion to what each of many has, so that the parts are exactly the whole,
// whatever the order. Each call takes the next one's; the zero value hands out nothing.
type Share struct {
	whole, part  Quantity // of whole, part is handed out
	seen, handed Quantity
}

// NewShare hands out part of whole; part isn't more.
func NewShare(part, whole Quantity) Share { return Share{whole: whole, part: part} }

// Next answers the part of one that has q of the whole.
func (s *Share) Next(q Quantity) Quantity {
	if s.part == s.whole || s.whole == 0 {
		s.seen += q
		if s.whole == 0 {
			return 0
		}
		return q
	}
	s.seen += q
	upTo := s.part.Of(uint64(s.seen), uint64(s.whole))
	next := upTo - s.handed
	s.handed = upTo
	return next
}
