package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
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

// awaitProcess polls until the container's first process is the program that the image is for, and answers
// when it was first seen to be. (Before its start, the process is the runtime's own.)
func awaitProcess(ctx context.Context, podUID, container, program string) (*kernel, time.Time, error) {
	for ; ctx.Err() == nil; time.Sleep(time.Millisecond) {
		k, err := findKernel(podUID, container)
		if err != nil {
			continue // not made yet
		}
		pid, err := k.pid()
		if err != nil {
			continue // no process yet
		}
		if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && strings.HasPrefix(string(line), program+"\x00") {
			return k, time.Now(), nil
		}
	}
	return nil, time.Time{}, fmt.Errorf("no process %s in container %s: %w", program, container, ctx.Err())
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
