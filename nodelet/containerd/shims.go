package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"golang.org/x/sys/unix"
)

// A shim opens the pipe of its log before it serves its socket, and waits there until somebody reads. Where
// the request that started it was cut just then (a nodelet or containerd was killed), containerd has let go
// of the pipe: the shim waits for ever, and its socket takes connections that it never answers. The pod's
// next task goes to that same socket.

const (
	// taskWithin bounds the making of one task.
	taskWithin = 2 * time.Minute
	// stuckEvery is how often a task that isn't made yet has us look for such shims.
	stuckEvery = time.Second
)

// tryTask makes a task. A shim that would never answer is killed meanwhile: containerd then ends the request
// with shimGone, once it has cleaned up after the shim.
func (r *Runtime) tryTask(ctx context.Context, container client.Container, creator cio.Creator) (client.Task, error) {
	ctx, cancel := context.WithTimeout(ctx, taskWithin)
	defer cancel()
	defer time.AfterFunc(stuckEvery, func() {
		for r.endStuckShims(); pause(ctx, stuckEvery); {
			r.endStuckShims()
		}
	}).Stop()
	return container.NewTask(ctx, creator)
}

// endStuckShims kills the shims of this containerd that wait for a reader of their log. None of them has
// ever served a container. Where many tasks are late, one look does for all.
func (r *Runtime) endStuckShims() {
	if !r.looking.TryLock() {
		return
	}
	defer r.looking.Unlock()
	if time.Since(r.looked) < stuckEvery/2 {
		return
	}
	defer func() { r.looked = time.Now() }()
	pids, err := r.shims()
	for _, pid := range pids {
		var one error
		if p, gone := watchProc(pid, nil); gone == nil { // held, so that the number is of no other process
			if one = r.endIfStuck(p); one != nil {
				one = fmt.Errorf("shim %d: %w", pid, one)
			}
			p.release()
		}
		err = errors.Join(err, one)
	}
	if err != nil {
		r.cfg.Log.Warn("shims not looked at", "cause", err)
	}
}

func (r *Runtime) endIfStuck(p *proc) error {
	id, err := r.shimOf(p.pid)
	if err != nil || id == "" {
		return err
	}
	stuck, err := awaitsReader(p.pid)
	if stuck {
		p.kill(unix.SIGKILL)
		r.cfg.Log.Warn("a shim whose start was interrupted is killed", "container", id, "pid", p.pid)
	}
	return err
}

// shims answers the processes that are shims of this containerd.
func (r *Runtime) shims() ([]int, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close() //nolint:errcheck // it was only read
	names, err := proc.Readdirnames(-1)
	var pids []int
	for _, name := range names {
		pid, other := strconv.Atoi(name)
		if other != nil {
			continue
		}
		id, gone := r.shimOf(pid)
		if gone == nil && id != "" {
			pids = append(pids, pid)
		}
	}
	return pids, err
}

// shimOf answers the container that a process was started for as a shim of this containerd, "" if it is
// none.
func (r *Runtime) shimOf(pid int) (string, error) {
	args, err := procStrings(pid, "cmdline")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, errEmpty) {
		return "", nil // gone, or the kernel's
	}
	if err != nil || !strings.HasPrefix(filepath.Base(args[0]), "containerd-shim-runc") {
		return "", err
	}
	after := func(flag string) string {
		if i := slices.Index(args, flag); i >= 0 && i+1 < len(args) {
			return args[i+1]
		}
		return ""
	}
	if after("-address") != r.cfg.Address || after("-namespace") != r.cfg.Namespace {
		return "", nil
	}
	return after("-id"), nil
}

// awaitsReader reports that a shim has found its log and not opened it, and that nobody has it open for
// reading. Whoever is still starting the shim has.
func awaitsReader(pid int) (bool, error) {
	fds := fmt.Sprintf("/proc/%d/fd", pid)
	open, err := os.ReadDir(fds)
	if err != nil {
		return false, ignoreMissing(err)
	}
	for _, fd := range open {
		path := filepath.Join(fds, fd.Name())
		target, err := os.Readlink(path)
		if err != nil || filepath.Base(strings.TrimSuffix(target, " (deleted)")) != "log" {
			continue
		}
		if std, err := os.Readlink(filepath.Join(fds, "2")); err != nil || std == target {
			return false, ignoreMissing(err) // it writes there
		}
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
			continue
		}
		f, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			return false, unix.Close(f)
		}
		return errors.Is(err, unix.ENXIO), nil
	}
	return false, nil
}
