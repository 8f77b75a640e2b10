package containerd

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"swell.dev/swell/nodelet"
)

const cgroupRoot = "/sys/fs/cgroup"

// isUnified tells cgroup v2 from v1.
func isUnified() (bool, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(cgroupRoot, &fs); err != nil {
		return false, fmt.Errorf("cgroups: %w: %s: %w; mount a cgroup filesystem there", nodelet.ErrUnsupported, cgroupRoot, err)
	}
	return fs.Type == unix.CGROUP2_SUPER_MAGIC, nil
}

// countsSwapV1 tells whether cgroup v1 can limit memory and swap together.
func countsSwapV1() bool {
	_, err := os.Stat(filepath.Join(cgroupRoot, "memory", "memory.memsw.limit_in_bytes"))
	return err == nil
}

// oomKills is how often the kernel killed a process in a container's cgroup for want of memory. The
// cgroup is there until the container is deleted. containerd's own event for it may come after the
// event of the exit, or never; the kernel's counter is there before the process is gone.
func oomKills(cgroup string, unified bool) int64 {
	file := filepath.Join(cgroupRoot, "memory", cgroup, "memory.oom_control")
	if unified {
		file = filepath.Join(cgroupRoot, cgroup, "memory.events")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte("oom_kill ")); ok {
			n, _ := strconv.ParseInt(string(bytes.TrimSpace(rest)), 10, 64)
			return n
		}
	}
	return 0
}

// letGoAt is when runc let a container's process go: it removes a pipe from the folder of the container's state
// then, the last change there. It is the same for whoever asks, also after a kill.
func (r *Runtime) letGoAt(id string) (time.Time, error) {
	root := r.cfg.RuncRoot
	if root == "" {
		root = "/run/containerd/runc" // the shim's default
	}
	return changedAt(filepath.Join(root, r.cfg.Namespace, id))
}

// changedAt is when a file was written last, or a folder's entries changed.
func changedAt(path string) (time.Time, error) {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}
