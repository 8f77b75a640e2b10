package cgroups

import (
	"fmt"
	"syscall"
)

// ID is what the kernel knows the group by in the CPU controller's hierarchy, also in eBPF: the inode of its
// directory.
func (g *Group) ID() (uint64, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(g.dir(CPU), &st); err != nil {
		return 0, wrap(g, pathError("stat", g.dir(CPU), err))
	}
	return st.Ino, nil
}

// Throttles opens the counter of the periods in which the group was stopped, to be read again and again.
func (g *Group) Throttles() (*Counter, error) {
	return g.openCounter(CPU, "cpu.stat", "nr_throttled ")
}

// Counter reads one number of a file of the kernel that it holds open. It belongs to one goroutine.
type Counter struct {
	fd    int
	group string
	name  string
	buf   [512]byte
}

func (g *Group) openCounter(controller, file, name string) (*Counter, error) {
	path := g.dir(controller) + "/" + file
	fd, err := retry(func() (int, error) { return syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0) })
	if err != nil {
		return nil, wrap(g, pathError("open", path, err))
	}
	return &Counter{fd: fd, group: g.path, name: name}, nil
}

// Read answers the number as it is now. It doesn't allocate.
func (c *Counter) Read() (int64, error) {
	n, err := retry(func() (int, error) { return syscall.Pread(c.fd, c.buf[:], 0) })
	if err != nil {
		return 0, fmt.Errorf("cgroup %s: %s: %w", c.group, c.name, pathError("read", "", err))
	}
	text := c.buf[:n]
	for len(text) > 0 {
		if v, ok := numberAfter(text, c.name); ok {
			return v, nil
		}
		for len(text) > 0 && text[0] != '\n' {
			text = text[1:]
		}
		if len(text) > 0 {
			text = text[1:]
		}
	}
	return 0, fmt.Errorf("cgroup %s: no number %q", c.group, c.name)
}

func numberAfter(line []byte, name string) (n int64, ok bool) {
	if len(line) <= len(name) || string(line[:len(name)]) != name {
		return 0, false
	}
	for _, b := range line[len(name):] {
		if b < '0' || b > '9' {
			break
		}
		n, ok = n*10+int64(b-'0'), true
	}
	return n, ok
}

// Close lets go of the file.
func (c *Counter) Close() error { return syscall.Close(c.fd) }
