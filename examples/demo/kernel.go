package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// kernel reads a container's limits where the kernel keeps them, on cgroup v1 or v2.
type kernel struct {
	cpu    string // file with the CPU limit
	memory string // file with the memory limit
	procs  string // file with the container's processes
	v2     bool
}

// findKernel finds the cgroup of the container by its pod's UID.
func findKernel(podUID, container string) (*kernel, error) {
	leaf := filepath.Join("*", "pod"+podUID, container)
	if dirs, _ := filepath.Glob(filepath.Join("/sys/fs/cgroup", leaf)); len(dirs) == 1 {
		return &kernel{
			cpu: filepath.Join(dirs[0], "cpu.max"), memory: filepath.Join(dirs[0], "memory.max"),
			procs: filepath.Join(dirs[0], "cgroup.procs"), v2: true,
		}, nil
	}
	cpu, err := one(filepath.Join("/sys/fs/cgroup/cpu", leaf), filepath.Join("/sys/fs/cgroup/cpu,cpuacct", leaf))
	if err != nil {
		return nil, err
	}
	memory, err := one(filepath.Join("/sys/fs/cgroup/memory", leaf))
	if err != nil {
		return nil, err
	}
	return &kernel{
		cpu: filepath.Join(cpu, "cpu.cfs_quota_us"), memory: filepath.Join(memory, "memory.limit_in_bytes"),
		procs: filepath.Join(cpu, "cgroup.procs"),
	}, nil
}

func one(patterns ...string) (string, error) {
	for _, p := range patterns {
		if dirs, _ := filepath.Glob(p); len(dirs) == 1 {
			return dirs[0], nil
		}
	}
	return "", fmt.Errorf("no cgroup at %s", strings.Join(patterns, " or "))
}

// limits answers the CPU limit in thousandths of a CPU and the memory limit in bytes.
func (k *kernel) limits() (cpuMilli, memory int64, err error) {
	if cpuMilli, err = k.cpuMilli(); err != nil {
		return 0, 0, err
	}
	b, err := os.ReadFile(k.memory)
	if err != nil {
		return 0, 0, err
	}
	memory, err = strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return cpuMilli, memory, err
}

func (k *kernel) cpuMilli() (int64, error) {
	b, err := os.ReadFile(k.cpu)
	if err != nil {
		return 0, err
	}
	quota, period := strings.TrimSpace(string(b)), "100000"
	if k.v2 {
		quota, period, _ = strings.Cut(quota, " ")
	}
	q, err := strconv.ParseInt(quota, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %q: %w", k.cpu, b, err)
	}
	p, err := strconv.ParseInt(period, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %q: %w", k.cpu, b, err)
	}
	return q * 1000 / p, nil
}

// pid answers the container's first process as the host sees it.
func (k *kernel) pid() (int, error) {
	b, err := os.ReadFile(k.procs)
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(b), "\n")
	return strconv.Atoi(first)
}

// started answers when the first process began, to the kernel's tick of a hundredth of a second.
func (k *kernel) started() (time.Time, error) {
	pid, err := k.pid()
	if err != nil {
		return time.Time{}, err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return time.Time{}, err
	}
	// The second field is a name in parentheses; the twentieth after it is the start, in ticks since boot.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return time.Time{}, fmt.Errorf("/proc/%d/stat: %q", pid, stat)
	}
	ticks, err := strconv.ParseInt(fields[19], 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("/proc/%d/stat: start %q: %w", pid, fields[19], err)
	}
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return time.Time{}, err
	}
	const ticksPerSecond = 100 // USER_HZ, on every architecture that Swell runs on
	return time.Now().Add(time.Duration(ticks)*time.Second/ticksPerSecond - time.Duration(boot.Nano())), nil
}

// await polls until the kernel has the limits and answers when it was first seen to.
func (k *kernel) await(cpuMilli, memory int64, deadline time.Time) (time.Time, error) {
	for {
		c, m, err := k.limits()
		now := time.Now()
		if err != nil {
			return now, err
		}
		if c == cpuMilli && m == memory {
			return now, nil
		}
		if now.After(deadline) {
			return now, fmt.Errorf("the kernel still has %dm CPU and %d bytes, not %dm and %d", c, m, cpuMilli, memory)
		}
		time.Sleep(100 * time.Microsecond)
	}
}
