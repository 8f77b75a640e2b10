package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/internal/framelog"
)

// content is what a journal would answer.
type content struct{ open, pending []usagev1.Segment }

func contentOf(j *Journal) content { return content{j.Open(), j.Pending(1 << 20)} }

// history is a journal's file, and what it held after each frame.
type history struct {
	data  []byte
	marks map[int64]content // by size
}

func aHistory(t *testing.T, h *host) history {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal")
	out := history{marks: map[int64]content{0: {}, int64(len(format)): {}}}
	j := openAt(t, path, h)
	note := func() {
		data, err := os.ReadFile(path)
		must(t, err)
		out.data, out.marks[int64(len(data))] = data, contentOf(j)
	}
	note()
	for i := range 4 {
		must(t, j.Start(size("a", int64(100+i))))
		note()
		must(t, j.Start(size("b", int64(100+i))))
		note()
		h.pass(time.Second)
	}
	must(t, j.Stop("b", time.Time{}))
	note()
	must(t, j.Ack([]usagev1.ID{j.Pending(1)[0].ID, j.Pending(2)[1].ID}))
	must(t, j.Start(size("c", 1))) // carries the acknowledgement
	note()
	return out
}

// TestEveryCut cuts the file at every byte and opens it: it holds what it held after the last whole frame,
// and goes on.
func TestEveryCut(t *testing.T) {
	h := newHost()
	past := aHistory(t, h)
	path := filepath.Join(t.TempDir(), "journal")
	var want content
	for cut := range int64(len(past.data)) + 1 {
		if c, ok := past.marks[cut]; ok {
			want = c
		}
		for _, tail := range [][]byte{nil, make([]byte, 100)} { // a file system may leave zeros
			must(t, os.WriteFile(path, append(bytes.Clone(past.data[:cut]), tail...), 0o600))
			j, err := Open(path, h.source())
			if err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			if got := contentOf(j); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("cut at %d:\n%v, want\n%v", cut, got, want)
			}
			must(t, j.Start(size("new", 1)))
			must(t, j.Close())
			j = openAt(t, path, h)
			if got := len(j.Open()); got != len(want.open)+1 {
				t.Fatalf("cut at %d: %d open after another start, want %d", cut, got, len(want.open)+1)
			}
			must(t, j.Close())
		}
	}
}

// TestDamageInTheMiddleIsNotDropped changes every byte that stands before the last frame.
func TestDamageInTheMiddleIsNotDropped(t *testing.T) {
	h := newHost()
	past := aHistory(t, h)
	path := filepath.Join(t.TempDir(), "journal")
	last := bytes.LastIndex(past.data, framelog.Mark)
	for at := range last {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			data := bytes.Clone(past.data)
			data[at] ^= flip
			must(t, os.WriteFile(path, data, 0o600))
			j, err := Open(path, h.source())
			var corrupt *framelog.CorruptError
			if !errors.As(err, &corrupt) || corrupt.Path != path || corrupt.Offset > int64(at) || !strings.Contains(err.Error(), path) {
				if err == nil {
					_ = j.Close()
				}
				t.Fatalf("byte %d changed: %v", at, err)
			}
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, data) {
				t.Fatalf("byte %d changed: the damaged file was touched (%v)", at, err)
			}
		}
	}
}

// faulty is a disk that fails when told to.
type faulty struct {
	framelog.Handle
	mu       sync.Mutex
	budget   int           // bytes that can still be written; negative: no limit
	sync     int           // syncs that fail
	truncate int           // truncations that fail
	syncs    int           // that were asked for
	gate     chan struct{} // where syncs wait, if not nil
}

func (f *faulty) WriteAt(b []byte, at int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.budget < 0 || len(b) <= f.budget {
		return f.Handle.WriteAt(b, at)
	}
	n, err := f.Handle.WriteAt(b[:f.budget], at)
	return n, errors.Join(err, unix.ENOSPC)
}

func (f *faulty) Sync() error {
	f.mu.Lock()
	gate := f.gate
	f.syncs++
	failing := f.sync > 0
	if failing {
		f.sync--
	}
	f.mu.Unlock()
	if gate != nil {
		<-gate
	}
	if failing {
		return unix.EIO
	}
	return f.Handle.Sync()
}

func (f *faulty) Truncate(size int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.truncate > 0 {
		f.truncate--
		return unix.EIO
	}
	return f.Handle.Truncate(size)
}

// openFaulty opens a journal whose writer may meet faults.
func openFaulty(t *testing.T, path string, h *host, compactAt int64) (*Journal, *faulty) {
	t.Helper()
	disk := &faulty{budget: -1}
	j, err := open(path, h.source(), compactAt, func(h framelog.Handle) framelog.Handle { disk.Handle = h; return disk })
	must(t, err)
	t.Cleanup(func() { _ = j.Close() })
	return j, disk
}

// TestAFailedWriteLosesNothing lets a write fail at every byte, and syncs and the cutting off too.
func TestAFailedWriteLosesNothing(t *testing.T) {
	for budget := range 400 {
		h, path := newHost(), filepath.Join(t.TempDir(), "journal")
		j, disk := openFaulty(t, path, h, compactAt)
		must(t, j.Start(size("a", 100)))
		before := contentOf(j)
		h.pass(time.Second)
		disk.mu.Lock()
		disk.budget, disk.sync, disk.truncate = budget, budget%3, budget%2
		disk.mu.Unlock()
		err := j.Start(size("a", 200))
		if err == nil {
			break // it fits
		}
		if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EIO) || !strings.Contains(err.Error(), path) {
			t.Fatalf("budget %d: %v", budget, err)
		}
		if got := contentOf(j); !reflect.DeepEqual(got, before) {
			t.Fatalf("budget %d: after the failure %v, want %v", budget, got, before)
		}
		if budget%2 == 0 { // it could be cut off: what is on the disk now is what was there
			if got := contentOf(openAt(t, copyOf(t, path), h)); fmt.Sprint(got) != fmt.Sprint(before) {
				t.Fatalf("budget %d: on the disk %v, want %v", budget, got, before)
			}
		}
		disk.mu.Lock()
		disk.budget, disk.sync, disk.truncate = -1, 0, 0
		disk.mu.Unlock()
		must(t, j.Start(size("a", 200)))
		after := contentOf(j)
		must(t, j.Close())
		j = openAt(t, path, h)
		if got := contentOf(j); fmt.Sprint(got) != fmt.Sprint(after) || len(got.pending) != 1 || got.open[0].Sequence != 2 {
			t.Fatalf("budget %d: after a retry %v, want %v", budget, got, after)
		}
		must(t, j.Close())
	}
}

// TestAFullDisk fills a real one.
func TestAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("swell-journal-test", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("a small disk: %v", err)
	}
	defer func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) }()
	h, path := newHost(), filepath.Join(dir, "journal")
	j := openAt(t, path, h)
	must(t, j.Start(size("a", 1)))
	ballast := filepath.Join(dir, "ballast")
	must(t, os.WriteFile(ballast, make([]byte, 40<<10), 0o600))
	var err error
	cpu := int64(1)
	for err == nil && cpu < 1000 {
		h.pass(time.Second)
		cpu++
		err = j.Start(size("a", cpu))
	}
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "free some space") {
		t.Fatalf("after %d starts: %v", cpu, err)
	}
	if o := j.Open(); len(o) != 1 || o[0].Sequence != cpu-1 {
		t.Errorf("after the failure: %+v", o)
	}
	must(t, os.Remove(ballast))
	must(t, j.Start(size("a", cpu)))
	must(t, j.Stop("a", time.Time{}))
	must(t, j.Close())
	j = openAt(t, path, h)
	if got := j.Pending(1 << 20); len(got) != int(cpu) || got[cpu-1].CPUMilli != cpu {
		t.Errorf("%d segments of %d", len(got), cpu)
	}
	must(t, j.Close())
}

// TestStartsShareASync holds the disk while many pods start.
func TestStartsShareASync(t *testing.T) {
	j, disk := openFaulty(t, filepath.Join(t.TempDir(), "journal"), newHost(), compactAt)
	gate := make(chan struct{})
	disk.mu.Lock()
	disk.gate = gate
	disk.mu.Unlock()
	var wg sync.WaitGroup
	start := func(uid string) {
		wg.Go(func() {
			if err := j.Start(size(uid, 1)); err != nil {
				t.Error(err)
			}
		})
	}
	start("first")
	await(t, func() bool { disk.mu.Lock(); defer disk.mu.Unlock(); return disk.syncs == 1 })
	const pods = 50
	for p := range pods {
		start(fmt.Sprint("p", p))
	}
	await(t, func() bool { j.mu.Lock(); defer j.mu.Unlock(); return len(j.queue) == pods })
	if len(j.Open()) != 0 {
		t.Error("what isn't on the disk is counted")
	}
	close(gate)
	wg.Wait()
	if len(j.Open()) != pods+1 {
		t.Errorf("%d open of %d", len(j.Open()), pods+1)
	}
	if disk.syncs != 2 {
		t.Errorf("%d syncs for what waited for one", disk.syncs)
	}
}

// await returns when other goroutines have got so far.
func await(t *testing.T, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !so(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("it didn't come so far")
		}
	}
}

// TestAnyHistory does random things, with faults, restarts, crashes and compactions in between, and checks
// what the control plane would get against what was done.
func TestAnyHistory(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { anyHistory(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func anyHistory(t *testing.T, r *rand.Rand) {
	h, path := newHost(), filepath.Join(t.TempDir(), "journal")
	j, disk := openFaulty(t, path, h, 2000)
	received := map[usagev1.ID]usagev1.Segment{} // by a control plane that keeps the first
	sizes := map[string]int64{}                  // of what is open, as far as we were told
	began := map[string]time.Time{}
	var stopped [5]int
	for range 400 {
		h.pass(time.Duration(r.IntN(1500)) * time.Millisecond)
		slot := r.IntN(5)
		uid := fmt.Sprintf("p%d-%d", slot, stopped[slot]) // a pod that was stopped never comes again
		switch r.IntN(12) {
		case 0, 1, 2, 3, 4:
			cpu := 1 + r.Int64N(3)
			if err := j.Start(size(uid, cpu)); err == nil {
				if _, ok := began[uid]; !ok {
					began[uid] = j.Open()[indexOf(t, j.Open(), uid)].Start
				}
				sizes[uid] = cpu
			}
		case 5:
			if _, known := sizes[uid]; known && r.IntN(4) == 0 && j.Stop(uid, time.Time{}) == nil {
				delete(sizes, uid)
				stopped[slot]++
			}
		case 6, 7: // a batch reaches the control plane; its answer may get lost
			some := j.Pending(r.IntN(8))
			var ids []usagev1.ID
			for _, s := range some {
				if old, ok := received[s.ID]; ok && !reflect.DeepEqual(old, s) {
					t.Fatalf("segment %s was %v and is %v", s.ID, old, s)
				}
				received[s.ID] = s
				ids = append(ids, s.ID)
			}
			if r.IntN(3) > 0 {
				must(t, j.Ack(ids))
			}
		case 8:
			disk.mu.Lock()
			disk.budget, disk.sync = r.IntN(300), r.IntN(2)
			disk.mu.Unlock()
		case 9:
			disk.mu.Lock()
			disk.budget, disk.sync = -1, 0
			disk.mu.Unlock()
		case 10: // a crash
			crashed := copyOf(t, path)
			_ = j.Close()
			path = crashed
			j, disk = openFaulty(t, path, h, 2000)
		case 11:
			if r.IntN(4) == 0 {
				h.step(time.Duration(r.IntN(7200)-3600) * time.Second)
			}
		}
		open := j.Open()
		if len(open) != len(sizes) {
			t.Fatalf("%d open, want %d", len(open), len(sizes))
		}
		for _, s := range open {
			if s.CPUMilli != sizes[s.PodUID] {
				t.Fatalf("%s is open at %d, want %d", s.PodUID, s.CPUMilli, sizes[s.PodUID])
			}
		}
	}
	for _, s := range append(j.Pending(1<<20), j.Open()...) {
		received[s.ID] = s
	}
	for uid, start := range began {
		last := start
		var seq int64
		for seq = 1; ; seq++ {
			s, ok := received[usagev1.ID{PodUID: uid, Generation: 1, Sequence: seq}]
			if !ok {
				break
			}
			if !s.Start.Equal(last) || (!s.Open() && s.End.Before(s.Start)) {
				t.Fatalf("%s [%s, %s) doesn't follow %s", s.ID, s.Start, s.End, last)
			}
			last = s.End
		}
		for id := range received {
			if id.PodUID == uid && id.Sequence > seq {
				t.Fatalf("%s comes after a gap at %d", id, seq)
			}
		}
	}
}

func indexOf(t *testing.T, list []usagev1.Segment, uid string) int {
	t.Helper()
	for i := range list {
		if list[i].PodUID == uid {
			return i
		}
	}
	t.Fatalf("%s isn't open", uid)
	return -1
}

func TestCompactionKeepsEverything(t *testing.T) {
	h, path := newHost(), filepath.Join(t.TempDir(), "journal")
	j := openAt(t, path, h)
	must(t, j.Start(size("open", 1)))
	must(t, j.Start(size("ended", 1)))
	must(t, j.Stop("ended", time.Time{}))
	must(t, j.Start(size("gone", 1)))
	must(t, j.Stop("gone", time.Time{}))
	for i := range 2 * snapshotFrame {
		must(t, j.Start(size("busy", int64(i+1))))
		h.pass(time.Second)
	}
	var acks []usagev1.ID
	for _, s := range j.Pending(1 << 20) {
		if s.PodUID == "gone" || s.PodUID == "busy" && s.Sequence <= snapshotFrame/2 {
			acks = append(acks, s.ID)
		}
	}
	must(t, j.Ack(acks))
	before := contentOf(j)
	must(t, j.Close())
	was := j.file.Size()
	j, err := open(path, h.source(), 1, func(h framelog.Handle) framelog.Handle { return h })
	must(t, err)
	must(t, j.Start(size("open", 1))) // the same: nothing but an occasion
	must(t, j.Close())
	if j.file.Size() >= was {
		t.Errorf("%d bytes, were %d", j.file.Size(), was)
	}
	j = openAt(t, path, h)
	if got := contentOf(j); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Error("the contents changed")
	}
	if _, ok := j.state.pods["gone"]; ok {
		t.Error("a pod of which nothing will come is kept")
	}
	must(t, j.Start(size("busy", 1)))
	if s := j.Open()[0]; s.PodUID != "busy" || s.Sequence != 2*snapshotFrame+1 {
		t.Errorf("%s after %d", s.ID, 2*snapshotFrame)
	}
	if _, err := os.Stat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a temporary file is left: %v", err)
	}
}

// TestAPodIsForgottenWhenAllIsSaid: stopped and acknowledged, on the disk too.
func TestAPodIsForgottenWhenAllIsSaid(t *testing.T) {
	h, path := newHost(), filepath.Join(t.TempDir(), "journal")
	j := openAt(t, path, h)
	must(t, j.Start(size("a", 1)))
	must(t, j.Start(size("a", 2)))
	must(t, j.Ack([]usagev1.ID{j.Pending(1)[0].ID}))
	must(t, j.Start(size("a", 3)))
	if s := j.Open()[0]; s.Sequence != 3 {
		t.Errorf("%s: the sequence was forgotten with an acknowledgement", s.ID)
	}
	must(t, j.Stop("a", time.Time{}))
	for _, s := range j.Pending(10) {
		must(t, j.Ack([]usagev1.ID{s.ID}))
	}
	must(t, j.Ack([]usagev1.ID{{PodUID: "unknown", Sequence: 1}}))
	must(t, j.Start(size("b", 1))) // carries the acknowledgements
	if len(j.state.pods) != 1 || len(j.acks) != 0 || len(j.state.over) != 0 {
		t.Errorf("%d pods, %d acks", len(j.state.pods), len(j.acks))
	}
	must(t, j.Close())
	if j = openAt(t, path, h); len(j.state.pods) != 1 {
		t.Errorf("%d pods after a restart", len(j.state.pods))
	}
}

func BenchmarkStart(b *testing.B) {
	j, err := Open(filepath.Join(b.TempDir(), "journal"), newHost().source())
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		uid := fmt.Sprint(rand.Uint64())
		for cpu := int64(1); pb.Next(); cpu++ {
			if err := j.Start(size(uid, cpu)); err != nil {
				b.Error(err)
			}
		}
	})
}
