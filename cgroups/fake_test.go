package cgroups

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// fake is a cgroup file system in a temporary directory. It makes a group's files with it, as the kernel
// does, and refuses what the kernel refuses.
type fake struct {
	version int
	root    string
	writes  []string // "group file=value", taken or refused

	// before, if it is set, is asked before the write of that number, from 0, and may refuse it.
	before func(n int, write string) error
	// reclaimable bytes of groups' usage; the rest stays.
	reclaimable map[string]int64
	oldKernel   bool // before 5.14: no memory.reclaim, cgroup.kill nor burst
	killed      bool // a limit below the usage was set, which the kernel would kill for
}

func newFake(t *testing.T, version int) (*fake, *Hierarchy) {
	t.Helper()
	f := &fake{version: version, root: t.TempDir(), reclaimable: map[string]int64{}}
	h := &Hierarchy{files: f, version: version}
	if version == 2 {
		h.unified = f.root
		must(t, f.fill(f.root))
	} else {
		// cpu and cpuacct together, as systemd mounts them.
		both := filepath.Join(f.root, "cpu,cpuacct")
		h.mounts = map[string]string{CPU: both, CPUAcct: both, Memory: filepath.Join(f.root, "memory"), PIDs: filepath.Join(f.root, "pids")}
	}
	return f, h
}

var fakeFiles = map[int]map[string]string{
	1: {
		"cpu.shares": "1024", "cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000", "cpu.cfs_burst_us": "0",
		"memory.limit_in_bytes": strconv.FormatInt(v1Unlimited, 10), "memory.usage_in_bytes": "0",
		swapFile: strconv.FormatInt(v1Unlimited, 10), swapUsageFile: "0",
	},
	2: {
		"cgroup.controllers": "cpuset cpu io memory pids", "cgroup.subtree_control": "",
		"cpu.max": "max 100000", "cpu.weight": "100", "cpu.max.burst": "0",
		"memory.max": "max", "memory.high": "max", "memory.min": "0", "memory.low": "0", "memory.current": "0", "memory.reclaim": "",
	},
}

func (f *fake) fill(dir string) error {
	for name, value := range fakeFiles[f.version] {
		if f.oldKernel && (name == "memory.reclaim" || name == "cpu.max.burst" || name == "cpu.cfs_burst_us") {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (f *fake) mkdir(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if parent := filepath.Dir(path); parent != f.root {
		if err := f.mkdir(parent); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return f.fill(path)
}

func (f *fake) read(path string) (string, error) { return kernel{}.read(path) }

func (f *fake) write(path, value string) error {
	name := strings.TrimPrefix(filepath.Dir(path), f.root)
	if f.version == 1 { // without the controller
		_, name, _ = strings.Cut(name[1:], "/")
		name = "/" + name
	}
	n, write := len(f.writes), name+" "+filepath.Base(path)+"="+value
	f.writes = append(f.writes, write)
	if f.before != nil {
		if err := f.before(n, write); err != nil {
			return &fs.PathError{Op: "write", Path: path, Err: err}
		}
	}
	if _, err := os.Stat(path); err != nil {
		return err
	}
	value, err := f.take(filepath.Dir(path), filepath.Base(path), value)
	if err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return kernel{}.write(path, value)
}

// take applies the kernel's rules and answers what the file holds afterwards.
func (f *fake) take(dir, file, value string) (string, error) {
	number := f.number(value)
	switch file {
	case "cpu.cfs_quota_us", "cpu.cfs_period_us":
		quota, period := f.value(dir, "cpu.cfs_quota_us"), f.value(dir, "cpu.cfs_period_us")
		if file == "cpu.cfs_quota_us" {
			quota = number
		} else {
			period = number
		}
		if quota == Unlimited {
			return value, nil
		}
		if quota < minQuota || f.value(dir, "cpu.cfs_burst_us") > quota {
			return "", syscall.EINVAL
		}
		ratio := quota * Period / period
		if up, ok := f.ratio(filepath.Dir(dir)); ok && ratio > up {
			return "", syscall.EINVAL
		}
		children, _ := filepath.Glob(filepath.Join(dir, "*/cpu.cfs_quota_us"))
		for _, c := range children {
			if down, ok := f.ratio(filepath.Dir(c)); ok && down > ratio {
				return "", syscall.EINVAL
			}
		}
	case "cpu.cfs_burst_us":
		if quota := f.value(dir, "cpu.cfs_quota_us"); quota != Unlimited && number > quota {
			return "", syscall.EINVAL
		}
	case "cpu.max":
		quota, _, _ := strings.Cut(value, " ")
		if q := f.number(quota); q != Unlimited && (q < minQuota || f.value(dir, "cpu.max.burst") > q) {
			return "", syscall.EINVAL
		}
	case "memory.limit_in_bytes":
		if number == Unlimited {
			number = v1Unlimited
		}
		if number > f.value(dir, swapFile) {
			return "", syscall.EINVAL
		}
		if f.reclaim(dir, "memory.usage_in_bytes", number) > number {
			return "", syscall.EBUSY
		}
		return strconv.FormatInt(number, 10), nil
	case swapFile:
		if number == Unlimited {
			number = v1Unlimited
		}
		if number < f.value(dir, "memory.limit_in_bytes") {
			return "", syscall.EINVAL
		}
		return strconv.FormatInt(number, 10), nil
	case "memory.min", "memory.low":
		return strconv.FormatInt(wholePages(number), 10), nil
	case "memory.high", "memory.max":
		if number == Unlimited {
			return "max", nil
		}
		number = wholePages(number)
		if f.reclaim(dir, "memory.current", number) > number && file == "memory.max" {
			f.killed = true
		}
		return strconv.FormatInt(number, 10), nil
	case "memory.reclaim":
		want := f.value(dir, "memory.current") - number
		if f.reclaim(dir, "memory.current", want) > want {
			return "", syscall.EAGAIN
		}
		return "", nil
	case "cgroup.subtree_control":
		have, _ := f.read(filepath.Join(dir, file))
		return strings.TrimSpace(have + " " + strings.TrimPrefix(value, "+")), nil
	}
	return value, nil
}

func (f *fake) number(s string) int64 {
	if s == "max" {
		return Unlimited
	}
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

func (f *fake) value(dir, file string) int64 {
	s, _ := f.read(filepath.Join(dir, file))
	return f.number(s)
}

// ratio is a group's CPU per Period, if it has a limit.
func (f *fake) ratio(dir string) (int64, bool) {
	quota, period := f.value(dir, "cpu.cfs_quota_us"), f.value(dir, "cpu.cfs_period_us")
	if period == 0 || quota == Unlimited {
		return 0, false
	}
	return quota * Period / period, true
}

// reclaim brings the usage down to what is wanted, as far as it can be, and answers it.
func (f *fake) reclaim(dir, file string, want int64) int64 {
	usage := f.value(dir, file)
	if take := min(usage-want, f.reclaimable[dir]); take > 0 {
		usage -= take
		f.reclaimable[dir] -= take
		os.WriteFile(filepath.Join(dir, file), []byte(strconv.FormatInt(usage, 10)), 0o600)
	}
	return usage
}

// use gives a group a usage, of which a part can be reclaimed.
func (f *fake) use(t *testing.T, g *Group, usage, reclaimable int64) {
	t.Helper()
	file := "memory.current"
	if f.version == 1 {
		file = "memory.usage_in_bytes"
	}
	must(t, os.WriteFile(filepath.Join(g.dir(Memory), file), []byte(strconv.FormatInt(usage, 10)), 0o600))
	f.reclaimable[g.dir(Memory)] = reclaimable
}

// state is all files but those that count usage.
func (f *fake) state(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(f.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "usage") || strings.Contains(path, "current") {
			return err
		}
		out[strings.TrimPrefix(path, f.root)], err = f.read(path)
		return err
	}))
	return out
}

func (f *fake) wantState(t *testing.T, what string, want map[string]string) {
	t.Helper()
	got := f.state(t)
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if got[path] != want[path] {
			t.Errorf("%s: %s holds %q, want %q", what, path, got[path], want[path])
		}
	}
}

// the fake itself, by rules that the kernel's suite has measured
func TestFakeRefusesAsTheKernelDoes(t *testing.T) {
	_, h := newFake(t, 1)
	pod := h.Group("/s/pod")
	c := pod.Child("c")
	must(t, c.Create())
	must(t, pod.SetCPU(1024, 50_000))
	must(t, c.SetCPU(1024, Unlimited))
	must(t, c.SetCPU(1024, 50_000))
	for name, err := range map[string]error{
		"a child above its parent": c.SetCPU(1024, 60_000), "a parent below its child": pod.SetCPU(1024, 40_000),
		"a burst above its quota": c.setInt(CPU, c.burstFile(), 50_001), "a limit above that with swap": func() error {
			must(t, c.SetMemory(context.Background(), mib))
			must(t, c.setInt(Memory, swapFile, mib))
			return c.setInt(Memory, "memory.limit_in_bytes", 2*mib)
		}(),
	} {
		if !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
