// Package oomscore gives processes their oom_score_adj: whom the kernel kills first when the host's memory is used up.
package oomscore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Allowed is the nearest to a score that this host lets us give: below its own, a process sets none without
// CAP_SYS_RESOURCE, which containers of a hoster often lack.
func Allowed(want int) int {
	own, err := Of(os.Getpid())
	if err != nil || want >= own || hasCapability(unix.CAP_SYS_RESOURCE) {
		return want
	}
	return own
}

// Of answers a process's score.
func Of(pid int) (int, error) {
	b, err := os.ReadFile(path(pid))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(bytes.TrimSpace(b)))
}

func path(pid int) string { return fmt.Sprintf("/proc/%d/oom_score_adj", pid) }

// passes bounds how often a group is looked through for processes that were forked meanwhile.
const passes = 8

// Move gives those of a group's processes that have one score another. Processes that chose one for themselves keep
// it. It looks again until it finds none that was forked with the former score meanwhile.
func Move(processes func() ([]int, error), from, to int) error {
	from, to = Allowed(from), Allowed(to)
	if from == to {
		return nil
	}
	for range passes {
		pids, err := processes()
		if err != nil {
			return err
		}
		moved := false
		for _, pid := range pids {
			score, err := Of(pid)
			if err == nil && score == from {
				moved = true
				err = os.WriteFile(path(pid), []byte(strconv.Itoa(to)), 0)
			}
			if err != nil && !gone(err) {
				return fmt.Errorf("oom_score_adj %d of process %d: %w", to, pid, err)
			}
		}
		if !moved {
			break
		}
	}
	return nil
}

// gone reports that a process ended meanwhile.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) }

// hasCapability reports an effective capability of this process.
func hasCapability(capability int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}
