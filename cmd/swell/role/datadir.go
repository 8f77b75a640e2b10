package role

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// dataDir is everything that one Swell keeps on a host. What it makes outside of it (cgroups, network
// namespaces, the nftables table, a bridge, containerd's socket) carries its instance id in the name.
//
//	instance       the id: eight hex digits, made at first start
//	lock           held while a process runs; holds its pid
//	kubeconfig     of the administrator
//	pki/           the CA, certificates and keys
//	tokens.csv     bearer tokens, in Kubernetes' format
//	etcd/          embedded etcd
//	ledger/        metering segments, corrections, invoices (SQLite), unless --ledger says where else
//	containerd/    root and state of the child, and its log
//	nodelet/       records of pods, the metering journal, container logs, volumes, the node's certificate
//	swell.log      what the process says
type dataDir struct {
	path     string
	instance string
	lock     *os.File
}

func (d *dataDir) join(elem ...string) string {
	return filepath.Join(append([]string{d.path}, elem...)...)
}

// errRunning says that another process works on the directory.
type errRunning struct {
	dir string
	pid int
}

func (e *errRunning) Error() string {
	return fmt.Sprintf("data directory %s: swell runs on it already (pid %d): stop that one, or choose another with --data-dir", e.dir, e.pid)
}

// openDataDir makes the directory if need be and takes its lock.
func openDataDir(path string) (*dataDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	d := &dataDir{path: path}
	if d.lock, err = takeLock(path, d.join("lock")); err != nil {
		return nil, err
	}
	if d.instance, err = instanceID(d.join("instance")); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func takeLock(dir, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &errRunning{dir: dir, pid: holder(path)}
		}
		return nil, fmt.Errorf("data directory: lock %s: %w", path, err)
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		f.Close()
		return nil, fmt.Errorf("data directory: %w", err)
	}
	return f, nil
}

// holder answers the pid in a lock file, 0 if there is none.
func holder(path string) int {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

func instanceID(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil {
		id := strings.TrimSpace(string(b))
		if _, err := hex.DecodeString(id); err != nil || len(id) != 8 {
			return "", fmt.Errorf("data directory: %s holds %q, which is no instance id (eight hex digits)", path, id)
		}
		return id, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("data directory: %w", err)
	}
	var raw [4]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", err
	}
	id := hex.EncodeToString(raw[:])
	if err := writeDurably(path, []byte(id+"\n")); err != nil {
		return "", fmt.Errorf("data directory: %w", err)
	}
	return id, nil
}

// writeDurably replaces a file as a whole, also over a crash.
func writeDurably(path string, b []byte) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

func (d *dataDir) close() {
	if d.lock != nil {
		d.lock.Close() // which gives the lock back
		d.lock = nil
	}
}

// stopHolder ends the process that holds a directory's lock and waits until it has ended.
func stopHolder(path string) error {
	pid := holder(filepath.Join(path, "lock"))
	if pid == 0 {
		return nil
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err != nil || !sameProgram(exe) {
		return nil // the pid has been given to another program since
	}
	if err := unix.PidfdSendSignal(fd, syscall.SIGTERM, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, 30_000)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && n == 0 {
			return fmt.Errorf("process %d hasn't ended 30 s after SIGTERM", pid)
		}
		return err
	}
}

// sameProgram reports whether an executable is this one, also after this one was built again.
func sameProgram(exe string) bool {
	self, err := os.Executable()
	return err == nil && strings.TrimSuffix(exe, " (deleted)") == self
}
