package journal

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// TestSegmentsEndWithTheirDay: they abut at midnight, whenever it is noticed, and nothing else about them changes.
func TestSegmentsEndWithTheirDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, path := newHost(), filepath.Join(t.TempDir(), "journal")
		h.wall = time.Date(2026, 3, 1, 23, 50, 0, 0, time.UTC)
		midnight := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
		tick := func(d time.Duration) {
			h.pass(d)
			time.Sleep(noteInterval)
			synctest.Wait()
		}
		j := openAt(t, path, h)
		must(t, j.Start(size("a", 100)))
		must(t, j.Start(size("b", 200)))
		must(t, j.Burst("a", usagev1.Burst{Millis: 5, CPUMillis: 500}))
		<-j.Changed()
		tick(12 * time.Minute)
		if n := len(j.Pending(9)); n != 0 {
			t.Fatalf("%d segments have ended while ends of the day before may still be told", n)
		}
		must(t, j.Stop("b", midnight.Add(-time.Minute)))
		<-j.Changed()
		tick(4 * time.Minute)
		select {
		case <-j.Changed():
		default:
			t.Error("nobody is told that a day has ended")
		}
		closed, open := j.Pending(9), j.Open()
		if len(closed) != 2 || len(open) != 1 {
			t.Fatalf("closed %v, open %v", closed, open)
		}
		if b := closed[0]; b.PodUID != "b" || !b.End.Equal(midnight.Add(-time.Minute)) {
			t.Errorf("b ends at %s", b.End)
		}
		if a := closed[1]; a.PodUID != "a" || !a.End.Equal(midnight) || a.Burst.Millis != 5 {
			t.Errorf("a's day is %+v", a)
		}
		if a := open[0]; !a.Start.Equal(midnight) || a.Sequence != 2 || a.CPUMilli != 100 || a.Burst != (usagev1.Burst{}) {
			t.Errorf("a goes on as %+v", a)
		}
		tick(time.Hour)
		if n := len(j.Pending(9)); n != 2 {
			t.Errorf("the same day ended again: %d", n)
		}

		// A nodelet that was away for days ends each of them, once it has had the time to learn what has ended.
		must(t, j.Close())
		h.pass(48 * time.Hour)
		j = openAt(t, path, h)
		tick(time.Minute)
		if n := len(j.Pending(9)); n != 2 {
			t.Errorf("right after a start %d segments have ended", n)
		}
		tick(5 * time.Minute)
		closed = j.Pending(9)
		if len(closed) != 4 || !closed[2].End.Equal(midnight.Add(24*time.Hour)) || !closed[3].Start.Equal(closed[2].End) ||
			!closed[3].End.Equal(midnight.Add(48*time.Hour)) || !j.Open()[0].Start.Equal(closed[3].End) || j.Open()[0].Sequence != 4 {
			t.Errorf("after two days: closed %v, open %v", closed, j.Open())
		}

		// And what is on the disk says the same.
		crashed := openAt(t, copyOf(t, path), h)
		if got := crashed.Pending(9); len(got) != 4 || got[3].ID != closed[3].ID {
			t.Errorf("read again: %v", got)
		}
		must(t, crashed.Close())
		must(t, j.Close())
	})
}
