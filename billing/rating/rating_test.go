package rating_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/rating"
)

var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func segment(uid string, seq, cpu, memory int64, from, to time.Duration) usagev1.Segment {
	s := usagev1.Segment{
		ID: usagev1.ID{PodUID: uid, Generation: 1, Sequence: seq}, Namespace: "default", Pod: uid,
		ComputeClass: "general-purpose", QoS: "default", CPUMilli: cpu, MemoryBytes: memory, Start: start.Add(from),
	}
	if to > 0 {
		s.End = start.Add(to)
	}
	return s
}

func TestListPrices(t *testing.T) {
	const hour = time.Hour
	for _, c := range []struct {
		class, qos string
		cost       int64 // of 2 vCPU and 4 GiB for an hour
	}{
		{"general-purpose", "default", 2*60_000 + 4*30_000},
		{"general-purpose", "best-effort", 2*12_000 + 4*6_000},
		{"performance", "default", 2*78_000 + 4*39_000},
		{"performance", "best-effort", 2*15_600 + 4*7_800},
	} {
		s := segment("p", 1, 2000, 4<<30, 0, hour)
		s.ComputeClass, s.QoS = c.class, c.qos
		bills, err := rating.Rate(billing.ListPrices(), []usagev1.Segment{s}, start)
		if err != nil {
			t.Fatal(err)
		}
		l := bills[0].Lines[0]
		if l.CostMicros != c.cost || l.VCPUMillis != 2*3_600_000 || l.GiBMillis != 4*3_600_000 || l.Duration != hour {
			t.Errorf("%s %s: %+v, want cost %d", c.class, c.qos, l, c.cost)
		}
	}
}

func TestAResizeMakesTwoLinesAndAnOpenOneEndsNow(t *testing.T) {
	in := []usagev1.Segment{segment("p", 2, 2000, 2<<30, time.Minute, 0), segment("p", 1, 250, 1<<30, 0, time.Minute)}
	bills, err := rating.Rate(billing.ListPrices(), in, start.Add(3*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	b := bills[0]
	if len(b.Lines) != 2 || b.Lines[0].Duration != time.Minute || b.Lines[1].Duration != 2*time.Minute || b.Duration != 3*time.Minute {
		t.Errorf("%+v", b)
	}
	if b.CostMicros != b.Lines[0].CostMicros+b.Lines[1].CostMicros {
		t.Errorf("the total %d isn't the sum of the lines", b.CostMicros)
	}
}

// TestOrderAndDuplicatesDontMatter rates random segments in random orders, some of them twice.
func TestOrderAndDuplicatesDontMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var in []usagev1.Segment
	for p := range 20 {
		at := time.Duration(0)
		for seq := range int64(10) {
			end := at + time.Duration(r.IntN(1e6))*time.Millisecond + time.Millisecond
			in = append(in, segment(fmt.Sprint("p", p), seq+1, r.Int64N(64000), r.Int64N(1<<38), at, end))
			at = end
		}
	}
	want, err := rating.Rate(billing.ListPrices(), in, start)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		shuffled := append(append([]usagev1.Segment(nil), in...), in[:50]...)
		r.Shuffle(len(shuffled), func(a, b int) { shuffled[a], shuffled[b] = shuffled[b], shuffled[a] })
		got, err := rating.Rate(billing.ListPrices(), shuffled, start)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatal("another order made another bill")
		}
	}
}

// TestExact compares costs with arbitrary precision.
func TestExact(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	book := billing.ListPrices()
	rate, err := book.Rate("general-purpose", "default")
	if err != nil {
		t.Fatal(err)
	}
	for range 5000 {
		cpu, memory, millis := r.Int64N(256_000), r.Int64N(1<<41), r.Int64N(400*86_400_000)
		bills, err := rating.Rate(book, []usagev1.Segment{segment("p", 1, cpu, memory, 0, time.Duration(millis+1)*time.Millisecond)}, start)
		if err != nil {
			t.Fatal(err)
		}
		exact := new(big.Rat).Add(
			new(big.Rat).SetFrac(new(big.Int).Mul(big.NewInt(cpu), big.NewInt(int64(rate.CPU))), big.NewInt(1000)),
			new(big.Rat).SetFrac(new(big.Int).Mul(big.NewInt(memory), big.NewInt(int64(rate.Memory))), big.NewInt(1<<30)))
		exact.Mul(exact, new(big.Rat).SetFrac64(millis+1, 3_600_000*1_000_000))
		if want := halfEven(exact); bills[0].CostMicros != want {
			t.Fatalf("%dm %d B %d ms: %d, want %d", cpu, memory, millis+1, bills[0].CostMicros, want)
		}
	}
}

func halfEven(r *big.Rat) int64 {
	q, rest := new(big.Int).QuoRem(r.Num(), r.Denom(), new(big.Int))
	c := rest.Lsh(rest, 1).Cmp(r.Denom())
	if c > 0 || (c == 0 && q.Bit(0) == 1) {
		q.Add(q, big.NewInt(1))
	}
	return q.Int64()
}

func TestWhatCannotBeRated(t *testing.T) {
	backwards := segment("p", 1, 1, 1, time.Hour, time.Minute)
	unknown := segment("p", 1, 1, 1, 0, time.Hour)
	unknown.ComputeClass = "quantum"
	for name, s := range map[string]usagev1.Segment{
		"backwards": backwards, "class": unknown, "negative": segment("p", 1, -1, 1, 0, time.Hour),
		"beyond 63 bits": segment("p", 1, 1<<62, 1<<62, 0, 1<<62),
	} {
		if _, err := rating.Rate(billing.ListPrices(), []usagev1.Segment{s}, start); err == nil {
			t.Errorf("%s: rated", name)
		}
	}
}

func BenchmarkRate(b *testing.B) {
	in := make([]usagev1.Segment, 1000)
	for i := range in {
		in[i] = segment(fmt.Sprint("p", i/4), int64(i%4+1), 1500, 3<<30, time.Duration(i%4)*time.Minute, time.Duration(i%4+1)*time.Minute)
	}
	book := billing.ListPrices()
	for b.Loop() {
		if _, err := rating.Rate(book, in, start); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(in)), "ns/segment")
}

// TestBursts: what came on top of the size costs what the size does, and stands on its own.
func TestBursts(t *testing.T) {
	s := segment("p", 1, 1000, 2<<30, 0, time.Hour)
	s.Burst = usagev1.Burst{Millis: 600_000, CPUMillis: 3000 * 600_000, MemoryMillis: 512 * 600_000}
	bills, err := rating.Rate(billing.ListPrices(), []usagev1.Segment{s}, start)
	if err != nil {
		t.Fatal(err)
	}
	// 3 vCPU and half a GiB for ten minutes.
	want := rating.Burst{Duration: 10 * time.Minute, VCPUMillis: 1_800_000, GiBMillis: 300_000, CostMicros: 3*10_000 + 2_500}
	b := bills[0]
	if l := b.Lines[0]; l.Burst != want || b.Burst != want {
		t.Errorf("%+v, in all %+v, want %+v", l.Burst, b.Burst, want)
	}
	if size := int64(60_000 + 2*30_000); b.CostMicros != size+want.CostMicros || b.VCPUMillis != 3_600_000+want.VCPUMillis || b.Duration != time.Hour {
		t.Errorf("%+v", b)
	}
	s.Burst.CPUMillis = -1
	if _, err := rating.Rate(billing.ListPrices(), []usagev1.Segment{s}, start); err == nil {
		t.Error("a negative burst was priced")
	}
}
