package billing

import "math/bits"

// Amount is an exact, unsigned 128-bit number: what prices and quantities multiply to before the one
// division and rounding of a bill's line.
type Amount struct{ hi, lo uint64 }

// Multiply answers x×y.
func Multiply(x, y uint64) Amount {
	hi, lo := bits.Mul64(x, y)
	return Amount{hi, lo}
}

// Times answers a×x.
func (a Amount) Times(x uint64) (Amount, error) {
	over, high := bits.Mul64(a.hi, x)
	carry, lo := bits.Mul64(a.lo, x)
	hi, c := bits.Add64(high, carry, 0)
	if over != 0 || c != 0 {
		return Amount{}, ErrTooLarge
	}
	return Amount{hi, lo}, nil
}

// Plus answers a+b.
func (a Amount) Plus(b Amount) (Amount, error) {
	lo, carry := bits.Add64(a.lo, b.lo, 0)
	hi, over := bits.Add64(a.hi, b.hi, carry)
	if over != 0 {
		return Amount{}, ErrTooLarge
	}
	return Amount{hi, lo}, nil
}

// divide answers a/d and what is left.
func (a Amount) divide(d uint64) (Amount, uint64) {
	qhi, r := bits.Div64(0, a.hi, d)
	qlo, r := bits.Div64(r, a.lo, d)
	return Amount{qhi, qlo}, r
}

// Round answers a/(d×e), rounded half to even. Both divisors are positive and below 2⁶³, and together
// below 2¹²⁶.
func (a Amount) Round(d, e uint64) (int64, error) {
	byD, restD := a.divide(d)
	q, restE := byD.divide(e)
	if q.hi != 0 || q.lo >= 1<<63-1 {
		return 0, ErrTooLarge
	}
	// a = (q×e + restE)×d + restD, so what is left of a/(d×e) is restE×d + restD.
	rest, err := Multiply(restE, d).Plus(Amount{0, restD})
	if err == nil {
		rest, err = rest.Times(2)
	}
	if err != nil {
		return 0, err
	}
	if c := rest.compare(Multiply(d, e)); c > 0 || (c == 0 && q.lo%2 == 1) {
		q.lo++
	}
	return int64(q.lo), nil
}

func (a Amount) compare(b Amount) int {
	switch {
	case a == b:
		return 0
	case a.hi < b.hi, a.hi == b.hi && a.lo < b.lo:
		return -1
	}
	return 1
}
