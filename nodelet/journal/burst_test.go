package journal

import (
	"path/filepath"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// TestBurst: bursts are sums of the open segment, kept over a kill and a file that is written anew, and none of the
// next segment's.
func TestBurst(t *testing.T) {
	h := newHost()
	path := filepath.Join(t.TempDir(), "journal")
	j, err := Open(path, h.source())
	must(t, err)
	small := usagev1.Segment{ID: usagev1.ID{PodUID: "p", Generation: 1}, CPUMilli: 100, MemoryBytes: 1 << 20}
	large := small
	large.CPUMilli = 200
	must(t, j.Burst("p", usagev1.Burst{Millis: 1})) // nothing is open
	must(t, j.Start(small))
	must(t, j.Burst("p", usagev1.Burst{Millis: 10, CPUMillis: 5000}))
	must(t, j.Start(small)) // the same size: it goes on
	must(t, j.Burst("p", usagev1.Burst{Millis: 20, CPUMillis: 1000, MemoryMillis: 7}))
	if err := j.Burst("p", usagev1.Burst{Millis: -1}); err == nil {
		t.Error("a negative burst was taken")
	}
	want := usagev1.Burst{Millis: 30, CPUMillis: 6000, MemoryMillis: 7}
	killed, err := Open(copyOf(t, path), h.source())
	must(t, err)
	defer killed.Close()
	for _, one := range []*Journal{j, killed} {
		if open := one.Open(); len(open) != 1 || open[0].Burst != want {
			t.Errorf("open: %+v, want a burst of %+v", open, want)
		}
		h.pass(time.Second)
		must(t, one.Start(large))
		must(t, one.Burst("p", usagev1.Burst{Millis: 1, CPUMillis: 2}))
		must(t, one.Stop("p", time.Time{}))
		must(t, one.Burst("p", usagev1.Burst{Millis: 1}))
		closed := one.Pending(10)
		if len(closed) != 2 || closed[0].Burst != want || closed[1].Burst != (usagev1.Burst{Millis: 1, CPUMillis: 2}) {
			t.Errorf("closed: %+v", closed)
		}
	}
	must(t, j.Close())
}
