package cgroups

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Procs answers the processes in the group itself, not in those below it.
func (g *Group) Procs() ([]int, error) { return procs(g.dir(Memory)) }

func procs(dir string) ([]int, error) {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
		return nil, nil // gone meanwhile
	}
	if err != nil {
		return nil, err
	}
	var out []int
	for line := range strings.Lines(string(b)) {
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			return nil, fmt.Errorf("%s: cgroup.procs: %q", dir, line)
		}
		out = append(out, pid)
	}
	return out, nil
}

// Add moves a process into the group.
func (g *Group) Add(pid int) error {
	if g.h.version == 2 {
		return g.write("", "cgroup.procs", strconv.Itoa(pid))
	}
	for _, c := range []string{CPU, CPUAcct, Memory, PIDs} {
		if err := g.write(c, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return err
		}
	}
	return nil
}

// Delete kills what is in the group and in those below it, and removes them all. A group that doesn't
// exist is no error. It tries until ctx ends: a killed process takes a moment to leave.
func (g *Group) Delete(ctx context.Context) error {
	if g.path == "/" {
		return errors.New("cgroup /: the root is everybody's and isn't deleted")
	}
	for {
		if err := g.endForks(); err != nil {
			return err
		}
		busy, err := g.tryDelete()
		if err != nil || !busy {
			return err
		}
		if !pause(ctx) {
			return fmt.Errorf("cgroup %s: its processes don't end: %w", g.path, ctx.Err())
		}
	}
}

// endForks keeps processes from being made faster than they are killed: version 2 kills all at once, with
// a kernel of 5.14 or later, and on version 1 no more are allowed.
func (g *Group) endForks() error {
	file, value := "cgroup.kill", "1"
	if g.h.version == 1 {
		file, value = "pids.max", "0"
	}
	if err := g.write(PIDs, file, value); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (g *Group) tryDelete() (busy bool, err error) {
	for _, root := range g.dirs() {
		var dirs []string
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // gone meanwhile
			}
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return err
		})
		if err != nil {
			return false, wrap(g, err)
		}
		for i := len(dirs) - 1; i >= 0; i-- { // the deepest first
			b, err := removeDir(dirs[i])
			if err != nil {
				return false, wrap(g, err)
			}
			busy = busy || b
		}
	}
	return busy, nil
}

func removeDir(dir string) (busy bool, err error) {
	pids, err := procs(dir)
	if err != nil {
		return false, err
	}
	for _, pid := range pids {
		if pid <= 0 {
			// The kernel shows 0, which kill takes for the caller's own process group.
			return false, fmt.Errorf("%s: a process in it belongs to another PID namespace", dir)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return false, err
		}
	}
	err = syscall.Rmdir(dir)
	switch {
	case err == nil, errors.Is(err, syscall.ENOENT):
		return false, nil
	case errors.Is(err, syscall.EBUSY), errors.Is(err, syscall.ENOTEMPTY):
		return true, nil
	}
	return false, err
}
