package rating_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/rating"
)

const withMinimum = first + "minimumDuration: 60s\n"

func TestShortPodsAreBilledForTheMinimum(t *testing.T) {
	resized := []usagev1.Segment{segment("resized", 1, 1000, 1<<30, 0, 10*time.Second), segment("resized", 2, 8000, 1<<30, 10*time.Second, 40*time.Second)}
	late := segment("late", 2, 1000, 1<<30, 0, time.Second) // the first one isn't there
	in := append(resized, late,
		segment("short", 1, 1000, 2<<30, 0, 15*time.Second), segment("long", 1, 1000, 1<<30, 0, time.Minute), segment("open", 1, 1000, 1<<30, 0, 0),
		segment("grown", 1, 1000, 1<<30, 0, 30*time.Second), segment("grown", 2, 1000, 1<<30, 30*time.Second, 2*time.Minute))
	want := []string{
		"resized general-purpose/default/vcpu 0.005555556 at 40s", "resized general-purpose/default/memory 0.005555556 at 40s",
		"short general-purpose/default/vcpu 0.012500000 at 15s", "short general-purpose/default/memory 0.025000000 at 15s",
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		r.Shuffle(len(in), func(a, b int) { in[a], in[b] = in[b], in[a] })
		m := rating.NewMinimum(books(t, withMinimum))
		for i := range in {
			m.Add(&in[i])
		}
		var got []string
		emit := func(l *billing.Line) error {
			if !l.Minimum || l.To-l.From != 1 {
				t.Errorf("%+v", l)
			}
			got = append(got, fmt.Sprint(l.Segment.PodUID, " ", l.Item.ID, " ", l.Quantity.Hours(), " at ", time.Duration(l.To-start.UnixMilli())*time.Millisecond))
			return nil
		}
		// Within a minute of their start more of them may come.
		if err := m.Flush(start.Add(59*time.Second).UnixMilli(), emit); err != nil || got != nil {
			t.Fatalf("%v %v", got, err)
		}
		if r.IntN(2) == 0 {
			if err := m.FlushPod("short", math.MaxInt64, emit); err != nil || len(got) != 2 {
				t.Fatalf("%v %v", got, err)
			}
		}
		if err := m.Flush(math.MaxInt64, emit); err != nil {
			t.Fatal(err)
		}
		if len(got) > 0 && strings.HasPrefix(got[0], "short") { // by FlushPod
			got = append(got[2:], got[:2]...)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q, want %q", got, want)
		}
	}
}

// TestAMinimumIsWhatAPodOfThatLengthCosts: the lines of a short pod and what comes on top are those of a pod that
// lives for the minimum.
func TestAMinimumIsWhatAPodOfThatLengthCosts(t *testing.T) {
	set := books(t, withMinimum)
	r := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		short := segment("p", 1, r.Int64N(64000), r.Int64N(1<<38), 0, time.Duration(1+r.IntN(59_999))*time.Millisecond)
		whole := short
		whole.End = start.Add(time.Minute)
		cost := func(s usagev1.Segment) (out billing.Money) {
			add := func(l *billing.Line) error { out = out.Plus(l.List()); return nil }
			m := rating.NewMinimum(set)
			m.Add(&s)
			if err := m.Flush(math.MaxInt64, add); err != nil {
				t.Fatal(err)
			}
			if err := (&rating.Rater{Books: set}).Rate(&s, add); err != nil {
				t.Fatal(err)
			}
			return out
		}
		if a, b := cost(short), cost(whole); a != b {
			t.Fatalf("%v: %s, want %s", short.End.Sub(short.Start), a, b)
		}
	}
}
