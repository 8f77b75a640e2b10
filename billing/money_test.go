package billing

import (
	"encoding/json"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
)

// exactly answers a/b rounded, the slow way.
func exactly(mode Rounding, a, b *big.Int) *big.Int {
	floor, rest := new(big.Int).QuoRem(a, b, new(big.Int))
	up := new(big.Int).Add(floor, big.NewInt(1))
	switch c := new(big.Int).Lsh(rest, 1).Cmp(b); {
	case rest.Sign() == 0, mode == Down, mode == HalfEven && (c < 0 || c == 0 && floor.Bit(0) == 0), mode == HalfUp && c < 0:
		return floor
	}
	return up
}

func product(factors ...uint64) *big.Int {
	v := big.NewInt(1)
	for _, f := range factors {
		v.Mul(v, new(big.Int).SetUint64(f))
	}
	return v
}

func TestQuantitiesAreRoundedOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50000 {
		size, ms, mode := r.Uint64()>>r.IntN(64), r.Uint64()>>(20+r.IntN(44)), Rounding(r.IntN(4))
		for name, c := range map[string]struct {
			got  func(size, ms uint64, mode Rounding) (Quantity, error)
			want *big.Int
		}{
			"vCPU": {VCPU, exactly(mode, product(size, ms, 1e9), product(1000, 3_600_000))},
			"GiB":  {GiB, exactly(mode, product(size, ms, 1e9), product(1<<30, 3_600_000))},
		} {
			got, err := c.got(size, ms, mode)
			if !c.want.IsInt64() {
				if err == nil {
					t.Fatalf("%s(%d, %d) = %d, want an error", name, size, ms, got)
				}
				continue
			}
			if err != nil || int64(got) != c.want.Int64() {
				t.Fatalf("%s(%d, %d, %s) = %d (%v), want %s", name, size, ms, mode, got, err, c.want)
			}
		}
	}
}

func TestMoneyIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 50000 {
		q, p := Quantity(r.Int64()>>r.IntN(63)), Price(r.Uint64N(maxPrice)>>r.IntN(60))
		if r.IntN(2) == 0 {
			q = -q
		}
		cost := q.At(p)
		want := new(big.Int).Mul(big.NewInt(int64(q)), new(big.Int).SetUint64(uint64(p)))
		if cost.big().Cmp(want) != 0 {
			t.Fatalf("%d at %d = %s, want %s", q, p, cost.big(), want)
		}
		if back, err := ParseMoney(cost.String()); err != nil || back != cost {
			t.Fatalf("%s read back is %s (%v)", cost, back, err)
		}
		other := Quantity(r.Int64() >> 8).At(p)
		sum := cost.Plus(other)
		if sum.big().Cmp(want.Add(want, other.big())) != 0 || sum.Minus(other) != cost || sum.Compare(cost) != other.Sign() {
			t.Fatalf("%s + %s = %s", cost, other, sum)
		}
		if q >= 0 && p > 0 {
			if got := cost.Buys(p); got != q {
				t.Fatalf("%s buys %d at %d, want %d", cost, got, p, q)
			}
		}
		if b := cost.Bytes(); new(big.Int).SetBytes(b[:]).Cmp(new(big.Int).And(cost.big(), new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1)))) != 0 {
			t.Fatalf("%s has the bytes %x", cost, b)
		}
	}
}

func TestMoneyIsWritten(t *testing.T) {
	for _, c := range []struct{ in, exact, two string }{
		{"0", "0", "0.00"}, {"12.50", "12.5", "12.50"}, {"-0.005", "-0.005", "0.00"}, {"0.015", "0.015", "0.02"}, {"0.025", "0.025", "0.02"},
		{"-7.999", "-7.999", "-8.00"}, {"0.000000000000000000001", "0.000000000000000000001", "0.00"}, {"100", "100", "100.00"},
	} {
		m, err := ParseMoney(c.in)
		if err != nil {
			t.Fatal(err)
		}
		fixed := m.Fixed(2)
		if fixed == "-0.00" {
			fixed = "0.00"
		}
		if m.String() != c.exact || fixed != c.two {
			t.Errorf("%s is written %s and %s, want %s and %s", c.in, m, fixed, c.exact, c.two)
		}
		text, err := json.Marshal(m)
		var back Money
		if err != nil || json.Unmarshal(text, &back) != nil || back != m {
			t.Errorf("%s as JSON is %s, read back %s (%v)", c.in, text, back, err)
		}
	}
	for _, bad := range []string{"", "1e3", "1,5", ".5", "--1", "0.0000000000000000000001", "999999999999999999999999999", "0x10"} {
		if m, err := ParseMoney(bad); err == nil {
			t.Errorf("%q is read as %s", bad, m)
		}
	}
	if got := MustMoney("0.125").FixedBy(2, Up) + MustMoney("0.129").FixedBy(2, Down) + MustMoney("0.125").FixedBy(2, HalfUp); got != "0.130.120.13" {
		t.Error(got)
	}
}

func TestSharesAreTheWhole(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		parts := make([]Quantity, 1+r.IntN(20))
		var whole Quantity
		for i := range parts {
			parts[i] = Quantity(r.Int64N(1 << 50))
			whole += parts[i]
		}
		part := Quantity(r.Int64N(int64(whole) + 1))
		s := NewShare(part, whole)
		var sum Quantity
		for _, p := range parts {
			got := s.Next(p)
			if got < 0 || got > p || math.Abs(float64(got)-float64(p)*float64(part)/float64(whole)) > 1+float64(p)*1e-12 {
				t.Fatalf("%d of %d/%d is %d", p, part, whole, got)
			}
			sum += got
		}
		if sum != part {
			t.Fatalf("the parts are %d, want %d", sum, part)
		}
	}
}

func TestDiscounts(t *testing.T) {
	d, err := ParseDiscount("55%")
	if err != nil || d != 550_000 || d.String() != "55%" {
		t.Fatalf("%d %v %s", d, err, d)
	}
	if half, err := ParseDiscount("27.5%"); err != nil || half.String() != "27.5%" {
		t.Fatalf("%s %v", half, err)
	}
	price, err := ParsePrice("0.06")
	if err != nil || price.Off(d).String() != "0.027" || price.String() != "0.06" {
		t.Errorf("0.06 less 55%% is %s (%v)", price.Off(d), err)
	}
	for _, bad := range []string{"55", "100%", "-1%", "1.00001%", "half%"} {
		if d, err := ParseDiscount(bad); err == nil {
			t.Errorf("%q is read as %s", bad, d)
		}
	}
}

// TestMoneyText: what is written is what big integers say, and is read as the same.
func TestMoneyText(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 9))
	check := func(m Money) {
		t.Helper()
		want := decimal(m.big(), moneyPlaces)
		if want = strings.TrimRight(want, "0"); strings.HasSuffix(want, ".") {
			want = want[:len(want)-1]
		}
		if got := m.String(); got != want {
			t.Fatalf("%v is written %s, want %s", m, got, want)
		}
		if back, err := ParseMoney(m.String()); m.big().BitLen() <= 126 && (err != nil || back != m) {
			t.Fatalf("%s is read as %v, %v", m, back, err)
		}
	}
	for _, m := range []Money{{}, {lo: 1}, {lo: 1, hi: 1<<63 - 1}, {hi: -1 << 63, lo: 1}, {hi: -1, lo: 1<<64 - 1}, {hi: 54, lo: 3875820019684212736}, {hi: 542, lo: 1864712049423024128}} {
		check(m)
	}
	for range 20000 {
		check(Money{int64(r.Uint64()) >> r.IntN(64), r.Uint64() >> r.IntN(64)})
		check(Quantity(r.Int64N(1e12) * 1_000_000).At(Price(r.Int64N(1e6) * 1_000_000)))
	}
}
