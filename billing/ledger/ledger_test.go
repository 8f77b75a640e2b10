package ledger

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

func TestASegmentCountsOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, place func() string) {
		in := []usagev1.Segment{segment("a", 1, 0, time.Minute), segment("a", 2, time.Minute, time.Hour), segment("b", 1, 0, time.Second)}
		where := place()
		for range 3 {
			l, err := Open(t.Context(), where)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				record(t, l, in...)
			}
			if got := all(t, l, Filter{}); !reflect.DeepEqual(got, in) {
				t.Errorf("kept %+v", got)
			}
			for range 2 {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

func TestTheFirstStands(t *testing.T) {
	eachStore(t, func(t *testing.T, place func() string) {
		l := openLedger(t, place())
		first := segment("a", 1, 0, time.Minute)
		record(t, l, first)
		other, elsewhere := first, first
		other.CPUMilli = 1
		elsewhere.Start = elsewhere.Start.Add(-240 * time.Hour) // another partition
		for range 2 {
			for _, copy := range []usagev1.Segment{other, elsewhere} {
				var conflict *ConflictError
				err := l.Record(t.Context(), []usagev1.Segment{copy, segment("a", 2, time.Minute, time.Hour)})
				if !errors.As(err, &conflict) || len(conflict.IDs) != 1 || conflict.IDs[0] != first.ID {
					t.Errorf("%v", err)
				}
			}
		}
		if got := all(t, l, Filter{}); len(got) != 2 || !reflect.DeepEqual(got[0], first) {
			t.Errorf("%+v", got)
		}
		refused, err := l.Refused(t.Context())
		if err != nil || len(refused) != 2 || !reflect.DeepEqual(refused[0].Segment, other) || !reflect.DeepEqual(refused[1].Segment, elsewhere) || refused[0].Expired {
			t.Errorf("%+v, %v", refused, err)
		}
		region := first
		region.Region = "eu-1"
		record(t, l, region) // what the control plane adds isn't compared
	})
}

func TestOpenSegments(t *testing.T) {
	eachStore(t, func(t *testing.T, place func() string) {
		l := openLedger(t, place())
		for _, node := range []string{"n", "m"} { // told by two nodes, it's still one segment
			if err := l.SetOpen(t.Context(), node, []usagev1.Segment{segment("a", 1, 0, 0), segment("b", 1, 0, 0)}); err != nil {
				t.Fatal(err)
			}
		}
		record(t, l, segment("a", 1, 0, time.Minute))
		got := all(t, l, Filter{})
		if len(got) != 2 || got[0].Open() || !got[1].Open() {
			t.Errorf("%+v", got)
		}
		if got := all(t, l, Filter{Through: newest(t, l)}); len(got) != 1 {
			t.Errorf("through a record %+v", got)
		}
		for _, node := range []string{"n", "m"} {
			if err := l.SetOpen(t.Context(), node, nil); err != nil {
				t.Fatal(err)
			}
		}
		if got := all(t, l, Filter{}); len(got) != 1 {
			t.Errorf("%+v", got)
		}
	})
}

func TestWhatIsNoSegment(t *testing.T) {
	eachStore(t, func(t *testing.T, place func() string) {
		l := openLedger(t, place())
		backwards, nobody, text := segment("a", 1, time.Hour, time.Minute), segment("", 1, 0, 1), segment("a", 1, 0, 1)
		text.Labels = map[string]string{"app": "a\x00b"}
		for _, s := range []usagev1.Segment{segment("a", 1, 0, 0), backwards, nobody, text} {
			if err := l.Record(t.Context(), []usagev1.Segment{segment("good", 1, 0, 1), s}); err == nil {
				t.Errorf("recorded: %+v", s)
			}
		}
		if got := all(t, l, Filter{}); len(got) != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// older is a segment of a generation that needn't go with its sequence: a nodelet that was killed may begin with an
// older one again.
func older(pod string, sequence, generation int64, from, to time.Duration) usagev1.Segment {
	s := segment(pod, sequence, from, to)
	s.Generation = generation
	return s
}

func TestGaps(t *testing.T) {
	eachStore(t, func(t *testing.T, place func() string) {
		l := openLedger(t, place())
		double := segment("corrected", 2, time.Second, time.Hour)
		record(t, l,
			segment("gap", 1, 0, time.Minute), segment("gap", 2, 2*time.Minute, time.Hour),
			segment("overlap", 1, 0, time.Minute), segment("overlap", 2, time.Second, time.Hour),
			segment("skipped", 1, 0, time.Minute), segment("skipped", 3, time.Minute, time.Hour),
			segment("whole", 1, 0, 30*time.Hour), segment("whole", 2, 30*time.Hour, 60*time.Hour),
			segment("void", 1, 0, time.Minute), segment("void", 2, 0, time.Minute), segment("void", 3, time.Minute, time.Hour),
			segment("corrected", 1, 0, time.Minute), double,
			older("killed", 1, 3, 0, time.Minute), older("killed", 2, 2, time.Minute, time.Hour), older("killed", 3, 3, time.Hour, 2*time.Hour),
		)
		double.Start = begin.Add(time.Minute)
		for _, c := range []Correction{{ID: double.ID, Segment: &double}, {ID: segment("void", 2, 0, 0).ID, Void: true}} {
			c.Reason, c.By = "metered twice", "tester"
			if err := l.Correct(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		gaps, err := l.Gaps(t.Context())
		want := []Gap{
			{"gap", 1, begin.Add(time.Minute), begin.Add(2 * time.Minute)}, {"overlap", 1, begin.Add(time.Minute), begin.Add(time.Second)},
			{"skipped", 1, begin.Add(time.Minute), begin.Add(time.Minute)},
		}
		if err != nil || !reflect.DeepEqual(gaps, want) {
			t.Errorf("%v (%v)", gaps, err)
		}
	})
}

// TestCallsShareTransactions records from many goroutines at once: each call is told what became of its own
// segments, whatever others in its transaction said.
func TestCallsShareTransactions(t *testing.T) {
	eachStore(t, func(t *testing.T, place func() string) {
		l := openLedger(t, place())
		known := segment("known", 1, 0, time.Minute)
		record(t, l, known)
		other := known
		other.CPUMilli = 999
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				pod := fmt.Sprint("p", i)
				segments := []usagev1.Segment{segment(pod, 1, 0, time.Second), segment(pod, 2, time.Second, time.Minute)}
				switch i % 4 {
				case 1:
					segments = append(segments, other)
				case 2:
					segments[1].End = time.Time{} // open
				case 3:
					segments = append(segments, known, segments[0]) // again
				}
				err := l.Record(t.Context(), segments)
				var conflict *ConflictError
				switch {
				case i%4 == 1 && (!errors.As(err, &conflict) || len(conflict.IDs) != 1 || conflict.IDs[0].PodUID != "known"):
					t.Errorf("call %d: %v, want a conflict", i, err)
				case i%4 == 2 && (err == nil || errors.As(err, &conflict)):
					t.Errorf("call %d: %v, want that it is open", i, err)
				case (i%4 == 0 || i%4 == 3) && err != nil:
					t.Errorf("call %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if n := len(all(t, l, Filter{})); n != 1+150*2 {
			t.Errorf("%d segments", n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.Record(ctx, []usagev1.Segment{segment("late", 1, 1, 2)}); !errors.Is(err, context.Canceled) {
			t.Errorf("of a context that has ended: %v", err)
		}
	})
}

// A segment that closes while the ledger is read is in what is read: as open or as closed.
func TestNothingIsMissedWhileItCloses(t *testing.T) {
	eachStore(t, func(t *testing.T, place func() string) {
		l := openLedger(t, place())
		ctx := context.Background()
		one := func(sequence int64, open bool) usagev1.Segment {
			s := segment("u", sequence, time.Duration(sequence)*time.Second, time.Duration(sequence+1)*time.Second)
			if open {
				s.End = time.Time{}
			}
			return s
		}
		const last = 150
		if err := l.SetOpen(ctx, "n", []usagev1.Segment{one(1, true)}); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		defer wg.Wait()
		done := make(chan struct{})
		wg.Go(func() {
			defer close(done)
			for i := int64(1); i < last; i++ {
				if err := l.Record(ctx, []usagev1.Segment{one(i, false)}); err != nil {
					t.Error(err)
					return
				}
				if err := l.SetOpen(ctx, "n", []usagev1.Segment{one(i+1, true)}); err != nil {
					t.Error(err)
				}
			}
		})
		for ended := false; !ended; {
			select {
			case <-done:
				ended = true
			default:
			}
			got := all(t, l, Filter{})
			for i := range got {
				if got[i].Sequence != int64(i+1) {
					t.Fatalf("segment %d is missing of %d", i+1, len(got))
				}
			}
		}
	})
}

func TestPlacesThatAreNone(t *testing.T) {
	for _, where := range []string{"", "mysql://db/swell", "/dev/null"} {
		if l, err := Open(t.Context(), where); err == nil {
			_ = l.Close()
			t.Errorf("%q was opened", where)
		}
	}
}
