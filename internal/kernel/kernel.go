// Package kernel looks at a container where the kernel has it, in its cgroup of version 1 or 2: what the
// demo, the end-to-end tests and the benchmarks compare with what the API says.
package kernel

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Container is where a container's cgroup is.
type Container struct {
	CPU    string // file with the CPU limit
	Memory string // file with the memory limit
	procs  string // file with the container's processes
	v2     bool
}

// Find finds the cgroup of a container by its pod's UID.
func Find(podUID, container string) (*Container, error) {
	leaf := filepath.Join("*", "pod"+podUID, container)
	if dirs, _ := filepath.Glob(filepath.Join("/sys/fs/cgroup", leaf)); len(dirs) == 1 {
		return &Container{
			CPU: filepath.Join(dirs[0], "cpu.max"), Memory: filepath.Join(dirs[0], "memory.max"),
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
	return &Container{
		CPU: filepath.Join(cpu, "cpu.cfs_quota_us"), Memory: filepath.Join(memory, "memory.limit_in_bytes"),
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

// Limits answers the CPU limit in thousandths of a CPU and the memory limit in bytes.
func (c *Container) Limits() (cpuMilli, memory int64, err error) {
	if cpuMilli, err = c.cpuMilli(); err != nil {
		return 0, 0, err
	}
	b, err := os.ReadFile(c.Memory)
	if err != nil {
		return 0, 0, err
	}
	memory, err = strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return cpuMilli, memory, err
}

func (c *Container) cpuMilli() (int64, error) {
	b, err := os.ReadFile(c.CPU)
	if err != nil {
		return 0, err
	}
	quota, period := strings.TrimSpace(string(b)), "100000"
	if c.v2 {
		quota, period, _ = strings.Cut(quota, " ")
	}
	q, err := strconv.ParseInt(quota, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %q: %w", c.CPU, b, err)
	}
	p, err := strconv.ParseInt(period, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %q: %w", c.CPU, b, err)
	}
	return q * 1000 / p, nil
}

// PID answers the container's first process as the host sees it.
func (c *Container) PID() (int, error) {
	b, err := os.ReadFile(c.procs)
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(b), "\n")
	return strconv.Atoi(first)
}

// AwaitProcess polls until the container's first process is the program that the image is for, and answers
// when it was first seen to be. (Before its start, the process is the runtime's own.)
func AwaitProcess(ctx context.Context, podUID, container, program string) (*Container, time.Time, error) {
	for ; ctx.Err() == nil; time.Sleep(time.Millisecond) {
		c, err := Find(podUID, container)
		if err != nil {
			continue // not made yet
		}
		pid, err := c.PID()
		if err != nil {
			continue // no process yet
		}
		if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && strings.HasPrefix(string(line), program+"\x00") {
			return c, time.Now(), nil
		}
	}
	return nil, time.Time{}, fmt.Errorf("no process %s in container %s: %w", program, container, ctx.Err())
}

// Await polls until the kernel has the limits and answers when it was first seen to.
func (c *Container) Await(cpuMilli, memory int64, deadline time.Time) (time.Time, error) {
	for {
		cpu, m, err := c.Limits()
		now := time.Now()
		if err != nil {
			return now, err
		}
		if cpu == cpuMilli && m == memory {
			return now, nil
		}
		if now.After(deadline) {
			return now, fmt.Errorf("the kernel still has %dm CPU and %d bytes, not %dm and %d", cpu, m, cpuMilli, memory)
		}
		time.Sleep(100 * time.Microsecond)
	}
}
