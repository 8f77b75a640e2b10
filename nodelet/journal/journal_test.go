package journal

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/internal/bootclock"
)

// host is a source whose time the test moves.
type host struct {
	mu   sync.Mutex
	id   string
	boot time.Duration
	wall time.Time
}

func newHost() *host {
	return &host{id: "boot-1", boot: time.Hour, wall: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

func (h *host) source() bootclock.Source {
	return bootclock.Source{
		BootID:    func() (string, error) { h.mu.Lock(); defer h.mu.Unlock(); return h.id, nil },
		SinceBoot: func() time.Duration { h.mu.Lock(); defer h.mu.Unlock(); return h.boot },
		Wall:      func() time.Time { h.mu.Lock(); defer h.mu.Unlock(); return h.wall },
	}
}

func (h *host) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.boot += d
	h.wall = h.wall.Add(d)
}

func (h *host) step(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wall = h.wall.Add(d)
}

func (h *host) reboot(id string, wall time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.id, h.boot = id, time.Second
	h.wall = h.wall.Add(wall)
}

// copyOf answers what a crash at this moment would leave.
func copyOf(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	out := filepath.Join(t.TempDir(), "journal")
	must(t, os.WriteFile(out, data, 0o600))
	return out
}

func openAt(t *testing.T, path string, h *host) *Journal {
	t.Helper()
	j, err := Open(path, h.source())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func size(uid string, cpu int64) usagev1.Segment {
	return usagev1.Segment{ID: usagev1.ID{PodUID: uid, Generation: 1}, Namespace: "default", Pod: uid, CPUMilli: cpu, MemoryBytes: 1 << 20}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestSegmentsAbutAndSurviveRestarts(t *testing.T) {
	h, path := newHost(), filepath.Join(t.TempDir(), "journal")
	j := openAt(t, path, h)
	began := j.Now()
	must(t, j.Start(size("a", 100)))
	h.pass(10 * time.Second)
	must(t, j.Start(size("a", 100))) // the same size: nothing happens
	must(t, j.Start(size("a", 200)))
	must(t, j.Close())
	h.pass(5 * time.Second)
	h.step(-time.Hour) // the wall clock is set back while nobody looks
	j = openAt(t, path, h)
	h.pass(5 * time.Second)
	must(t, j.Stop("a", time.Time{}))
	got := j.Pending(10)
	if len(got) != 2 || len(j.Open()) != 0 {
		t.Fatalf("%d closed, %d open", len(got), len(j.Open()))
	}
	if got[0].Sequence != 1 || got[1].Sequence != 2 || !got[0].End.Equal(got[1].Start) {
		t.Errorf("segments don't abut: %+v", got)
	}
	if total := got[1].End.Sub(began); total != 20*time.Second {
		t.Errorf("metered %s of 20 s", total)
	}
	must(t, j.Ack([]usagev1.ID{got[0].ID}))
	must(t, j.Ack([]usagev1.ID{got[0].ID, got[1].ID}))
	must(t, j.Close())
	if j = openAt(t, path, h); len(j.Pending(10)) != 0 {
		t.Error("acknowledged segments came back")
	}
}

// TestNothingRunsOverABoot ends what was open at the last time that was noted.
func TestNothingRunsOverABoot(t *testing.T) {
	for name, wall := range map[string]time.Duration{"wall clock ahead": time.Hour, "wall clock behind": -24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			h, path := newHost(), filepath.Join(t.TempDir(), "journal")
			j := openAt(t, path, h)
			must(t, j.Start(size("again", 100)))
			must(t, j.Start(size("stopped", 100)))
			h.pass(time.Minute)
			must(t, j.Start(size("other", 200))) // notes the time
			noted := j.Open()[1].Start
			h.pass(30 * time.Second) // not noted, so not billed
			crashed := copyOf(t, path)
			h.reboot("boot-2", wall)

			j = openAt(t, crashed, h)
			for _, s := range j.Pending(10) {
				if !s.End.Equal(noted) || s.CPUMilli == 0 {
					t.Errorf("segment %s ends at %s, want %s", s.ID, s.End, noted)
				}
			}
			for _, s := range j.Open() {
				if s.CPUMilli != 0 || s.MemoryBytes != 0 || s.Sequence != 2 {
					t.Errorf("open over the boot: %+v", s)
				}
			}
			h.pass(time.Minute)
			must(t, j.Start(size("again", 100)))
			must(t, j.Stop("stopped", time.Time{}))
			h.pass(time.Minute)
			must(t, j.Stop("again", time.Time{}))
			var billed time.Duration
			var last usagev1.Segment
			for _, s := range j.Pending(20) {
				if s.PodUID != "again" {
					continue
				}
				if last.Sequence > 0 && (s.Sequence != last.Sequence+1 || !s.Start.Equal(last.End)) {
					t.Errorf("%+v doesn't follow %+v", s, last)
				}
				if last = s; s.CPUMilli > 0 {
					billed += s.End.Sub(s.Start)
				}
			}
			if billed != 2*time.Minute {
				t.Errorf("billed %s, ran for 2m and 30 s that nobody knows of", billed)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			h.reboot("boot-3", time.Minute)
			if j = openAt(t, crashed, h); len(j.Open()) != 1 { // other still has no size: no need for another segment
				t.Errorf("%+v", j.Open())
			}
			if s := j.Open()[0]; s.PodUID != "other" || s.Sequence != 2 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestTimeIsNoted lets the ticker run on synthetic time.
func TestTimeIsNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, path := newHost(), filepath.Join(t.TempDir(), "journal")
		j := openAt(t, path, h)
		must(t, j.Start(size("a", 100)))
		h.pass(10 * time.Minute)
		noted := j.Now()
		time.Sleep(noteInterval)
		synctest.Wait()
		h.pass(time.Hour)
		crashed := copyOf(t, path)
		must(t, j.Close())
		h.reboot("boot-2", 0)
		j = openAt(t, crashed, h)
		if s := j.Pending(1)[0]; !s.End.Equal(noted) {
			t.Errorf("ends at %s, want %s", s.End, noted)
		}
	})
}

func TestAnIdleNodeCatchesUpWithTheWallClock(t *testing.T) {
	h, path := newHost(), filepath.Join(t.TempDir(), "journal")
	j := openAt(t, path, h)
	must(t, j.Start(size("a", 100)))
	h.step(24 * time.Hour)
	h.pass(time.Second)
	must(t, j.Start(size("b", 100))) // a still runs: no jump
	if start := j.Open()[1].Start; !start.Equal(h.source().Wall().Add(-24 * time.Hour)) {
		t.Errorf("the clock jumped to %s while a pod ran", start)
	}
	must(t, j.Stop("a", time.Time{}))
	must(t, j.Stop("b", h.source().Wall()))
	if d := j.Pending(1)[0].End.Sub(j.Pending(1)[0].Start); d != time.Second {
		t.Errorf("metered %s of a second", d)
	}
	must(t, j.Start(size("c", 100)))
	if start := j.Open()[0].Start; !start.Equal(h.source().Wall()) {
		t.Errorf("starts at %s by a wall clock of %s", start, h.source().Wall())
	}
	start := j.Open()[0].Start
	h.step(-48 * time.Hour)
	must(t, j.Stop("c", time.Time{}))
	must(t, j.Start(size("d", 100)))
	if again := j.Open()[0].Start; again.Before(start) {
		t.Errorf("the clock ran backwards from %s to %s", start, again)
	}
	must(t, j.Close())
	if j = openAt(t, path, h); j.Now().Before(start) {
		t.Errorf("after a restart it is %s", j.Now())
	}
}

func TestAPodThatStartsAgainHasNoGap(t *testing.T) {
	h := newHost()
	j := openAt(t, filepath.Join(t.TempDir(), "journal"), h)
	must(t, j.Start(size("a", 100)))
	h.pass(time.Second)
	must(t, j.Stop("a", time.Time{}))
	h.pass(time.Minute)
	must(t, j.Start(size("a", 100)))
	p := j.Pending(3)
	if len(p) != 2 || p[1].CPUMilli != 0 || p[1].End.Sub(p[1].Start) != time.Minute || !p[1].Start.Equal(p[0].End) {
		t.Errorf("%+v", p)
	}
	if o := j.Open()[0]; o.Sequence != 3 || !o.Start.Equal(p[1].End) || o.CPUMilli != 100 {
		t.Errorf("%+v", o)
	}
}

func TestWhatIsNoSegment(t *testing.T) {
	j := openAt(t, filepath.Join(t.TempDir(), "journal"), newHost())
	for _, s := range []usagev1.Segment{{}, size("a", -1)} {
		if err := j.Start(s); !errors.Is(err, errSegment) {
			t.Errorf("%+v: %v", s, err)
		}
	}
	must(t, j.Start(size("a", 1)))
	must(t, j.Close())
	must(t, j.Close())
	if err := j.Start(size("a", 2)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestChangesAreSignalled(t *testing.T) {
	j := openAt(t, filepath.Join(t.TempDir(), "journal"), newHost())
	heard := func() bool {
		select {
		case <-j.Changed():
			return true
		default:
			return false
		}
	}
	must(t, j.Start(size("a", 1)))
	must(t, j.Start(size("a", 2)))
	if !heard() || heard() {
		t.Error("two starts that nobody heard are one signal")
	}
	must(t, j.Stop("a", time.Time{}))
	if !heard() {
		t.Error("a stop isn't signalled")
	}
}

func TestStopAtAnEarlierExit(t *testing.T) {
	h := newHost()
	j := openAt(t, filepath.Join(t.TempDir(), "journal"), h)
	must(t, j.Start(size("a", 100)))
	h.pass(time.Minute)
	exit := h.source().Wall()
	h.pass(time.Minute)
	must(t, j.Stop("a", exit))
	s := j.Pending(1)[0]
	if d := s.End.Sub(s.Start); d != time.Minute {
		t.Errorf("metered %s, ran a minute", d)
	}
	must(t, j.Stop("a", exit)) // again: nothing
	must(t, j.Stop("unknown", exit))
	must(t, j.Start(size("b", 100)))
	must(t, j.Stop("b", exit.Add(-time.Hour))) // before it started
	if s := j.Pending(2)[1]; s.End.Before(s.Start) {
		t.Errorf("segment of negative length: %+v", s)
	}
}
