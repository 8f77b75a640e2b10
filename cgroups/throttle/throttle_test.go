package throttle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"swell.dev/swell/cgroups"
)

// patience bounds waits; nothing passes or fails by being fast.
const patience = 60 * time.Second

var tests atomic.Int64

// group makes a group for one test, removed at its end with what is in it.
func group(t *testing.T) *cgroups.Group {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("control groups are made by root: run the tests as root")
	}
	h, err := cgroups.Detect()
	var missing *cgroups.MissingError
	if errors.As(err, &missing) || errors.Is(err, fs.ErrNotExist) {
		t.Skip(err)
	}
	must(t, err)
	g := h.Group(fmt.Sprintf("/swell-throttle-%d-%d", os.Getpid(), tests.Add(1)))
	must(t, g.Create())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		must(t, g.Delete(ctx))
	})
	return g
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// burn runs a process in a group that never rests. It ends with the test.
func burn(t *testing.T, g *cgroups.Group) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SWELL_THROTTLE_BURN=1")
	in, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = in.Close()
	})
	must(t, g.Add(cmd.Process.Pid))
}

func TestMain(m *testing.M) {
	if os.Getenv("SWELL_THROTTLE_BURN") != "" {
		for {
		}
	}
	if os.Getenv("SWELL_THROTTLE_HOLD") != "" {
		hold()
		return
	}
	os.Exit(m.Run())
}

// openRung opens a rung or skips where the host has no such thing.
func openRung(t *testing.T, rung Rung) *Watcher {
	t.Helper()
	w, err := Open(Options{Rungs: []Rung{rung}})
	var unavailable *UnavailableError
	if errors.As(err, &unavailable) {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(func() { must(t, w.Close()) })
	return w
}

// listen runs a watcher until the test's end.
func listen(t *testing.T, w *Watcher) <-chan Event {
	t.Helper()
	events := make(chan Event, 1024)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- w.Run(ctx, func(e Event) {
			select {
			case events <- e:
			default:
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
	})
	return events
}

func await(t *testing.T, events <-chan Event, id uint64) Event {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case e := <-events:
			if e.Cgroup == id {
				return e
			}
			t.Fatalf("an event of group %d, which isn't watched", e.Cgroup)
		case <-deadline:
			t.Fatalf("no event of group %d", id)
		}
	}
}

// TestKernel…: each rung that the host has, on the real kernel.
func TestKernelRungs(t *testing.T) {
	for _, rung := range Ladder() {
		t.Run(string(rung), func(t *testing.T) {
			w := openRung(t, rung)
			events := listen(t, w)
			watched, other := group(t), group(t)
			for _, g := range []*cgroups.Group{watched, other} {
				must(t, g.SetCPU(1024, 5000))
				burn(t, g)
			}
			id, err := w.Watch(watched)
			must(t, err)
			first := await(t, events, id)
			second := await(t, events, id)
			if now := Now(); first.At <= 0 || second.At <= first.At || second.At > now {
				t.Errorf("events at %s and %s, now it is %s", first.At, second.At, now)
			}
			must(t, w.Unwatch(id))
			must(t, w.Unwatch(id))
		})
	}
}

// TestKernelAbove: what is stopped because a group above it is, is told of by any of the two.
func TestKernelAbove(t *testing.T) {
	for _, rung := range Ladder() {
		t.Run(string(rung), func(t *testing.T) {
			pod := group(t)
			container := pod.Child("main")
			must(t, container.Create())
			must(t, pod.SetCPU(1024, 5000))
			burn(t, container)
			w := openRung(t, rung)
			events := listen(t, w)
			id, err := w.Watch(pod)
			must(t, err)
			await(t, events, id)
		})
	}
}

// TestKernelIn: a group that is made later, in one that is watched, and stopped by a quota of its own.
func TestKernelIn(t *testing.T) {
	for _, rung := range Ladder() {
		t.Run(string(rung), func(t *testing.T) {
			pod := group(t)
			w := openRung(t, rung)
			events := listen(t, w)
			id, err := w.Watch(pod)
			must(t, err)
			container := pod.Child("main")
			must(t, container.Create())
			must(t, container.SetCPU(1024, 5000))
			burn(t, container)
			await(t, events, id)
		})
	}
}

// TestKernelCPU: where a task is stopped is told.
func TestKernelCPU(t *testing.T) {
	for _, rung := range []Rung{Fentry, SchedSwitch} {
		t.Run(string(rung), func(t *testing.T) {
			w := openRung(t, rung)
			events := listen(t, w)
			g := group(t)
			must(t, g.SetCPU(1024, 5000))
			id, err := w.Watch(g)
			must(t, err)
			cpu := onLastCPU(t, func() { burn(t, g) })
			for range 3 {
				if e := await(t, events, id); e.CPU != cpu {
					t.Errorf("stopped on CPU %d, the process runs on CPU %d", e.CPU, cpu)
				}
			}
		})
	}
}

// onLastCPU starts processes that may only run there.
func onLastCPU(t *testing.T, start func()) (cpu int) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, last unix.CPUSet
	must(t, unix.SchedGetaffinity(0, &all))
	for i := range 1024 {
		if all.IsSet(i) {
			cpu = i
		}
	}
	last.Set(cpu)
	must(t, unix.SchedSetaffinity(0, &last))
	start()
	must(t, unix.SchedSetaffinity(0, &all))
	return cpu
}

// TestRerun: afterwards the thread may run where it might before.
func TestRerun(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, after unix.CPUSet
	must(t, unix.SchedGetaffinity(0, &before))
	for _, cpu := range []int{-1, 0, 1, 1023, 1 << 20} {
		Rerun(cpu)
		must(t, unix.SchedGetaffinity(0, &after))
		if after != before {
			t.Fatalf("after CPU %d it may run on %v, before on %v", cpu, after, before)
		}
	}
}

// TestNothingStays: what is closed, or could not be opened, leaves nothing in the kernel.
func TestNothingStays(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("eBPF needs root")
	}
	w, err := Open(Options{})
	must(t, err)
	for _, err := range w.Refused() {
		var unavailable *UnavailableError
		if !errors.As(err, &unavailable) || unavailable.Cause == nil {
			t.Errorf("a rung was refused by %v", err)
		}
	}
	p, ok := w.src.(*probe)
	if !ok {
		must(t, w.Close())
		t.Skip(errors.Join(w.Refused()...))
	}
	info, err := p.prog.Info()
	must(t, err)
	id, _ := info.ID()
	if !loaded(t, id) {
		t.Errorf("program %d isn't loaded", id)
	}
	must(t, w.Close())
	must(t, w.Close())
	// The kernel frees a program once it has come to rest on every CPU.
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); loaded(t, id); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("program %d stays loaded", id)
		}
	}
}

func loaded(t *testing.T, id ebpf.ProgramID) bool {
	t.Helper()
	p, err := ebpf.NewProgramFromID(id)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	must(t, err)
	must(t, p.Close())
	return true
}

func TestOpenNamesWhatIsMissing(t *testing.T) {
	_, err := Open(Options{Rungs: []Rung{"guess", "divine"}})
	if err == nil || !strings.Contains(err.Error(), "guess") || !strings.Contains(err.Error(), "divine") || !strings.Contains(err.Error(), string(SchedSwitch)) {
		t.Errorf("%v", err)
	}
}

func TestWatchNamesTheGroup(t *testing.T) {
	w, err := Open(Options{Rungs: []Rung{Poll}})
	must(t, err)
	defer w.Close()
	h, err := cgroups.Detect()
	if err != nil {
		t.Skip(err)
	}
	path := filepath.Join("/swell-throttle-none", fmt.Sprint(os.Getpid()))
	if _, err := w.Watch(h.Group(path)); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
}

// TestKernelEachWatched: what is stopped is told of for all watched groups that it is in, however deep.
func TestKernelEachWatched(t *testing.T) {
	w := openRung(t, SchedSwitch)
	events := listen(t, w)
	watching := map[uint64]bool{}
	for g, level := group(t), 1; ; level++ {
		must(t, g.Create())
		id, err := w.Watch(g)
		must(t, err)
		watching[id] = true
		if level == levels {
			must(t, g.SetCPU(1024, 5000))
			burn(t, g)
			break
		}
		g = g.Child("in")
	}
	deadline := time.After(patience)
	for len(watching) > 0 {
		select {
		case e := <-events:
			delete(watching, e.Cgroup)
		case <-deadline:
			t.Fatalf("%d of %d groups weren't told of", len(watching), levels)
		}
	}
}

// TestKernelUnwatched: there are no events of a group any more.
func TestKernelUnwatched(t *testing.T) {
	for _, rung := range Ladder() {
		t.Run(string(rung), func(t *testing.T) {
			w := openRung(t, rung)
			events := listen(t, w)
			one, two := group(t), group(t)
			ids := map[*cgroups.Group]uint64{}
			for _, g := range []*cgroups.Group{one, two} {
				must(t, g.SetCPU(1024, 5000))
				burn(t, g)
				id, err := w.Watch(g)
				must(t, err)
				ids[g] = id
			}
			deadline := time.After(patience)
			next := func() Event {
				select {
				case e := <-events:
					return e
				case <-deadline:
					t.Fatal("no event")
					return Event{}
				}
			}
			for seen := map[uint64]bool{}; len(seen) < 2; {
				seen[next().Cgroup] = true
			}
			must(t, w.Unwatch(ids[one]))
			since := Now()
			for others := 0; others < 3; {
				switch e := next(); {
				case e.Cgroup == ids[two] && e.At > since:
					others++
				case e.Cgroup == ids[one] && e.At > since:
					t.Fatalf("an event %v after the group was no longer watched", e.At-since)
				}
			}
		})
	}
}

// TestKernelOverflow: events that nobody reads in time are counted, and those that come later are told.
func TestKernelOverflow(t *testing.T) {
	w, err := Open(Options{Rungs: []Rung{SchedSwitch}, ring: uint32(os.Getpagesize())})
	var unavailable *UnavailableError
	if errors.As(err, &unavailable) {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(func() { must(t, w.Close()) })
	var leaf uint64
	for g, level := group(t), 1; level <= levels; g, level = g.Child("in"), level+1 {
		must(t, g.Create())
		leaf, err = w.Watch(g)
		must(t, err)
		if level == levels {
			must(t, g.SetCPU(1024, 1000))
			for range 4 {
				burn(t, g)
			}
		}
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * patience); w.Lost() == 0; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("nothing was lost")
		}
	}
	lost, since := w.Lost(), Now()
	events := listen(t, w)
	for deadline := time.After(patience); ; {
		select {
		case e := <-events:
			if e.Cgroup != leaf || e.At < since {
				continue
			}
		case <-deadline:
			t.Fatal("no event after an overflow")
		}
		break
	}
	must(t, w.Unwatch(leaf))
	if now := w.Lost(); now < lost {
		t.Errorf("%d were lost, later %d", lost, now)
	}
}

func TestEveryIsChecked(t *testing.T) {
	for _, every := range []time.Duration{-1, time.Microsecond, time.Hour} {
		if _, err := Open(Options{Rungs: []Rung{Poll}, Every: every}); err == nil || !strings.Contains(err.Error(), "Every") {
			t.Errorf("Every %v: %v", every, err)
		}
	}
}

// TestLackNamesWhatIsNeeded: of a capability, of a function that the compiler inlined.
func TestLackNamesWhatIsNeeded(t *testing.T) {
	for want, err := range map[string]error{
		"CAP_BPF":       fmt.Errorf("load: %w", unix.EPERM),
		"such place":    fmt.Errorf("target: %w", btf.ErrNotFound),
		"Linux 5.8":     fmt.Errorf("map: %w", ebpf.ErrNotSupported),
		"out of memory": fmt.Errorf("map: out of memory: %w", unix.ENOMEM),
	} {
		got := lacks("eBPF program at here", err)
		if !strings.Contains(got.Error(), want) || !strings.Contains(got.Error(), "at here") {
			t.Errorf("%v: doesn't say %q", got, want)
		}
	}
}
