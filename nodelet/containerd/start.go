package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"swell.dev/swell/nodelet"
)

// A container that runc has created waits in its own init, which wants to write a byte into a pipe before it
// becomes the command. `runc start` does little but read that byte, and takes fifteen milliseconds for it. So
// we read it, and containerd is told afterwards, where runc start finds the byte that we give it in init's place.

// fifoWithin is how long init may take from its creation to the pipe, after which runc may look for it itself.
const (
	fifoWithin = 100 * time.Millisecond
	fifoEvery  = 200 * time.Microsecond
)

// fifo is the pipe of a container, as runc names it.
func (r *Runtime) fifo(id string) string {
	return filepath.Join(r.cfg.RuncRoot, r.cfg.Namespace, id, "exec.fifo")
}

// letGo lets a created container become its command. Where it says no, nothing has happened.
func (r *Runtime) letGo(ctx context.Context, id string, pid int) bool {
	if r.cfg.RuncRoot == "" || !isInit(pid) {
		return false
	}
	fd, err := unix.Open(r.fifo(id), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd) //nolint:errcheck // it was only read
	var b [1]byte
	for until := time.Now().Add(fifoWithin); ; {
		n, err := unix.Read(fd, b[:])
		if n == 1 {
			return true
		}
		if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) || time.Now().After(until) || !pause(ctx, fifoEvery) {
			return false
		}
	}
}

// isInit reports that a process is runc's init and not yet the command.
func isInit(pid int) bool {
	args, err := procStrings(pid, "cmdline")
	return err == nil && len(args) == 2 && args[1] == "init" && filepath.Base(args[0]) == "runc"
}

// tellStart has containerd know of a start that it had no part in. Exec waits for that.
func (r *Runtime) tellStart(k *known, id string, at time.Time) {
	r.mu.Lock()
	k.started, k.record = true, make(chan struct{})
	r.mu.Unlock()
	r.background(recordWithin, func(ctx context.Context) {
		defer close(k.record)
		if err := r.startRecord(ctx, k, id, at); err != nil {
			r.cfg.Log.Warn("start not recorded", "container", id, "cause", err)
		}
	})
}

func (r *Runtime) startRecord(ctx context.Context, k *known, id string, at time.Time) error {
	if err := r.startLate(ctx, k, id); err != nil {
		return err
	}
	return r.recordStart(ctx, id, at)
}

// startLate has runc start what runs already. The pod's lock keeps its end from being reaped meanwhile.
func (r *Runtime) startLate(ctx context.Context, k *known, id string) error {
	defer r.pods.lock(k.podUID)()
	feeding, fed := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		feed(feeding, r.fifo(id))
	}()
	_, err := r.start(ctx, id)
	fed()
	<-done
	if errdefs.IsNotFound(err) || !alive(k.pid) {
		return nil // it has ended: there is nothing to start
	}
	return err
}

// feed writes the byte that runc start waits for, once that has opened the pipe.
func feed(ctx context.Context, fifo string) {
	for {
		fd, err := unix.Open(fifo, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			unix.Write(fd, []byte("0")) //nolint:errcheck // an empty pipe takes it
			unix.Close(fd)              //nolint:errcheck // a pipe keeps nothing back
			return
		}
		if !errors.Is(err, unix.ENXIO) && !errors.Is(err, unix.EINTR) || !pause(ctx, fifoEvery*5) {
			return
		}
	}
}

func alive(pid int) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil
}

// wasLetGo tells a container that runs from one that waits, where containerd doesn't know yet; and has it know
// where whoever let it go was killed before.
func (r *Runtime) wasLetGo(s *nodelet.ContainerState, labels map[string]string) bool {
	if r.ran(s.ID, labels) {
		return true
	}
	if r.cfg.RuncRoot == "" || isInit(s.PID) || !alive(s.PID) {
		return false
	}
	at, err := processStart(s.PID)
	if err != nil {
		return false
	}
	r.note(*s, labels[labelCgroup])
	r.mu.Lock()
	k := r.known[s.ID]
	first := k.record == nil && !k.begun
	k.begun = true
	r.mu.Unlock()
	if first {
		r.tellStart(k, s.ID, at)
	}
	return true
}
