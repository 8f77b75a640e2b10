package billing

import (
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestRoundIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20000 {
		x, y := r.Uint64()>>r.IntN(64), r.Uint64()>>r.IntN(64)
		d, e := r.Uint64N(1<<40)+1, r.Uint64N(1<<45)+1
		got, err := Multiply(x, y).Round(d, e)
		n := new(big.Int).Mul(new(big.Int).SetUint64(x), new(big.Int).SetUint64(y))
		den := new(big.Int).Mul(new(big.Int).SetUint64(d), new(big.Int).SetUint64(e))
		q, rest := new(big.Int).QuoRem(n, den, new(big.Int))
		if c := rest.Lsh(rest, 1).Cmp(den); c > 0 || (c == 0 && q.Bit(0) == 1) {
			q.Add(q, big.NewInt(1))
		}
		if !q.IsInt64() {
			if err == nil {
				t.Fatalf("%d×%d/(%d×%d) = %d, which is too large for an error", x, y, d, e, got)
			}
			continue
		}
		if err != nil && q.Int64() < math.MaxInt64-1 {
			t.Fatal(err)
		}
		if err == nil && got != q.Int64() {
			t.Fatalf("%d×%d/(%d×%d) = %d, want %s", x, y, d, e, got, q)
		}
	}
}

func TestTiesGoToEven(t *testing.T) {
	for x, want := range map[uint64]int64{5: 0, 15: 2, 25: 2, 35: 4, 6: 1, 14: 1} {
		if got, err := Multiply(x, 1).Round(10, 1); err != nil || got != want {
			t.Errorf("%d/10 = %d (%v), want %d", x, got, err, want)
		}
	}
}

func TestPriceFilesAreCheckedByLine(t *testing.T) {
	good := string(listPrices)
	for name, c := range map[string]struct{ old, new, says string }{
		"unknown field": {"currency: CNY", "currency: CNY\ncolour: red", "prices.yaml:4: colour: unknown field"},
		"currency":      {"CNY\n", "yuan\n", "three capitals"},
		"negative":      {"vcpu: 0.06", "vcpu: -1", "perHour.general-purpose.default.vcpu"},
		"not a number":  {"vcpu: 0.06", "vcpu: much", `"much"`},
		"missing":       {"vcpu: 0.06, ", "", "perHour.general-purpose.default.vcpu: missing"},
		"too exact":     {"vcpu: 0.06", "vcpu: 0.0000000000001", "12 decimal places"},
		"a list":        {"{vcpu: 0.06, gib: 0.03}", "[1, 2]", "want a mapping"},
		"not YAML":      {"perHour:", "perHour: [", ""},
		"unknown class": {"  performance:", "  turbo:", "perHour.turbo: unknown field"},
		"boolean":       {"vcpu: 0.06", "vcpu: true", "want a price"},
	} {
		text := strings.Replace(good, c.old, c.new, 1)
		if text == good {
			t.Fatalf("%s: nothing was replaced", name)
		}
		_, err := parsePrices("prices.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	if _, err := parsePrices("prices.yaml", []byte(good)); err != nil {
		t.Error(err)
	}
}
