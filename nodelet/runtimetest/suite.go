// Package runtimetest is the conformance suite of nodelet.Runtime and nodelet.Images, which the real
// runtime and the simulated one both pass.
package runtimetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"swell.dev/swell/nodelet"
)

// Host is what the suite runs on.
type Host struct {
	Runtime nodelet.Runtime
	Images  nodelet.Images
	// Reopen answers another access to the same host, as a nodelet that starts again has. The former
	// one is closed.
	Reopen func(t *testing.T) nodelet.Runtime
	Image  string // on the host; it has true, sleep, sh, echo and cat
	// Refused is an image that its registry refuses with RefusedSays.
	Refused     string
	RefusedSays string
	Archive     string // path of an image archive
	ArchiveRef  string // the image that it holds
	CgroupPath  string // parent of the containers' cgroups
}

// Deadline bounds every wait of the suite. Nothing depends on how long one takes.
const Deadline = time.Minute

// Run runs the suite.
func Run(t *testing.T, open func(t *testing.T) *Host) {
	for name, test := range map[string]func(*testing.T, *Host){
		"Lifecycle":      lifecycle,
		"ExitCode":       exitCode,
		"Missing":        missing,
		"Reopen":         reopen,
		"ExitMeanwhile":  exitMeanwhile,
		"PodOfMany":      podOfMany,
		"Logs":           logs,
		"Exec":           exec,
		"ExecCancelled":  execCancelled,
		"Images":         images,
		"ImageRefused":   imageRefused,
		"ImageArchive":   imageArchive,
		"ImageMissing":   imageMissing,
		"RemoveRunning":  removeRunning,
		"RestartsInAPod": restartsInAPod,
		"Held":           held,
		"HeldReopened":   heldReopened,
		"HeldEnds":       heldEnds,
		"HeldRefused":    heldRefused,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

var serial atomic.Int64

// Container makes a container of a new pod on the host, removed at the end of the test.
func (h *Host) Container(t *testing.T, command ...string) nodelet.Container {
	t.Helper()
	return h.In(t, fmt.Sprintf("pod-%d-%d", os.Getpid(), serial.Add(1)), "main", command...)
}

// In makes a container of the given pod.
func (h *Host) In(t *testing.T, pod, name string, command ...string) nodelet.Container {
	t.Helper()
	img, err := h.Images.Get(t.Context(), h.Image)
	if err != nil {
		t.Fatal(err)
	}
	id := pod + "_" + name
	t.Cleanup(func() {
		if err := h.Runtime.Remove(context.Background(), id); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return nodelet.Container{
		ID: id, Name: name, PodUID: pod, PodName: "p-" + pod, Namespace: "default", Attempt: 2,
		Image: img, Command: command, Hostname: "host-" + pod,
		CgroupPath: h.CgroupPath + "/" + pod + "/" + name,
		LogPath:    filepath.Join(t.TempDir(), "logs", name+".log"),
	}
}

// Start creates and starts a container.
func (h *Host) Start(t *testing.T, c nodelet.Container) (pid int) {
	t.Helper()
	if err := h.Runtime.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	pid, at, err := h.Runtime.Start(t.Context(), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	if pid <= 0 || time.Since(at) > Deadline || time.Since(at) < 0 {
		t.Errorf("started as process %d at %v", pid, at)
	}
	return pid
}

// Exit waits for a container's end; ends of others are passed over.
func (h *Host) Exit(t *testing.T, id string) nodelet.Exit {
	t.Helper()
	limit := time.NewTimer(Deadline)
	defer limit.Stop()
	for {
		select {
		case e := <-h.Runtime.Exits():
			if e.ID == id {
				return e
			}
		case <-limit.C:
			t.Fatalf("no end of container %s was told", id)
		}
	}
}

// State looks a container up; its zero value stands for none.
func (h *Host) State(t *testing.T, id string) nodelet.ContainerState {
	t.Helper()
	list, err := h.Runtime.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if s.ID == id {
			return s
		}
	}
	return nodelet.ContainerState{}
}

// Until waits for a condition that has no event.
func Until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	limit := time.NewTimer(Deadline)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("still not so: %s", what)
		}
	}
}

func lifecycle(t *testing.T, h *Host) {
	c := h.Container(t, "sleep", "100000")
	if err := h.Runtime.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := h.Runtime.Create(t.Context(), c); !errors.Is(err, nodelet.ErrAlreadyExists) {
		t.Errorf("a second create answers %v", err)
	}
	s := h.State(t, c.ID)
	if s.State != nodelet.StateCreated || s.Name != c.Name || s.PodUID != c.PodUID || s.PodName != c.PodName ||
		s.Namespace != c.Namespace || s.Attempt != c.Attempt || s.LogPath != c.LogPath ||
		s.Image.Ref != c.Image.Ref || s.Image.ID != c.Image.ID || s.Image.Digest != c.Image.Digest {
		t.Errorf("created, it is listed as %+v", s)
	}
	pid, at, err := h.Runtime.Start(t.Context(), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	if s := h.State(t, c.ID); s.State != nodelet.StateRunning || s.PID != pid || !s.StartedAt.Equal(at) {
		t.Errorf("started as %d at %v, it is listed as %+v", pid, at, s)
	}
	if err := h.Runtime.Kill(t.Context(), c.ID, syscall.SIGKILL, false); err != nil {
		t.Fatal(err)
	}
	e := h.Exit(t, c.ID)
	if e.ExitCode != 137 || e.PodUID != c.PodUID || e.OOMKilled || e.At.Before(at.Add(-time.Second)) {
		t.Errorf("its end is told as %+v", e)
	}
	if s := h.State(t, c.ID); s.State != nodelet.StateExited || s.ExitCode != 137 || s.OOMKilled ||
		!s.ExitedAt.Equal(e.At) || s.PID != 0 || !s.StartedAt.Equal(at) {
		t.Errorf("ended, it is listed as %+v", s)
	}
	if err := h.Runtime.Kill(t.Context(), c.ID, syscall.SIGKILL, true); err != nil {
		t.Errorf("a signal to an ended container answers %v", err)
	}
	for range 2 {
		if err := h.Runtime.Remove(t.Context(), c.ID); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
	if s := h.State(t, c.ID); s.ID != "" {
		t.Errorf("removed, it is listed as %+v", s)
	}
}

func exitCode(t *testing.T, h *Host) {
	c := h.Container(t, "sh", "-c", "exit 3")
	h.Start(t, c)
	if e := h.Exit(t, c.ID); e.ExitCode != 3 {
		t.Errorf("exit 3 is told as %+v", e)
	}
}

func missing(t *testing.T, h *Host) {
	if _, _, err := h.Runtime.Start(t.Context(), "none"); !errors.Is(err, nodelet.ErrNotFound) {
		t.Errorf("start answers %v", err)
	}
	if err := h.Runtime.Kill(t.Context(), "none", syscall.SIGKILL, false); !errors.Is(err, nodelet.ErrNotFound) {
		t.Errorf("kill answers %v", err)
	}
	if _, err := h.Runtime.Exec(t.Context(), "none", nodelet.Exec{Command: []string{"true"}}); !errors.Is(err, nodelet.ErrNotFound) {
		t.Errorf("exec answers %v", err)
	}
	if err := h.Runtime.Remove(t.Context(), "none"); err != nil {
		t.Errorf("remove answers %v", err)
	}
}

// reopen: a container runs on while nobody watches, and its end is told to who comes after.
func reopen(t *testing.T, h *Host) {
	c := h.Container(t, "sleep", "100000")
	pid := h.Start(t, c)
	before := h.State(t, c.ID)
	h.Runtime = h.Reopen(t)
	if s := h.State(t, c.ID); s.State != nodelet.StateRunning || s.PID != pid || s.Attempt != c.Attempt ||
		!s.StartedAt.Equal(before.StartedAt) || !s.CreatedAt.Equal(before.CreatedAt) {
		t.Errorf("after reopening it is listed as %+v, before as %+v", s, before)
	}
	if err := h.Runtime.Kill(t.Context(), c.ID, syscall.SIGKILL, false); err != nil {
		t.Fatal(err)
	}
	if e := h.Exit(t, c.ID); e.ExitCode != 137 || e.PodUID != c.PodUID {
		t.Errorf("its end is told as %+v", e)
	}
}

// exitMeanwhile: an end that nobody was there to hear is found by List.
func exitMeanwhile(t *testing.T, h *Host) {
	c := h.Container(t, "sh", "-c", "sleep 0.2; exit 4")
	h.Start(t, c)
	h.Runtime = h.Reopen(t)
	Until(t, "the container has ended", func() bool { return h.State(t, c.ID).State == nodelet.StateExited })
	if s := h.State(t, c.ID); s.ExitCode != 4 || s.ExitedAt.Before(s.StartedAt) {
		t.Errorf("it is listed as %+v", s)
	}
}

// podOfMany makes containers of one pod at once.
func podOfMany(t *testing.T, h *Host) {
	first := h.Container(t, "sh", "-c", "exit 0")
	want := map[string]int32{first.ID: 0}
	all := []nodelet.Container{first}
	for i := range 3 {
		c := h.In(t, first.PodUID, fmt.Sprintf("side-%d", i), "sh", "-c", fmt.Sprintf("exit %d", i+1))
		want[c.ID] = int32(i + 1)
		all = append(all, c)
	}
	errs := make(chan error, len(all))
	for _, c := range all {
		go func() {
			err := h.Runtime.Create(t.Context(), c)
			if err == nil {
				_, _, err = h.Runtime.Start(t.Context(), c.ID)
			}
			errs <- err
		}()
	}
	for range all {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	limit := time.NewTimer(Deadline)
	defer limit.Stop()
	for len(want) > 0 {
		select {
		case e := <-h.Runtime.Exits():
			code, ok := want[e.ID]
			if e.PodUID == first.PodUID && (!ok || e.ExitCode != code) {
				t.Errorf("told %+v; still expected: %v", e, want)
			}
			delete(want, e.ID)
		case <-limit.C:
			t.Fatalf("never told: %v", want)
		}
	}
}

func removeRunning(t *testing.T, h *Host) {
	c := h.Container(t, "sleep", "100000")
	h.Start(t, c)
	if err := h.Runtime.Remove(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	if s := h.State(t, c.ID); s.ID != "" {
		t.Errorf("removed, it is listed as %+v", s)
	}
	// Its name is free again.
	h.Start(t, c)
}

// restartsInAPod replaces a pod's only container many times, one by one.
func restartsInAPod(t *testing.T, h *Host) {
	pod := h.Container(t).PodUID
	for i := range 8 {
		c := h.In(t, pod, fmt.Sprintf("run-%d", i), "true")
		h.Start(t, c)
		if e := h.Exit(t, c.ID); e.ExitCode != 0 {
			t.Errorf("run %d ended with %+v", i, e)
		}
		if err := h.Runtime.Remove(t.Context(), c.ID); err != nil {
			t.Fatal(err)
		}
	}
}
