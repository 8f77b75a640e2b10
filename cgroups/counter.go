package cgroups

import (
	"fmt"
	"syscall"
	"time"
)

// Throttles opens the counter of the periods in which the group was stopped.
func (g *Group) Throttles() (*Counter, error) {
	return g.openCounter(CPU, "cpu.stat", "nr_throttled ", 1)
}

// CPUTime opens the counter of the CPU time that the group has used, in ns.
func (g *Group) CPUTime() (*Counter, error) {
	if g.h.version == 2 {
		return g.openCounter(CPU, "cpu.stat", "usage_usec ", int64(time.Microsecond))
	}
	return g.openCounter(CPUAcct, "cpuacct.usage", "", 1)
}

// Counter is one number in a file of the kernel that is held open, to be read again and again. It belongs to one
// goroutine.
type Counter struct {
	fd    int
	group string
	name  string // in front of the number, at the beginning of its line
	scale int64
	buf   [1024]byte
}

func (g *Group) openCounter(controller, file, name string, scale int64) (*Counter, error) {
	path := g.dir(controller) + "/" + file
	fd, err := retry(func() (int, error) { return syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0) })
	if err != nil {
		return nil, wrap(g, pathError("open", path, err))
	}
	return &Counter{fd: fd, group: g.path, name: name, scale: scale}, nil
}

// Read answers the number as it is now. Of a group that is gone the error is fs.ErrNotExist.
func (c *Counter) Read() (int64, error) {
	n, err := retry(func() (int, error) { return syscall.Pread(c.fd, c.buf[:], 0) })
	if err != nil {
		return 0, fmt.Errorf("cgroup %s: counter %s: %w", c.group, c.name, pathError("read", "", err))
	}
	for text := c.buf[:n]; len(text) > 0; text = nextLine(text) {
		if v, ok := numberAfter(text, c.name); ok {
			return v * c.scale, nil
		}
	}
	return 0, fmt.Errorf("cgroup %s: no counter %s", c.group, c.name)
}

func nextLine(text []byte) []byte {
	for i, b := range text {
		if b == '\n' {
			return text[i+1:]
		}
	}
	return nil
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
