package containerd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"swell.dev/swell/internal/gate"
)

// waits reports that a process is swell-hold, or runc's init on its way to that, and so nothing of its pod yet.
func waits(pid int) bool {
	args, err := commandOf(pid)
	return err == nil && (len(args) == 1 && args[0] == gate.Dir+"/"+gate.Start ||
		len(args) == 2 && filepath.Base(args[0]) == "runc" && args[1] == "init")
}

// commandOf reads a process's arguments. In the middle of an exec it has none for a moment.
func commandOf(pid int) (args []string, err error) {
	for range 50 {
		if args, err = procStrings(pid, "cmdline"); !errors.Is(err, errEmpty) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return args, err
}

var errEmpty = errors.New("empty")

// procStrings reads a file of strings that end with a zero byte.
func procStrings(pid int, file string) ([]string, error) {
	if pid <= 0 {
		return nil, os.ErrNotExist
	}
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return nil, err
	}
	if len(raw) == 0 {
		return nil, fmt.Errorf("/proc/%d/%s: %w", pid, file, errEmpty)
	}
	return strings.Split(string(bytes.TrimSuffix(raw, []byte{0})), "\x00"), nil
}

// setHostname sets the name of a process's host, which must not be ours.
func setHostname(pid int, name string) error {
	return inNamespace(pid, unix.CLONE_NEWUTS, "uts", func() error { return unix.Sethostname([]byte(name)) })
}

func hostnameOf(pid int) (string, error) {
	var uts unix.Utsname
	err := inNamespace(pid, unix.CLONE_NEWUTS, "uts", func() error { return unix.Uname(&uts) })
	return unix.ByteSliceToString(uts.Nodename[:]), err
}

// leaveNoGate takes the gate's folder out of a container. The process that waits has open what it needs.
func leaveNoGate(pid int) error {
	return inNamespace(pid, unix.CLONE_NEWNS, "mnt", func() error {
		if err := unix.Unmount(gate.Dir, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", gate.Dir, err)
		}
		return unix.Rmdir(gate.Dir)
	})
}

// inNamespace runs work in a namespace of a process that isn't our own.
func inNamespace(pid, kind int, name string, work func() error) error {
	wrap := func(err error) error {
		if err == nil {
			return nil
		}
		return fmt.Errorf("%s namespace of process %d: %w", name, pid, err)
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return wrap(err)
	}
	defer unix.Close(fd) //nolint:errcheck // it was only held
	var its, ours unix.Stat_t
	if err := errors.Join(unix.Fstat(fd, &its), unix.Stat("/proc/self/ns/"+name, &ours)); err != nil {
		return wrap(err)
	}
	if its.Ino == ours.Ino && its.Dev == ours.Dev {
		return wrap(errors.New("it is the host's"))
	}
	done := make(chan error, 1)
	go func() {
		// The thread is in another namespace afterwards: it isn't unlocked, so it ends with the goroutine.
		runtime.LockOSThread()
		if kind == unix.CLONE_NEWNS {
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				done <- err
				return
			}
		}
		if err := unix.Setns(fd, kind); err != nil {
			done <- err
			return
		}
		done <- work()
	}()
	return wrap(<-done)
}
