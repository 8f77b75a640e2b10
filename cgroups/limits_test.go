package cgroups

import "testing"

func TestWeightOf(t *testing.T) {
	for _, c := range []struct{ shares, weight uint64 }{
		{0, 1}, {1, 1}, {2, 1}, {3, 2}, {102, 17}, {256, 35}, {512, 59}, {1024, 100}, {2048, 174}, {4096, 303},
		{262143, 10000}, {262144, 10000}, {1 << 30, 10000},
	} {
		if got := WeightOf(c.shares); got != c.weight {
			t.Errorf("WeightOf(%d) = %d, want %d", c.shares, got, c.weight)
		}
	}
}

// Every weight that a kernel may hold comes back as it was, so that an undo is exact; the weight of shares
// never falls when they grow.
func TestSharesOfWeightIsAnInverse(t *testing.T) {
	last := uint64(0)
	for weight := uint64(1); weight <= 10000; weight++ {
		shares := SharesOfWeight(weight)
		if got := WeightOf(shares); got != weight {
			t.Fatalf("WeightOf(SharesOfWeight(%d)) = %d", weight, got)
		}
		if shares <= last {
			t.Fatalf("SharesOfWeight(%d) = %d, not more than %d", weight, shares, last)
		}
		last = shares
	}
}

func TestSharesOf(t *testing.T) {
	for _, c := range []struct {
		milli  int64
		shares uint64
	}{{0, 2}, {1, 2}, {2, 2}, {3, 3}, {100, 102}, {250, 256}, {1000, 1024}, {1500, 1536}, {256_000, 262144}, {1_000_000, 262144}} {
		if got := SharesOf(c.milli); got != c.shares {
			t.Errorf("SharesOf(%d) = %d, want %d", c.milli, got, c.shares)
		}
	}
	for milli := int64(3); milli <= 256_000; milli++ {
		if got := MilliOfShares(SharesOf(milli)); got != milli {
			t.Fatalf("MilliOfShares(SharesOf(%d)) = %d", milli, got)
		}
	}
	if got := MilliOfShares(2); got != 0 {
		t.Errorf("MilliOfShares(2) = %d: it stands for no request", got)
	}
}

func TestQuotaOf(t *testing.T) {
	for _, c := range []struct{ milli, quota int64 }{
		{-1, Unlimited}, {0, Unlimited}, {1, 1000}, {9, 1000}, {10, 1000}, {11, 1100}, {250, 25_000}, {1000, 100_000}, {64_000, 6_400_000},
	} {
		if got := QuotaOf(c.milli); got != c.quota {
			t.Errorf("QuotaOf(%d) = %d, want %d", c.milli, got, c.quota)
		}
	}
	for milli := int64(10); milli < 5000; milli++ {
		if got := MilliOfQuota(QuotaOf(milli)); got != milli {
			t.Fatalf("MilliOfQuota(QuotaOf(%d)) = %d", milli, got)
		}
	}
}

func TestSmaller(t *testing.T) {
	for _, c := range []struct {
		a, b int64
		want bool
	}{{1, 2, true}, {2, 1, false}, {1, 1, false}, {1, Unlimited, true}, {Unlimited, 1, false}, {Unlimited, Unlimited, false}} {
		if got := smaller(c.a, c.b); got != c.want {
			t.Errorf("smaller(%d, %d) = %v", c.a, c.b, got)
		}
	}
}
