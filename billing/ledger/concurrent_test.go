package ledger

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// A segment that closes while the ledger is read is in what is read: as open or as closed.
func TestNothingIsMissedWhileItCloses(t *testing.T) {
	l, err := Open(filepath.Join(t.TempDir(), "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	ctx := context.Background()
	segment := func(sequence int64, open bool) usagev1.Segment {
		start := time.UnixMilli(1000 * sequence).UTC()
		s := usagev1.Segment{ID: usagev1.ID{PodUID: "u", Generation: 1, Sequence: sequence}, Namespace: "ns", Pod: "p", Node: "n", Start: start}
		if !open {
			s.End = start.Add(time.Second)
		}
		return s
	}
	const last = 150
	if err := l.SetOpen(ctx, "n", []usagev1.Segment{segment(1, true)}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		for i := int64(1); i < last; i++ {
			if err := l.Record(ctx, []usagev1.Segment{segment(i, false)}); err != nil {
				t.Error(err)
				return
			}
			if err := l.SetOpen(ctx, "n", []usagev1.Segment{segment(i+1, true)}); err != nil {
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
		got, err := l.Segments(ctx, Filter{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if got[i].Sequence != int64(i+1) {
				t.Fatalf("segment %d is missing of %d", i+1, len(got))
			}
		}
	}
}
