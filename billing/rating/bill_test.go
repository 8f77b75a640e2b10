package rating_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"reflect"
	"strings"
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

func halfEven(r *big.Rat) int64 {
	q, rest := new(big.Int).QuoRem(r.Num(), r.Denom(), new(big.Int))
	c := rest.Lsh(rest, 1).Cmp(r.Denom())
	if c > 0 || (c == 0 && q.Bit(0) == 1) {
		q.Add(q, big.NewInt(1))
	}
	return q.Int64()
}

func billsOf(t *testing.T, set *billing.Books, now time.Duration, in ...usagev1.Segment) []rating.Bill {
	t.Helper()
	bills, err := rating.Bills(set, in, start.Add(now).UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	return bills
}

func TestAResizeMakesTwoLinesAndAnOpenOneEndsNow(t *testing.T) {
	in := []usagev1.Segment{segment("p", 2, 2000, 2<<30, time.Minute, 0), segment("p", 1, 250, 1<<30, 0, time.Minute)}
	b := billsOf(t, books(t, first), 3*time.Minute, in...)[0]
	if len(b.Lines) != 2 || b.Lines[0].Millis != 60_000 || b.Lines[1].Millis != 120_000 || b.Total.Millis != 180_000 {
		t.Errorf("%+v", b)
	}
	if b.Total.Cost != b.Lines[0].Cost.Plus(b.Lines[1].Cost) || b.Total.Used[billing.CPU].Millis() != 255_000 || b.Total.Used[billing.Memory].Millis() != 300_000 {
		t.Errorf("the total %+v isn't the sum of the lines", b.Total)
	}
}

// TestABillShowsChangesOfPriceAndOfSize: each book's part stands on its own, at the size that the book bills.
func TestABillShowsChangesOfPriceAndOfSize(t *testing.T) {
	s := segment("p", 1, 1500, 3<<29, 0, 30*time.Minute)
	s.Burst = usagev1.Burst{Millis: 900_000, CPUMillis: 900_000_000}
	var got []string
	for _, l := range billsOf(t, books(t, first, second), 0, s)[0].Lines {
		got = append(got, fmt.Sprint(l.Book.Version, " ", l.Millis, "ms ", l.CPUMilli, "m ", l.MemoryBytes>>20, "Mi ", l.BurstMillis, "ms of bursts ", l.Cost))
	}
	want := []string{
		"one 600000ms 1500m 1536Mi 300000ms of bursts 0.02749999998", // 0.25 vCPU-h and a third of 0.25, 0.25 GiB-h
		// The grid pays for half of the burst: 0.083333334 vCPU-h of 0.125 fall here, and 0.666666666 of the size.
		"two 1200000ms 2000m 2048Mi 600000ms of bursts 0.06583333332",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestEveryPodHasALine(t *testing.T) {
	just, never := segment("just", 1, 1000, 1<<30, time.Minute, 0), segment("never", 1, 1000, 1<<30, time.Minute, time.Minute)
	for _, b := range billsOf(t, books(t, first), time.Minute, just, never) {
		if len(b.Lines) != 1 || !b.Total.Cost.IsZero() || b.Lines[0].From != b.Lines[0].To {
			t.Errorf("%+v", b)
		}
	}
}

func TestABillShowsTheMinimum(t *testing.T) {
	b := billsOf(t, books(t, withMinimum), time.Hour, segment("p", 1, 6000, 0, 0, 10*time.Second), segment("p", 2, 1000, 0, 10*time.Second, 15*time.Second))[0]
	if len(b.Lines) != 3 || !b.Lines[2].Minimum || b.Lines[2].Used[billing.CPU].Hours() != "0.075000000" || b.Total.Millis != 15_000 || b.Lines[2].CPUMilli != 6000 {
		t.Errorf("%+v", b)
	}
}

// TestOrderAndDuplicatesDontMatter makes bills of random segments in random orders, some of them twice.
func TestOrderAndDuplicatesDontMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	set := books(t, withMinimum, second)
	in := random(r, 100)
	want := billsOf(t, set, time.Hour, in...)
	for range 20 {
		shuffled := append(append([]usagev1.Segment(nil), in...), in[:50]...)
		r.Shuffle(len(shuffled), func(a, b int) { shuffled[a], shuffled[b] = shuffled[b], shuffled[a] })
		if got := billsOf(t, set, time.Hour, shuffled...); !reflect.DeepEqual(got, want) {
			t.Fatal("another order made another bill")
		}
	}
}

func TestABillNamesWhatItCannotRate(t *testing.T) {
	s := segment("p", 1, -1, 1, 0, time.Hour)
	if _, err := rating.Bills(books(t, first), []usagev1.Segment{s}, 0); err == nil || !strings.Contains(err.Error(), "segment p/1/1") {
		t.Error(err)
	}
}

// TestBursts: what came on top of the size costs what the size does, and stands on its own.
func TestBursts(t *testing.T) {
	s := segment("p", 1, 1000, 2<<30, 0, time.Hour)
	s.Burst = usagev1.Burst{Millis: 600_000, CPUMillis: 3000 * 600_000, MemoryMillis: 512 * 600_000}
	b := billsOf(t, books(t, first), 0, s)[0]
	// 3 vCPU and half a GiB for ten minutes.
	if l := b.Lines[0]; l.BurstMillis != 600_000 || l.Burst[billing.CPU].Millis() != 1_800_000 || l.Burst[billing.Memory].Millis() != 300_000 || l.BurstCost.Fixed(6) != "0.032500" {
		t.Errorf("%+v", l)
	}
	if b.Total.Cost.Fixed(6) != "0.152500" || b.Total.Used[billing.CPU].Millis() != 5_400_000 || b.Total.Millis != 3_600_000 {
		t.Errorf("%+v", b.Total)
	}
}

// TestDaysAreOneLine: what goes on at the same size is one line of the bill, over all days' ends, and a resize begins
// another.
func TestDaysAreOneLine(t *testing.T) {
	books, err := billing.LoadBooks(billing.DefaultBook)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	midnight := start.Truncate(24 * time.Hour).Add(24 * time.Hour)
	of := func(sequence, generation, cpu int64, from, to time.Time) usagev1.Segment {
		return usagev1.Segment{ID: usagev1.ID{PodUID: "u", Generation: generation, Sequence: sequence}, Namespace: "default", Pod: "p", Node: "n",
			ComputeClass: "general-purpose", QoS: "default", CPUMilli: cpu, MemoryBytes: 1 << 30, Start: from, End: to}
	}
	segments := []usagev1.Segment{
		of(1, 1, 1000, start, midnight), of(2, 1, 1000, midnight, midnight.Add(24*time.Hour)), of(3, 1, 1000, midnight.Add(24*time.Hour), midnight.Add(30*time.Hour)),
		of(4, 2, 2000, midnight.Add(30*time.Hour), midnight.Add(48*time.Hour)), of(5, 2, 2000, midnight.Add(48*time.Hour), time.Time{}),
	}
	bills, err := rating.Bills(books, segments, midnight.Add(50*time.Hour).UnixMilli())
	if err != nil || len(bills) != 1 {
		t.Fatalf("%v, %d bills", err, len(bills))
	}
	lines := bills[0].Lines
	if len(lines) != 2 || lines[0].Last.Sequence != 3 || lines[0].Open || lines[1].Last.Sequence != 5 || !lines[1].Open {
		t.Fatalf("%+v", lines)
	}
	// 42 hours of 1 vCPU and 1 GiB, 20 of 2 and 1.
	if got := lines[0].Cost.String() + " " + lines[1].Cost.String() + " " + bills[0].Total.Cost.String(); got != "3.78 3 6.78" || lines[0].Millis != 42*3_600_000 {
		t.Errorf("cost %s, %d ms", got, lines[0].Millis)
	}
}
