package throttle

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"swell.dev/swell/cgroups"
)

const mib = 1 << 20

// hold makes the test binary a process that takes so many MiB more with each line of its stdin, and says so.
func hold() {
	for {
		var n int
		if _, err := fmt.Scanln(&n); err != nil {
			return
		}
		b, err := syscall.Mmap(-1, 0, n*mib, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
		if err != nil {
			panic(err)
		}
		for i := 0; i < len(b); i += os.Getpagesize() {
			b[i] = 1
		}
		fmt.Println("held")
	}
}

// holder is such a process.
type holder struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

// holdIn starts one in a group. It ends with the test.
func holdIn(t *testing.T, g *cgroups.Group) *holder {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SWELL_THROTTLE_HOLD=1")
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	must(t, g.Add(cmd.Process.Pid))
	return &holder{t, in, bufio.NewReader(out)}
}

// take has it take more, and waits until it has.
func (h *holder) take(n int) {
	h.t.Helper()
	h.begin(n)
	if line, err := h.out.ReadString('\n'); line != "held\n" {
		h.t.Fatalf("the process didn't get its memory: %q, %v", line, err)
	}
}

// begin has it take more, which the kernel may hold up.
func (h *holder) begin(n int) {
	h.t.Helper()
	_, err := fmt.Fprintln(h.in, n)
	must(h.t, err)
}

// Limits of the groups here: what comes to guarded of them is near, and what stays below near isn't.
const (
	limit   = 64 * mib
	room    = 8 * mib
	near    = 48 * mib
	few     = 16 // MiB
	guarded = 60 // MiB
)

// guard makes a group in another with a limit that is guarded.
func guard(t *testing.T, parent *cgroups.Group) *cgroups.Group {
	t.Helper()
	g := parent.Child("main")
	must(t, g.Create())
	must(t, g.SetMemory(t.Context(), limit))
	must(t, g.GuardMemory(room))
	return g
}

// watch has what comes near in a group, or in the one that it is in, told by a key.
func watch(t *testing.T, w *MemoryWatcher, key string, parent, g *cgroups.Group) {
	t.Helper()
	if parent.AlarmsBelow() {
		g = parent
	}
	a, err := g.OpenMemoryAlarm(near)
	must(t, err)
	must(t, w.Watch(key, a))
}

// hear runs a watcher until stop is called.
func hear(t *testing.T, w *MemoryWatcher) (keys <-chan string, stop func() error) {
	t.Helper()
	heard := make(chan string, 1<<16)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, func(key string) { heard <- key }) }()
	ended := false
	stop = func() error {
		if cancel(); ended {
			return nil
		}
		ended = true
		return <-done
	}
	t.Cleanup(func() { _ = stop() })
	return heard, stop
}

// awaitKey waits for a key and answers how often each other one came before it.
func awaitKey(t *testing.T, keys <-chan string, want string) (others map[string]int) {
	t.Helper()
	others = map[string]int{}
	deadline := time.After(patience)
	for {
		select {
		case key := <-keys:
			if key == want {
				return others
			}
			others[key]++
		case <-deadline:
			t.Fatalf("nothing was told of %s", want)
		}
	}
}

func awaitUse(t *testing.T, g *cgroups.Group, bytes int64) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		use, err := g.MemoryUse()
		must(t, err)
		if use.Working >= bytes {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are in use, not %d", use.Working, bytes)
		}
	}
}

// TestKernelMemory: what comes near to its limit is told of, again after the limit was raised, and nothing else is.
func TestKernelMemory(t *testing.T) {
	w, err := OpenMemory()
	must(t, err)
	t.Cleanup(func() { must(t, w.Close()) })
	keys, _ := hear(t, w)

	pods, mains, holders := map[string]*cgroups.Group{}, map[string]*cgroups.Group{}, map[string]*holder{}
	for _, key := range []string{"quiet", "first", "unwatched", "gone", "last"} {
		pods[key] = group(t)
		mains[key] = guard(t, pods[key])
		watch(t, w, key, pods[key], mains[key])
		holders[key] = holdIn(t, mains[key])
		holders[key].take(few)
	}
	// What isn't near isn't told of: it would have been before what comes near now.
	holders["first"].begin(guarded - few)
	if others := awaitKey(t, keys, "first"); len(others) > 0 {
		t.Errorf("told of without need: %v", others)
	}
	// A limit that is raised and met again is told of again.
	must(t, mains["first"].SetMemory(t.Context(), 2*limit))
	must(t, mains["first"].GuardMemory(room))
	must(t, w.Unwatch("first"))
	a := mains["first"]
	if pods["first"].AlarmsBelow() {
		a = pods["first"]
	}
	alarm, err := a.OpenMemoryAlarm(limit + near)
	must(t, err)
	must(t, w.Watch("first", alarm))
	for len(keys) > 0 {
		<-keys // from before
	}
	holders["first"].begin(limit / mib)
	if others := awaitKey(t, keys, "first"); len(others) > 0 {
		t.Errorf("told of without need: %v", others)
	}
	// What is unwatched isn't told of any more, and what is removed not for ever.
	must(t, w.Unwatch("unwatched"))
	must(t, w.Unwatch("unwatched"))
	holders["unwatched"].begin(guarded - few)
	awaitUse(t, mains["unwatched"], limit-room)
	must(t, pods["gone"].Delete(t.Context()))
	holders["last"].begin(guarded - few)
	others := awaitKey(t, keys, "last")
	if others["gone"] > 4 || others["quiet"]+others["unwatched"] > 0 {
		t.Errorf("told of without need: %v", others)
	}
}

// TestKernelMemoryLeavesNothing: neither files nor goroutines, with alarms that are watched still.
func TestKernelMemoryLeavesNothing(t *testing.T) {
	pod := group(t)
	g := guard(t, pod)
	holder := holdIn(t, g)
	files, goroutines := eventFiles(t), runtime.NumGoroutine()
	w, err := OpenMemory()
	must(t, err)
	watch(t, w, "one", pod, g)
	watch(t, w, "one", pod, g) // a key may have several
	watch(t, w, "two", pod, g)
	keys, stop := hear(t, w)
	holder.begin(guarded)
	awaitKey(t, keys, "one")
	must(t, stop())
	must(t, w.Unwatch("one"))
	must(t, w.Close())
	must(t, w.Close())
	if now := eventFiles(t); now != files {
		t.Errorf("%d files for events are open, %d were", now, files)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > goroutines; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines run, %d did", runtime.NumGoroutine(), goroutines)
		}
	}
}

// eventFiles counts this process's files that events need.
func eventFiles(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && (strings.HasPrefix(to, "anon_inode:[event") || strings.Contains(to, "/memory.")) {
			n++
		}
	}
	return n
}
