package fixed

import (
	"math"
	"testing"
)

func TestDecimal(t *testing.T) {
	for _, c := range []struct {
		v      int64
		digits int
		want   string
	}{
		{0, 6, "0.000000"},
		{1, 6, "0.000001"},
		{999_999, 6, "0.999999"},
		{1_000_000, 6, "1.000000"},
		{-1, 3, "-0.001"},
		{-12_345, 3, "-12.345"},
		{7, 0, "7"},
		{math.MaxInt64, 6, "9223372036854.775807"},
		{math.MinInt64, 6, "-9223372036854.775808"},
	} {
		if got := Decimal(c.v, c.digits); got != c.want {
			t.Errorf("Decimal(%d, %d) = %s, want %s", c.v, c.digits, got, c.want)
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0B", 999: "999B", 1000: "1.0kB", 1999: "1.9kB", 999_999: "999.9kB",
		1_000_000: "1.0MB", 12_345_678: "12.3MB", math.MaxInt64: "9.2EB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %s, want %s", n, got, want)
		}
	}
}
