package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// files are the kernel's files; a test has others. A group that goes while its file is open is as one
// that doesn't exist: fs.ErrNotExist.
type files interface {
	read(path string) (string, error)
	write(path, value string) error
	mkdir(path string) error // with those above it
}

// kernel goes past package os, which registers the files with its poller. That costs more than reading
// them, and EAGAIN, which memory.reclaim answers, would wait for an event that never comes.
type kernel struct{}

// write writes a value at once, as the kernel wants it, without making the file.
func (kernel) write(path, value string) error {
	fd, err := retry(func() (int, error) { return syscall.Open(path, syscall.O_WRONLY|syscall.O_TRUNC|syscall.O_CLOEXEC, 0) })
	if err != nil {
		return pathError("open", path, err)
	}
	n, err := retry(func() (int, error) { return syscall.Write(fd, []byte(value)) })
	if err == nil && n < len(value) {
		err = syscall.EIO
	}
	if cerr := syscall.Close(fd); err == nil {
		err = cerr
	}
	return pathError("write", path, err)
}

func (kernel) read(path string) (string, error) {
	fd, err := retry(func() (int, error) { return syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0) })
	if err != nil {
		return "", pathError("open", path, err)
	}
	defer syscall.Close(fd)
	b := make([]byte, 0, 512)
	for {
		n, err := retry(func() (int, error) { return syscall.Read(fd, b[len(b):cap(b)]) })
		if err != nil {
			return "", pathError("read", path, err)
		}
		if n == 0 {
			return strings.TrimSpace(string(b)), nil
		}
		if b = b[:len(b)+n]; len(b) == cap(b) {
			b = slices.Grow(b, len(b))
		}
	}
}

func (kernel) mkdir(path string) error { return os.MkdirAll(path, 0o755) }

func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, syscall.EINTR) {
			return n, err
		}
	}
}

func pathError(op, path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENODEV):
		err = fs.ErrNotExist
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

func (g *Group) write(controller, file, value string) error {
	return wrap(g, g.h.files.write(filepath.Join(g.dir(controller), file), value))
}

// set writes a value and checks that the kernel holds it.
func (g *Group) set(controller, file, value string) error {
	if err := g.write(controller, file, value); err != nil {
		return err
	}
	holds, err := g.read(controller, file)
	if err == nil && holds != value {
		err = fmt.Errorf("cgroup %s: %s holds %q after %q was written", g.path, file, holds, value)
	}
	return err
}

func (g *Group) setInt(controller, file string, value int64) error {
	return g.set(controller, file, strconv.FormatInt(value, 10))
}

func (g *Group) read(controller, file string) (string, error) {
	s, err := g.h.files.read(filepath.Join(g.dir(controller), file))
	return s, wrap(g, err)
}

// readInt reads a number; version 2's "max" is Unlimited.
func (g *Group) readInt(controller, file string) (int64, error) {
	s, err := g.read(controller, file)
	if err != nil {
		return 0, err
	}
	return g.parseInt(file, s)
}

func (g *Group) parseInt(file, s string) (int64, error) {
	if s == "max" {
		return Unlimited, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("cgroup %s: %s: %q is not a number", g.path, file, s)
	}
	return n, nil
}

// readFields reads a file of "name value" lines.
func (g *Group) readFields(controller, file string) (map[string]int64, error) {
	s, err := g.read(controller, file)
	if err != nil {
		return nil, err
	}
	out := map[string]int64{}
	for line := range strings.Lines(s) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			out[name] = n
		}
	}
	return out, nil
}
