package cgroups

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Controllers that a Group needs.
const (
	CPU     = "cpu"
	CPUAcct = "cpuacct" // version 1 only
	Memory  = "memory"
	PIDs    = "pids"
)

// MissingError says that the kernel doesn't offer a controller.
type MissingError struct{ Controller string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("cgroup controller %q is not available: mount it, or enable it in the root's cgroup.subtree_control", e.Controller)
}

// Hierarchy is the host's cgroup file systems.
type Hierarchy struct {
	files   files
	version int
	unified string            // mount point of version 2
	mounts  map[string]string // version 1: controller → mount point
	others  []string          // further mounts, where runtimes may leave directories of our groups
}

// V1 answers a hierarchy of version 1 with its controllers' mount points.
func V1(mounts map[string]string, others ...string) (*Hierarchy, error) {
	for _, c := range []string{CPU, CPUAcct, Memory, PIDs} {
		if mounts[c] == "" {
			return nil, &MissingError{c}
		}
	}
	return &Hierarchy{files: kernel{}, version: 1, mounts: mounts, others: others}, nil
}

// V2 answers a hierarchy of version 2 at its mount point.
func V2(root string) (*Hierarchy, error) {
	b, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return nil, fmt.Errorf("cgroup v2: %w", err)
	}
	offered := strings.Fields(string(b))
	for _, c := range []string{CPU, Memory, PIDs} {
		if !slices.Contains(offered, c) {
			return nil, &MissingError{c}
		}
	}
	return &Hierarchy{files: kernel{}, version: 2, unified: root}, nil
}

// Detect finds the host's.
func Detect() (*Hierarchy, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cgroups: %w", err)
	}
	defer f.Close()
	mounts, others, unified, err := parseMountinfo(f)
	if err != nil {
		return nil, err
	}
	if mounts[Memory] != "" {
		if unified != "" {
			others = append(others, unified)
		}
		return V1(mounts, others...)
	}
	if unified == "" {
		return nil, &MissingError{Memory}
	}
	return V2(unified)
}

// unescape undoes how the kernel writes a path in mountinfo.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// parseMountinfo answers version 1's controllers with their mount points, its mounts without a
// controller that we use, and version 2's mount point.
func parseMountinfo(r io.Reader) (mounts map[string]string, others []string, unified string, err error) {
	mounts = map[string]string{}
	scan := bufio.NewScanner(r)
	for scan.Scan() {
		before, after, ok := strings.Cut(scan.Text(), " - ")
		fields, rest := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(rest) < 3 {
			continue
		}
		at := unescape.Replace(fields[4])
		switch rest[0] {
		case "cgroup2":
			if unified == "" {
				unified = at
			}
		case "cgroup":
			used := false
			for option := range strings.SplitSeq(rest[2], ",") {
				if slices.Contains([]string{CPU, CPUAcct, Memory, PIDs}, option) && mounts[option] == "" {
					mounts[option], used = at, true
				}
			}
			if !used {
				others = append(others, at)
			}
		}
	}
	if err := scan.Err(); err != nil {
		return nil, nil, "", fmt.Errorf("cgroups: mountinfo: %w", err)
	}
	return mounts, others, unified, nil
}

// Version is 1 or 2.
func (h *Hierarchy) Version() int { return h.version }

// Group answers the group at a path from the root, which need not exist.
func (h *Hierarchy) Group(path string) *Group {
	return &Group{h: h, path: filepath.Clean("/" + path)}
}

// Group is one control group.
type Group struct {
	h    *Hierarchy
	path string
}

// Path from the hierarchy's root.
func (g *Group) Path() string { return g.path }

// Child answers the group of a name in this one.
func (g *Group) Child(name string) *Group { return g.h.Group(filepath.Join(g.path, name)) }

// dir is where the kernel has the group's files of a controller.
func (g *Group) dir(controller string) string {
	if g.h.version == 2 {
		return filepath.Join(g.h.unified, g.path)
	}
	return filepath.Join(g.h.mounts[controller], g.path)
}

// dirs are all directories that the group may have. The one where Children looks is the last, so that a
// deletion that was killed half-way is seen and done again.
func (g *Group) dirs() []string {
	if g.h.version == 2 {
		return []string{g.dir("")}
	}
	var out []string
	for _, mount := range g.h.others {
		out = append(out, filepath.Join(mount, g.path))
	}
	last := g.dir(Memory)
	for _, c := range []string{CPU, CPUAcct, PIDs} {
		if d := g.dir(c); d != last && !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return append(out, last)
}

// Exists reports whether the kernel has the group, on version 1 with every controller: a runtime makes its
// directories one after the other.
func (g *Group) Exists() bool {
	for _, c := range []string{CPU, CPUAcct, Memory, PIDs} {
		if _, err := os.Stat(g.dir(c)); err != nil {
			return false
		}
	}
	return true
}

// Create makes the group and those above it. On version 2 the controllers are enabled from the root down
// to the group's parent.
func (g *Group) Create() error {
	if g.h.version == 2 {
		if err := g.enable(); err != nil {
			return err
		}
		return wrap(g, g.h.files.mkdir(g.dir("")))
	}
	for _, c := range []string{CPU, CPUAcct, Memory, PIDs} {
		if err := g.h.files.mkdir(g.dir(c)); err != nil {
			return wrap(g, err)
		}
	}
	return nil
}

func (g *Group) enable() error {
	dir := g.h.unified
	parents := strings.Split(strings.Trim(filepath.Dir(g.path), "/"), "/")
	for i := -1; i < len(parents); i++ {
		if i >= 0 {
			if parents[i] == "" {
				continue
			}
			dir = filepath.Join(dir, parents[i])
			if err := g.h.files.mkdir(dir); err != nil {
				return wrap(g, err)
			}
		}
		file := filepath.Join(dir, "cgroup.subtree_control")
		have, err := g.h.files.read(file)
		if err != nil {
			return wrap(g, err)
		}
		for _, c := range []string{CPU, Memory, PIDs} {
			if slices.Contains(strings.Fields(have), c) {
				continue
			}
			if err := g.h.files.write(file, "+"+c); err != nil {
				return fmt.Errorf("cgroup %s: controller %q for %s: %w", g.path, c, dir, err)
			}
		}
	}
	return nil
}

func wrap(g *Group, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("cgroup %s: %w", g.path, err)
}

// Children answers the names of the groups in this one.
func (g *Group) Children() ([]string, error) {
	entries, err := os.ReadDir(g.dir(Memory))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, wrap(g, err)
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out, nil
}
