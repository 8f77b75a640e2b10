package main

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestOpenLoopCountsTheQueue stalls the server for a second: a closed loop would see one slow answer, an open
// one sees all that had to wait.
func TestOpenLoopCountsTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		server := make(chan struct{}, 1) // answers one after the other, at once but for the stall
		due, took, err := openLoop(t.Context(), 1000, 100, 4, func(context.Context, int) error {
			server <- struct{}{}
			defer func() { <-server }()
			if since := time.Since(start); since >= 2*time.Second && since < 3*time.Second {
				time.Sleep(3*time.Second - since)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := start.Add(2500 * time.Millisecond); !due[250].Equal(want) {
			t.Errorf("request 250 was due at %v, want %v", due[250], want)
		}
		slow := 0
		for i, d := range took {
			want := time.Duration(0)
			if i >= 200 && i < 300 {
				want = 3*time.Second - due[i].Sub(start)
			}
			if d != want {
				t.Errorf("request %d took %v, want %v", i, d, want)
			}
			if d > 0 {
				slow++
			}
		}
		if slow != 100 {
			t.Errorf("%d requests were slow, want 100: those of the second in which the server stalled", slow)
		}
		if since := time.Since(start); since != 9990*time.Millisecond {
			t.Errorf("1000 requests at 100/s ended after %v", since)
		}
	})
}

func TestLoopsEndWithAnError(t *testing.T) {
	broken := errors.New("broken")
	fails := func(_ context.Context, i int) error {
		if i == 5 {
			return broken
		}
		return nil
	}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if _, _, err := openLoop(t.Context(), 1_000_000, 10, 3, fails); !errors.Is(err, broken) {
			t.Errorf("open: %v", err)
		}
		if since := time.Since(start); since != 500*time.Millisecond {
			t.Errorf("the open loop went on until %v", since)
		}
		if _, _, err := closedLoop(t.Context(), 1_000_000, 3, fails); !errors.Is(err, broken) {
			t.Errorf("closed: %v", err)
		}
	})
	for _, bad := range []struct {
		rate    float64
		workers int
	}{{0, 1}, {-1, 1}, {1, 0}} {
		if _, _, err := openLoop(t.Context(), 1, bad.rate, bad.workers, fails); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

func TestClosedLoopDoesEachOnce(t *testing.T) {
	var mu sync.Mutex // guards done
	done := map[int]int{}
	began, took, err := closedLoop(t.Context(), 1000, 7, func(_ context.Context, i int) error {
		mu.Lock()
		defer mu.Unlock()
		done[i]++
		return nil
	})
	if err != nil || len(done) != 1000 || len(began) != 1000 || len(took) != 1000 {
		t.Fatalf("%d done, %v", len(done), err)
	}
	for i, n := range done {
		if n != 1 || began[i].IsZero() {
			t.Errorf("thing %d was done %d times, from %v on", i, n, began[i])
		}
	}
}
