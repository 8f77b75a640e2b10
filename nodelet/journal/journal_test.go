package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
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
	must(t, j.Start(size("a", 100)))
	if seq := j.Open()[0].Sequence; seq != 3 {
		t.Errorf("sequence %d after 2", seq)
	}
}

func TestARebootNeverRunsBackwards(t *testing.T) {
	h, path := newHost(), filepath.Join(t.TempDir(), "journal")
	j := openAt(t, path, h)
	must(t, j.Start(size("a", 100)))
	h.pass(time.Minute)
	must(t, j.Start(size("a", 200)))
	boundary := j.Open()[0].Start
	must(t, j.Close())
	h.mu.Lock()
	h.id, h.boot = "boot-2", time.Second
	h.wall = h.wall.Add(-24 * time.Hour)
	h.mu.Unlock()
	j = openAt(t, path, h)
	must(t, j.Stop("a", time.Time{}))
	for _, s := range j.Pending(10) {
		if s.End.Before(s.Start) {
			t.Errorf("segment %s ends at %s before it starts at %s", s.ID, s.End, s.Start)
		}
	}
	if j.Now().Before(boundary) {
		t.Errorf("the clock is at %s, before %s", j.Now(), boundary)
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

// TestEveryCut cuts the file at every byte and opens it: what was durable before the cut record is there.
func TestEveryCut(t *testing.T) {
	h, dir := newHost(), t.TempDir()
	path := filepath.Join(dir, "journal")
	j := openAt(t, path, h)
	var marks []int64 // size after each step
	for i := range 4 {
		must(t, j.Start(size("a", int64(100+i))))
		marks = append(marks, j.size)
		h.pass(time.Second)
	}
	must(t, j.Close())
	data, err := os.ReadFile(path)
	must(t, err)
	for cut := range len(data) + 1 {
		whole := 0
		for _, m := range marks {
			if int64(cut) >= m {
				whole++
			}
		}
		path := filepath.Join(dir, fmt.Sprint("cut", cut))
		must(t, os.WriteFile(path, data[:cut], 0o600))
		j := openAt(t, path, h)
		if got := len(j.Pending(100)) + len(j.Open()); got != whole {
			t.Fatalf("cut at %d: %d segments, want %d", cut, got, whole)
		}
		must(t, j.Start(size("b", 1))) // and it goes on
		must(t, j.Close())
	}
}

func TestDamageInTheMiddleIsNotDropped(t *testing.T) {
	h, path := newHost(), filepath.Join(t.TempDir(), "journal")
	j := openAt(t, path, h)
	for i := range 3 {
		must(t, j.Start(size("a", int64(i+1))))
	}
	must(t, j.Close())
	data, err := os.ReadFile(path)
	must(t, err)
	data[len(data)/2] ^= 0xff
	must(t, os.WriteFile(path, data, 0o600))
	var corrupt *CorruptError
	if _, err := Open(path, h.source()); !errors.As(err, &corrupt) || corrupt.Path != path {
		t.Errorf("opened a damaged journal: %v", err)
	}
}

// TestAFailedWriteLosesNothing makes writes fail as a full disk does.
func TestAFailedWriteLosesNothing(t *testing.T) {
	h, path := newHost(), filepath.Join(t.TempDir(), "journal")
	j := openAt(t, path, h)
	must(t, j.Start(size("a", 100)))
	good := j.file
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	must(t, err)
	defer full.Close()
	j.file = full
	if err := j.Start(size("a", 200)); err == nil {
		t.Fatal("a write to a full device succeeded")
	}
	j.file = good
	if open := j.Open(); len(open) != 1 || open[0].CPUMilli != 100 {
		t.Errorf("after the failure: %+v", open)
	}
	h.pass(time.Second)
	must(t, j.Start(size("a", 200)))
	must(t, j.Close())
	j = openAt(t, path, h)
	if len(j.Pending(9)) != 1 || j.Open()[0].CPUMilli != 200 || j.Open()[0].Sequence != 2 {
		t.Errorf("%+v %+v", j.Pending(9), j.Open())
	}
}

// TestManyPodsAtOnce checks the invariants over random interleavings, restarts and compactions.
func TestManyPodsAtOnce(t *testing.T) {
	h, path := newHost(), filepath.Join(t.TempDir(), "journal")
	j := openAt(t, path, h)
	seen := map[usagev1.ID]usagev1.Segment{}
	for range 5 {
		var wg sync.WaitGroup
		for p := range 16 {
			wg.Go(func() {
				uid, r := fmt.Sprint("pod", p), rand.New(rand.NewPCG(uint64(p), 7))
				for range 40 {
					h.pass(time.Duration(r.IntN(50)) * time.Millisecond)
					var err error
					if r.IntN(4) == 0 {
						err = j.Stop(uid, time.Time{})
					} else {
						err = j.Start(size(uid, int64(r.IntN(3))))
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		var ids []usagev1.ID
		for _, s := range j.Pending(1 << 20) {
			if old, ok := seen[s.ID]; ok && !old.End.Equal(s.End) {
				t.Errorf("segment %s changed", s.ID)
			}
			seen[s.ID] = s
			ids = append(ids, s.ID)
		}
		must(t, j.Ack(ids[:len(ids)/2]))
		j.mu.Lock()
		j.size, j.garbage = max(j.size, 0), compactAt
		j.mu.Unlock()
		must(t, j.Close())
		j = openAt(t, path, h)
		if got := len(j.Pending(1 << 20)); got != len(ids)-len(ids)/2 {
			t.Errorf("%d pending after the restart, want %d", got, len(ids)-len(ids)/2)
		}
	}
	last := map[string]usagev1.Segment{}
	for p := range 16 {
		uid := fmt.Sprint("pod", p)
		for seq := int64(1); ; seq++ {
			s, ok := seen[usagev1.ID{PodUID: uid, Generation: 1, Sequence: seq}]
			if !ok {
				break
			}
			if prev, ok := last[uid]; ok && s.Start.Before(prev.End) {
				t.Errorf("%s overlaps the one before", s.ID)
			}
			last[uid] = s
		}
	}
	if len(last) != 16 {
		t.Errorf("%d pods have segments", len(last))
	}
}

func TestCompactionKeepsEverything(t *testing.T) {
	h, path := newHost(), filepath.Join(t.TempDir(), "journal")
	j := openAt(t, path, h)
	must(t, j.Start(size("open", 1)))
	must(t, j.Start(size("ended", 1)))
	must(t, j.Stop("ended", time.Time{}))
	for i := range 50 {
		must(t, j.Start(size("busy", int64(i+1))))
		h.pass(time.Second)
	}
	pending := j.Pending(1 << 20)
	must(t, j.Ack([]usagev1.ID{pending[0].ID, pending[1].ID, pending[2].ID}))
	before, open := j.Pending(1<<20), j.Open()
	j.mu.Lock()
	j.size += compactAt // as if it had grown
	j.garbage = j.size
	err := j.compactIfWorthIt()
	small := j.size
	j.mu.Unlock()
	must(t, err)
	must(t, j.Start(size("after", 1)))
	must(t, j.Close())
	j = openAt(t, path, h)
	if got := j.Pending(1 << 20); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("pending changed:\n%v\n%v", before, got)
	}
	if got := j.Open(); len(got) != len(open)+1 {
		t.Errorf("%d open, want %d", len(got), len(open)+1)
	}
	if small >= compactAt {
		t.Errorf("the file still has %d bytes", small)
	}
	must(t, j.Start(size("busy", 999)))
	for _, s := range j.Open() {
		if s.PodUID == "busy" && s.Sequence != 51 {
			t.Errorf("sequence %d after 50", s.Sequence)
		}
	}
}
