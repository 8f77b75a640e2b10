package rating_test

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/rating"
)

// Two versions: the second has another price, rounding and grid from 00:10 on.
const first = `
version: one
effective: 2026-01-01
currency: CNY
bestEffort: 20%
prices:
  general-purpose:
    default: {vcpu: 0.06, gib: 0.03}
  performance:
    default: {vcpu: 0.078, gib: 0.039}
gpus:
  H100: {default: {gpu: 30, gib: 0.2}}
storage: {gib: 0.0005, includedGiB: 30}
`

const second = `
version: two
effective: 2026-03-01T00:10:00Z
currency: CNY
rounding: up
sizeGrid: [{vcpu: [0.25, 0.5], gib: [0.5, 1]}, {vcpu: {from: 1, to: 64, step: 1}, gib: {from: 1, to: 256, step: 1}}]
prices:
  general-purpose:
    default: {vcpu: 0.07, gib: 0.02}
    best-effort: {vcpu: 0.01, gib: 0.005}
  performance:
    default: {vcpu: 0.08, gib: 0.04}
    best-effort: {vcpu: 0.02, gib: 0.005}
regions:
  eu-1:
    prices: {general-purpose: {default: {vcpu: 0.09}}}
`

func parsed(t testing.TB, text string) *billing.Book {
	t.Helper()
	b, err := billing.ParseBook("prices.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func books(t testing.TB, texts ...string) *billing.Books {
	t.Helper()
	var list []*billing.Book
	for _, text := range texts {
		list = append(list, parsed(t, text))
	}
	set, err := billing.NewBooks(list...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// random makes pods' segments around the change of price.
func random(r *rand.Rand, pods int) []usagev1.Segment {
	var out []usagev1.Segment
	for p := range pods {
		at := time.Duration(r.IntN(900_000)) * time.Millisecond
		class, qos, region := []string{"general-purpose", "performance", "gpu"}[r.IntN(3)], billing.QoS[r.IntN(2)], []string{"", "eu-1", "mars"}[r.IntN(3)]
		for seq := range int64(1 + r.IntN(5)) {
			end := at + time.Duration(r.IntN(700_000))*time.Millisecond
			s := segment(fmt.Sprint("p", p), seq+1, r.Int64N(64000), r.Int64N(1<<38), at, end)
			if end == 0 {
				s.End = s.Start
			}
			s.ComputeClass, s.QoS, s.Region = class, qos, region
			if class == "gpu" {
				s.GPU = usagev1.GPU{Model: []string{"H100", "unheard-of"}[r.IntN(2)], Milli: r.Int64N(8000), MemoryMiB: r.Int64N(640 << 10)}
			}
			s.StorageBytes = r.Int64N(100 << 30)
			if ms := (end - at).Milliseconds(); ms > 0 && r.IntN(2) == 0 {
				b := r.Int64N(ms) + 1
				s.Burst = usagev1.Burst{Millis: b, CPUMillis: b * r.Int64N(4000), MemoryMillis: b * r.Int64N(4096)}
			}
			out = append(out, s)
			at = end
		}
	}
	return out
}

// sum is what lines come to by segment and item, which is finer than any bill.
type sum map[string]total

type total struct {
	quantity, burst billing.Quantity
	list            billing.Money
}

func (s sum) add(l *billing.Line) error {
	key := fmt.Sprint(l.Segment.ID, l.Item.ID, l.Item.Version, l.Minimum)
	t := s[key]
	s[key] = total{t.quantity + l.Quantity, t.burst + l.Burst, t.list.Plus(l.List())}
	return nil
}

func (s sum) equal(other sum) bool {
	for k, v := range s {
		if other[k] != v {
			return false
		}
	}
	return len(s) == len(other)
}

// TestAnyOrderPartitionAndCutsMakeTheSameBill is what rating promises.
func TestAnyOrderPartitionAndCutsMakeTheSameBill(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	set := books(t, first, second)
	in := random(r, 200)
	now := start.Add(40 * time.Minute).UnixMilli()
	rate := func(into sum, cuts []int64, part []usagev1.Segment) {
		t.Helper()
		rater := &rating.Rater{Books: set, Cuts: cuts, Now: now}
		for i := range part {
			if err := rater.Rate(&part[i], into.add); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := sum{}
	rate(want, nil, in)
	for range 50 {
		var cuts []int64
		for range r.IntN(40) {
			cuts = append(cuts, start.UnixMilli()+r.Int64N(3_600_000))
		}
		slices.Sort(cuts)
		shuffled := slices.Clone(in)
		r.Shuffle(len(shuffled), func(a, b int) { shuffled[a], shuffled[b] = shuffled[b], shuffled[a] })
		got := sum{}
		for len(shuffled) > 0 {
			n := 1 + r.IntN(len(shuffled))
			rate(got, slices.Compact(cuts), shuffled[:n])
			shuffled = shuffled[n:]
		}
		if !got.equal(want) {
			t.Fatal("another order, partition or cut made another bill")
		}
	}
}

// TestLinesAreExact compares every line with arbitrary precision, and that no line crosses a boundary.
func TestLinesAreExact(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	set := books(t, first, second)
	change := set.All()[1].Effective.UnixMilli()
	cuts := []int64{start.UnixMilli() + 60_000, start.UnixMilli() + 777_777}
	rater := &rating.Rater{Books: set, Cuts: cuts}
	for _, seg := range random(r, 500) {
		from, to := seg.Start.UnixMilli(), seg.End.UnixMilli()
		err := rater.Rate(&seg, func(l *billing.Line) error {
			for _, b := range append(cuts, change) {
				if l.From < b && b < l.To {
					t.Fatalf("line [%d, %d) crosses %d", l.From, l.To, b)
				}
			}
			book := set.At(l.From)
			cpu, memory := book.Billed(seg.ComputeClass, seg.CPUMilli, seg.MemoryBytes)
			size, unit := memory, int64(1<<30)
			switch l.Item.SKU.Resource {
			case billing.CPU:
				size, unit = cpu, 1000
			case billing.GPU:
				size, unit = seg.GPU.Milli, 1000
			case billing.GPUMemory:
				size, unit = seg.GPU.MemoryMiB, 1024
			case billing.Storage:
				size = seg.StorageBytes - 30<<30
			}
			by := func(at int64) int64 {
				use := new(big.Rat).Mul(big.NewRat(size, unit), big.NewRat(at-from, 3600))
				return rounded(use.Mul(use, big.NewRat(1e6, 1)), book.Rounding)
			}
			if want := by(l.To) - by(l.From); int64(l.Quantity-l.Burst) != want || l.From < from || l.To > to {
				t.Fatalf("%s %s [%d, %d): %d, want %d", seg.ID, l.Item.ID, l.From-from, l.To-from, l.Quantity-l.Burst, want)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func rounded(r *big.Rat, mode billing.Rounding) int64 {
	switch {
	case r.IsInt():
		return r.Num().Int64()
	case mode == billing.Up:
		return new(big.Int).Div(r.Num(), r.Denom()).Int64() + 1
	}
	return halfEven(r)
}

func collect(t *testing.T, rater *rating.Rater, seg usagev1.Segment) (out []billing.Line) {
	t.Helper()
	if err := rater.Rate(&seg, func(l *billing.Line) error { out = append(out, *l); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAChangeOfPriceSplitsASegment(t *testing.T) {
	s := segment("p", 1, 2000, 4<<30, 0, 30*time.Minute)
	var got []string
	for _, l := range collect(t, &rating.Rater{Books: books(t, first, second)}, s) {
		got = append(got, fmt.Sprint(l.Item.ID, " ", l.Item.Version, " ", time.Duration(l.To-l.From)*time.Millisecond, " ", l.List()))
	}
	want := []string{
		// 2 vCPU for ten minutes are 0.333333333 vCPU-hours under the first book; under the second, which rounds
		// up, a whole one less 0.333333334.
		"general-purpose/default/vcpu one 10m0s 0.01999999998", "general-purpose/default/memory one 10m0s 0.02000000001",
		"general-purpose/default/vcpu two 20m0s 0.04666666662", "general-purpose/default/memory two 20m0s 0.02666666666",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestAnOpenSegmentEndsNow(t *testing.T) {
	s := segment("p", 1, 1000, 1<<30, 0, 0)
	rater := &rating.Rater{Books: books(t, first), Now: start.Add(time.Hour).UnixMilli()}
	if lines := collect(t, rater, s); len(lines) != 2 || lines[0].Quantity.Hours() != "1.000000000" {
		t.Errorf("%+v", lines)
	}
	rater.Now = start.Add(-time.Hour).UnixMilli()
	if lines := collect(t, rater, s); len(lines) != 0 {
		t.Errorf("a segment that starts after now: %+v", lines)
	}
}

func TestGPUsAndStorage(t *testing.T) {
	s := segment("p", 1, 0, 0, 0, time.Hour)
	s.ComputeClass, s.StorageBytes = "gpu", 50<<30
	s.GPU = usagev1.GPU{Model: "H100", Milli: 2500, MemoryMiB: 10 << 10}
	rater := &rating.Rater{Books: books(t, first)}
	var got []string
	for _, l := range collect(t, rater, s) {
		got = append(got, l.Item.ID+" "+l.List().String())
	}
	if want := []string{"gpu/default/gpu/H100 75", "gpu/default/gpu-memory/H100 2", "gpu/default/storage 0.01"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	s.GPU.Model, s.StorageBytes = "unheard-of", 30<<30
	lines := collect(t, rater, s)
	if len(lines) != 1 || lines[0].Item.ID != "gpu/default/gpu/unheard-of" || !lines[0].List().IsZero() {
		t.Errorf("a model without a price: %+v", lines)
	}
	if again := collect(t, rater, s); again[0].Item != lines[0].Item {
		t.Error("its item isn't the same twice")
	}
}

// TestBurstsBeyondTheBilledSize: what the grid makes a pod pay for anyway isn't charged again.
func TestBurstsBeyondTheBilledSize(t *testing.T) {
	s := segment("p", 1, 800, 1<<30, 10*time.Minute, 70*time.Minute)
	s.Burst = usagev1.Burst{Millis: 600_000, CPUMillis: 500 * 600_000, MemoryMillis: 512 * 600_000}
	for _, l := range collect(t, &rating.Rater{Books: books(t, first, second)}, s) {
		want := map[billing.Resource]string{billing.CPU: "0.050000000", billing.Memory: "0.083333334"}[l.Item.SKU.Resource]
		if l.Burst.Hours() != want { // 500m less 200m for a sixth of an hour, and half a GiB, rounded up
			t.Errorf("%s: a burst of %s, want %s", l.Item.ID, l.Burst.Hours(), want)
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	rater := &rating.Rater{Books: books(t, first)}
	for name, c := range map[string]struct {
		change func(*usagev1.Segment)
		says   string
	}{
		"backwards":      {func(s *usagev1.Segment) { s.End = s.Start.Add(-time.Second) }, "before it starts"},
		"class":          {func(s *usagev1.Segment) { s.ComputeClass = "quantum" }, `no price for class "quantum"`},
		"negative":       {func(s *usagev1.Segment) { s.CPUMilli = -1 }, "isn't negative"},
		"negative GPU":   {func(s *usagev1.Segment) { s.GPU.Milli = -1 }, "isn't negative"},
		"negative burst": {func(s *usagev1.Segment) { s.Burst.CPUMillis = -1 }, "isn't negative"},
		"too large":      {func(s *usagev1.Segment) { s.MemoryBytes = math.MaxInt64; s.End = s.Start.Add(math.MaxInt64) }, "too large"},
		"GPU memory":     {func(s *usagev1.Segment) { s.GPU.MemoryMiB = math.MaxInt64 }, "too large"},
		"before prices":  {func(s *usagev1.Segment) { s.Start = time.UnixMilli(0) }, "the earliest, one, holds from 2026-01-01T00:00:00Z on"},
	} {
		s := segment("p", 1, 1000, 1<<30, 0, time.Hour)
		c.change(&s)
		err := rater.Rate(&s, func(*billing.Line) error { return nil })
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "segment p/1/1") {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	s, stop := segment("p", 1, 1000, 1<<30, 0, time.Hour), errors.New("stop")
	if err := rater.Rate(&s, func(*billing.Line) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v, want what emit answered", err)
	}
}

func BenchmarkRater(b *testing.B) {
	in := make([]usagev1.Segment, 1000)
	for i := range in {
		in[i] = segment(fmt.Sprint("p", i/4), int64(i%4+1), 1500, 3<<30, time.Duration(i%4)*time.Minute, time.Duration(i%4+1)*time.Minute)
		in[i].ComputeClass = []string{"general-purpose", "performance"}[i%2]
	}
	rater := &rating.Rater{Books: books(b, first)}
	var sum billing.Quantity
	b.ReportAllocs()
	for b.Loop() {
		for i := range in {
			if err := rater.Rate(&in[i], func(l *billing.Line) error { sum += l.Quantity; return nil }); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N*len(in))/b.Elapsed().Seconds(), "segments/s")
}
