package ledger

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// TestCallsShareTransactions records from many goroutines at once: each call is told what became of its own
// segments, whatever others in its transaction said.
func TestCallsShareTransactions(t *testing.T) {
	l, err := Open(filepath.Join(t.TempDir(), "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	at := time.UnixMilli(1000).UTC()
	one := func(pod string, sequence, milli int64) usagev1.Segment {
		return usagev1.Segment{
			ID: usagev1.ID{PodUID: pod, Generation: 1, Sequence: sequence}, Namespace: "n", Pod: pod, Node: "a",
			ComputeClass: "general-purpose", QoS: "default", CPUMilli: milli, MemoryBytes: 1, Start: at, End: at.Add(time.Second),
		}
	}
	if err := l.Record(t.Context(), []usagev1.Segment{one("known", 1, 100)}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			pod := fmt.Sprint("p", i)
			segments := []usagev1.Segment{one(pod, 1, 100), one(pod, 2, 200)}
			switch i % 4 {
			case 1:
				segments = append(segments, one("known", 1, 999))
			case 2:
				segments[1].End = time.Time{} // open
			case 3:
				segments = append(segments, one("known", 1, 100)) // again
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
	var n int
	if err := l.db.QueryRow("SELECT COUNT(*) FROM segments").Scan(&n); err != nil || n != 1+150*2 {
		t.Errorf("%d segments, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Record(ctx, []usagev1.Segment{one("late", 1, 1)}); !errors.Is(err, context.Canceled) {
		t.Errorf("of a context that has ended: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
