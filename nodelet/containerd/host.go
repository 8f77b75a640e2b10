package containerd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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

// processStart is when a process was started, to a hundredth of a second.
func processStart(pid int) (time.Time, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return time.Time{}, err
	}
	// The second field, in brackets, may hold anything; the start time is the 22nd.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 {
		return time.Time{}, errors.New("/proc stat: malformed")
	}
	ticks, err := strconv.ParseInt(fields[19], 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("/proc stat: %w", err)
	}
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return time.Time{}, err
	}
	const perTick = 10 * time.Millisecond // USER_HZ is 100 on every architecture that Go runs on
	return time.Now().Add(time.Duration(ticks)*perTick - time.Duration(boot.Nano())), nil
}
