package ledger

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// TestFollow: whatever is recorded while and after a follower reads what is there, it sees each segment once.
func TestFollow(t *testing.T) {
	eachStore(t, func(t *testing.T, place func() string) {
		l := openLedger(t, place())
		const writers, each = 4, 60
		var wg sync.WaitGroup
		half := make(chan struct{})
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					if w == 0 && i == each/2 {
						close(half)
					}
					s := segment(fmt.Sprintf("w%d-%d", w, i), 1, time.Duration(i)*time.Second, time.Duration(i+1)*time.Second)
					for range 2 { // each comes twice
						if err := l.Record(t.Context(), []usagev1.Segment{s}); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		<-half
		var mu sync.Mutex // guards seen
		seen := map[usagev1.ID]int{}
		count := func(s *usagev1.Segment) {
			mu.Lock()
			defer mu.Unlock()
			seen[s.ID]++
		}
		stop, err := l.Follow(t.Context(), Filter{}, func(s *usagev1.Segment) error { count(s); return nil }, func(list []*usagev1.Segment) {
			for _, s := range list {
				count(s)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		stop()
		record(t, l, segment("after", 1, 0, time.Second))
		if len(seen) != writers*each {
			t.Errorf("%d segments were seen, want %d", len(seen), writers*each)
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("%s was seen %d times", id, n)
			}
		}
	})
}

func TestFollowFails(t *testing.T) {
	eachStore(t, func(t *testing.T, place func() string) {
		l := openLedger(t, place())
		record(t, l, segment("a", 1, 0, time.Second))
		enough := errors.New("enough")
		if _, err := l.Follow(t.Context(), Filter{}, func(*usagev1.Segment) error { return enough }, func([]*usagev1.Segment) { t.Error("told after a failure") }); !errors.Is(err, enough) {
			t.Error(err)
		}
		record(t, l, segment("b", 1, 0, time.Second))
	})
}

func TestOpen(t *testing.T) {
	eachStore(t, func(t *testing.T, place func() string) {
		l := openLedger(t, place())
		open, other := segment("a", 1, 0, 0), segment("b", 1, 0, 0)
		for node, list := range map[string][]usagev1.Segment{"n1": {open, other}, "n2": {open}} {
			if err := l.SetOpen(t.Context(), node, list); err != nil {
				t.Fatal(err)
			}
		}
		uids := func() (out []string) {
			list, err := l.Open(t.Context(), Filter{})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range list {
				out = append(out, s.PodUID)
			}
			return out
		}
		if got := uids(); len(got) != 2 {
			t.Errorf("open: %v", got)
		}
		record(t, l, segment("a", 1, 0, time.Second)) // before its node says that it isn't open any more
		if got := uids(); len(got) != 1 || got[0] != "b" {
			t.Errorf("open: %v", got)
		}
	})
}
