package cgroups

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// write writes a value at once, as the kernel wants it, without making the file.
func write(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func read(path string) (string, error) {
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err
}

func (g *Group) write(controller, file, value string) error {
	return wrap(g, write(filepath.Join(g.dir(controller), file), value))
}

func (g *Group) read(controller, file string) (string, error) {
	s, err := read(filepath.Join(g.dir(controller), file))
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
