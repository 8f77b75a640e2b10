package histogram

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

var epoch = time.Unix(1_700_000_000, 0)

func TestBuckets(t *testing.T) {
	for _, b := range []*Buckets{CPU, Memory} {
		if b.Len() != 176 {
			t.Errorf("%d buckets", b.Len())
		}
		for i := range b.Len() {
			start := b.Start(i)
			if got := b.Of(start); got != i {
				t.Errorf("%g, where bucket %d starts, is in %d", start, i, got)
			}
			if i > 0 {
				if got := b.Of(math.Nextafter(start, 0)); got != i-1 {
					t.Errorf("what is below %g, where bucket %d starts, is in %d", start, i, got)
				}
			}
			if i > 0 && i < b.Len()-1 {
				if r := (b.End(i) - b.Start(i)) / (b.Start(i) - b.Start(i-1)); math.Abs(r-1.05) > 1e-9 {
					t.Errorf("bucket %d is %g as wide as the one before", i, r)
				}
			}
		}
		for value, want := range map[float64]int{0: 0, -1: 0, math.Inf(1): 175, math.Inf(-1): 0, math.NaN(): 0, 1e300: 175} {
			if got := b.Of(value); got != want {
				t.Errorf("%g is in bucket %d, want %d", value, got, want)
			}
		}
	}
	// As the Vertical Pod Autoscaler has them.
	if CPU.Start(1) != 0.01 || math.Abs(CPU.Start(2)-0.0205) > 1e-12 || math.Abs(Memory.Start(1)-1e7) > 1e-3 {
		t.Errorf("buckets start at %g, %g, %g", CPU.Start(1), CPU.Start(2), Memory.Start(1))
	}
}

// TestMergeIsExact deals samples out to any number of counts, merges those in any order, over the wire or not,
// and has the counts of all samples.
func TestMergeIsExact(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		parts := make([]Counts, 1+random.IntN(6))
		var all Counts
		for range random.IntN(400) {
			bucket, weight := CPU.Of(random.ExpFloat64()*math.Pow(10, random.Float64()*5-3)), random.Uint32N(1e6)
			all.Add(bucket, weight)
			parts[random.IntN(len(parts))].Add(bucket, weight)
		}
		random.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		var merged Counts
		for i := range parts {
			sent, err := ParseCounts(parts[i].Wire(), CPU.Len())
			if err != nil {
				t.Fatal(err)
			}
			if random.IntN(2) == 0 {
				sent = parts[i]
			}
			merged.Merge(sent)
		}
		if !slices.Equal(merged.buckets, all.buckets) || !slices.Equal(merged.weights, all.weights) {
			t.Fatalf("merged %v, want %v", merged, all)
		}
	}
}

func TestCountsAreBounded(t *testing.T) {
	var c Counts
	for range 3 {
		for i := range CPU.Len() {
			c.Add(i, math.MaxUint32/2)
		}
	}
	c.Each(func(bucket int, weight uint32) {
		if weight != math.MaxUint32 {
			t.Errorf("bucket %d has %d", bucket, weight)
		}
	})
	if got := c.Bytes(); got > 2048 {
		t.Errorf("counts of every bucket take %d bytes", got)
	}
	if c.Reset(); !c.Empty() || c.Wire() != nil {
		t.Error("not empty after Reset")
	}
	if c.Add(3, 0); !c.Empty() {
		t.Error("no weight is a weight")
	}
}

func TestWireThatCannotBeRead(t *testing.T) {
	for _, wire := range [][]uint32{{1}, {176, 1}, {0, 1, 176, 1}, {5, 1, 0, 1}, {math.MaxUint32, 1, math.MaxUint32, 1}, make([]uint32, 400)} {
		if c, err := ParseCounts(wire, CPU.Len()); err == nil {
			t.Errorf("%v is read as %v", wire, c)
		}
	}
}

// sample is what the naive model keeps: everything.
type sample struct {
	value, weight float64
	at            time.Time
}

// naive is the percentile by its definition: samples sorted, weights decayed one by one.
func naive(all []sample, p float64, now time.Time, halfLife time.Duration) float64 {
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b sample) int {
		if a.value < b.value {
			return -1
		}
		return 1
	})
	weight := func(s sample) float64 { return s.weight * math.Exp2(-now.Sub(s.at).Hours()/halfLife.Hours()) }
	total := 0.0
	for _, s := range sorted {
		total += weight(s)
	}
	sum := 0.0
	for _, s := range sorted {
		if sum += weight(s); sum >= p*total*(1-1e-9) {
			return s.value
		}
	}
	return sorted[len(sorted)-1].value
}

// TestAgainstNaive holds percentiles to those of all samples: never below, and above by a bucket at most.
func TestAgainstNaive(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	const halfLife = 24 * time.Hour
	for range 200 {
		d := NewDecaying(CPU, halfLife, 0)
		var all []sample
		now := epoch
		for range 1 + random.IntN(300) {
			now = now.Add(time.Duration(random.Int64N(int64(6 * time.Hour))))
			s := sample{random.ExpFloat64() * 2, 1 + random.Float64()*10, now.Add(-time.Duration(random.Int64N(int64(time.Hour))))}
			all = append(all, s)
			d.Add(CPU.Of(s.value), s.weight, s.at)
		}
		for _, p := range []float64{0.01, 0.5, 0.9, 0.95, 0.99} {
			want := naive(all, p, now, halfLife)
			got, ok := d.Percentile(p, now)
			if end := CPU.End(CPU.Of(want)); !ok || math.Abs(got-end) > 1e-12 {
				t.Fatalf("p%g of %d samples is %g, want the end %g of the bucket of %g", 100*p, len(all), got, end, want)
			}
		}
	}
}

// TestDecayingMerges: in parts or in one, in whatever order, it is the same but for rounding.
func TestDecayingMerges(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		whole := NewDecaying(Memory, time.Hour, 0)
		parts := []*Decaying{NewDecaying(Memory, time.Hour, 0), NewDecaying(Memory, time.Hour, 0), NewDecaying(Memory, time.Hour, 0)}
		var now time.Time
		for range random.IntN(200) {
			at := epoch.Add(time.Duration(random.Int64N(int64(300 * time.Hour)))) // past what moves the reference
			bucket, weight := random.IntN(Memory.Len()), 1+random.Float64()
			whole.Add(bucket, weight, at)
			parts[random.IntN(3)].Add(bucket, weight, at)
			if at.After(now) {
				now = at
			}
		}
		merged := NewDecaying(Memory, time.Hour, 0)
		for _, i := range random.Perm(3) {
			merged.Merge(parts[i])
		}
		if a, b := merged.Total(now), whole.Total(now); math.Abs(a-b) > 1e-9*b {
			t.Fatalf("weights of %g, want %g", a, b)
		}
		for i := range Memory.Len() {
			a, b := at(merged, i, now), at(whole, i, now)
			if math.Abs(a-b) > 1e-9*b {
				t.Fatalf("bucket %d has %g, want %g", i, a, b)
			}
		}
	}
}

func at(d *Decaying, bucket int, now time.Time) float64 {
	if i := bucket - d.low; i >= 0 && i < len(d.weights) {
		return d.weights[i] / d.factorAt(now)
	}
	return 0
}

func TestOldIsForgotten(t *testing.T) {
	d := NewDecaying(CPU, time.Hour, 1.0/256)
	d.Add(100, 1, epoch)
	d.Add(10, 1, epoch.Add(8*time.Hour))
	peak := func(after time.Duration) float64 {
		v, ok := d.Percentile(1, epoch.Add(after))
		if !ok {
			return -1
		}
		return v
	}
	if got := peak(8 * time.Hour); got != CPU.End(100) {
		t.Errorf("after eight half-lives the peak is %g", got)
	}
	if got := peak(8*time.Hour + time.Minute); got != CPU.End(10) {
		t.Errorf("later it is %g", got)
	}
	if got := peak(17 * time.Hour); got != -1 {
		t.Errorf("when all is old it is %g", got)
	}
	if _, ok := NewDecaying(CPU, time.Hour, 0).Percentile(0.5, epoch); ok {
		t.Error("an empty histogram has a percentile")
	}
}

// TestTakenBack: what is added and taken back with the same time leaves nothing.
func TestTakenBack(t *testing.T) {
	d := NewDecaying(Memory, time.Hour, 1.0/256)
	d.Add(3, 1, epoch)
	d.Add(9, 1, epoch.Add(90*time.Minute))
	d.Add(9, -1, epoch.Add(90*time.Minute))
	if v, ok := d.Percentile(1, epoch.Add(2*time.Hour)); !ok || v != Memory.End(3) {
		t.Errorf("the peak is %g", v)
	}
}

func TestSave(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for range 100 {
		d := NewDecaying(CPU, time.Hour, 1.0/256)
		for range random.IntN(100) {
			d.Add(random.IntN(CPU.Len()), random.Float64()*1000, epoch.Add(time.Duration(random.Int64N(int64(5*time.Hour)))))
		}
		now := epoch.Add(5 * time.Hour)
		saved := d.Save(now)
		back := NewDecaying(CPU, time.Hour, 1.0/256)
		if err := back.Restore(saved); err != nil {
			t.Fatal(err)
		}
		for _, p := range []float64{0, 0.5, 0.9, 0.95, 1} {
			a, okA := d.Percentile(p, now)
			b, okB := back.Percentile(p, now)
			if okA != okB || a != b {
				t.Fatalf("p%g is %g, %v after it was saved; it was %g, %v", 100*p, b, okB, a, okA)
			}
		}
		if again := back.Save(now); !reflect.DeepEqual(again.Weights, saved.Weights) {
			t.Fatalf("saved again it is %v, was %v", again.Weights, saved.Weights)
		}
	}
	for _, bad := range []Saved{
		{Weights: []uint32{1}, Low: 176, Largest: 1, Reference: epoch}, {Weights: []uint32{1}, Low: -1, Largest: 1, Reference: epoch},
		{Weights: []uint32{1}, Largest: 0, Reference: epoch}, {Weights: []uint32{1}, Largest: math.Inf(1), Reference: epoch},
		{Weights: []uint32{1}, Largest: math.NaN(), Reference: epoch}, {Weights: []uint32{1}, Largest: 1},
	} {
		if err := NewDecaying(CPU, time.Hour, 0).Restore(bad); err == nil {
			t.Errorf("%+v is restored", bad)
		}
	}
}

func BenchmarkCountsAdd(b *testing.B) {
	var c Counts
	values := make([]float64, 1024)
	random := rand.New(rand.NewPCG(9, 10))
	for i := range values {
		values[i] = 0.5 + 0.2*random.NormFloat64()
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.Add(CPU.Of(values[i%len(values)]), 100)
	}
	b.ReportMetric(float64(c.Bytes()), "B/container")
}

func BenchmarkDecayingAddCounts(b *testing.B) {
	d := NewDecaying(CPU, 24*time.Hour, 1.0/256)
	var c Counts
	for i := range 6 {
		c.Add(60+i*3, 100)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d.AddCounts(&c, epoch.Add(time.Duration(i)*time.Minute))
	}
}
