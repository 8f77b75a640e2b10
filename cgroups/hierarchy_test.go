package cgroups

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const mountinfo = `21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
25 21 0:22 / /sys/fs/cgroup ro,nosuid shared:4 - tmpfs tmpfs ro,mode=755
`

func TestParseMountinfo(t *testing.T) {
	for _, c := range []struct {
		name, in string
		mounts   map[string]string
		others   []string
		unified  string
	}{
		{name: "none", in: mountinfo, mounts: map[string]string{}},
		{
			name: "version 2", in: mountinfo + "26 21 0:23 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
			mounts: map[string]string{}, unified: "/sys/fs/cgroup",
		},
		{
			name: "version 1, and 2 beside it", in: mountinfo + `26 25 0:23 / /sys/fs/cgroup/unified rw shared:5 - cgroup2 cgroup2 rw
27 25 0:24 / /sys/fs/cgroup/systemd rw shared:6 - cgroup cgroup rw,xattr,name=systemd
28 25 0:25 / /sys/fs/cgroup/cpu,cpuacct rw shared:7 - cgroup cgroup rw,cpu,cpuacct
29 25 0:26 / /sys/fs/cgroup/memory rw shared:8 master:3 - cgroup cgroup rw,memory
30 25 0:27 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
31 25 0:28 / /sys/fs/cgroup/net_cls,net_prio rw - cgroup cgroup rw,net_cls,net_prio
32 21 0:26 / /mnt/again rw - cgroup cgroup rw,memory
`,
			mounts: map[string]string{
				CPU: "/sys/fs/cgroup/cpu,cpuacct", CPUAcct: "/sys/fs/cgroup/cpu,cpuacct", Memory: "/sys/fs/cgroup/memory", PIDs: "/sys/fs/cgroup/pids",
			},
			others: []string{"/sys/fs/cgroup/systemd", "/sys/fs/cgroup/net_cls,net_prio", "/mnt/again"}, unified: "/sys/fs/cgroup/unified",
		},
		{
			name: "odd names and lines", in: "\nx\n26 21 0:23 / /a\\040b\\134c rw - cgroup2 none rw\n27 21 - cgroup2\n28 21 0:2 / /second rw - cgroup2 none rw\n",
			mounts: map[string]string{}, unified: `/a b\c`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			mounts, others, unified, err := parseMountinfo(strings.NewReader(c.in))
			must(t, err)
			if !reflect.DeepEqual(mounts, c.mounts) || !slices.Equal(others, c.others) || unified != c.unified {
				t.Errorf("got %v, %v, %q", mounts, others, unified)
			}
		})
	}
}

func TestMissingControllerIsNamed(t *testing.T) {
	all := map[string]string{CPU: "/c", CPUAcct: "/c", Memory: "/m", PIDs: "/p"}
	for name := range all {
		mounts := map[string]string{}
		for c, at := range all {
			if c != name {
				mounts[c] = at
			}
		}
		_, err := V1(mounts)
		wantMissing(t, err, name)
	}
	for name, offered := range map[string]string{CPU: "memory pids", Memory: "cpu cpuset pids", PIDs: "cpuset cpu memory"} {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "cgroup.controllers"), []byte(offered+"\n"), 0o600))
		_, err := V2(dir)
		wantMissing(t, err, name)
	}
	if _, err := V2(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without cgroup.controllers: %v", err)
	}
}

func wantMissing(t *testing.T, err error, controller string) {
	t.Helper()
	var missing *MissingError
	if !errors.As(err, &missing) || missing.Controller != controller || !strings.Contains(err.Error(), `"`+controller+`"`) {
		t.Errorf("got %v, want %s", err, controller)
	}
}

func TestCreateEnablesControllersFromTheRootDown(t *testing.T) {
	f, h := newFake(t, 2)
	g := h.Group("/s/pod/c")
	must(t, g.Create())
	for dir, want := range map[string]string{"": "cpu memory pids", "s": "cpu memory pids", "s/pod": "cpu memory pids", "s/pod/c": ""} {
		if got, err := f.read(filepath.Join(f.root, dir, "cgroup.subtree_control")); got != want || err != nil {
			t.Errorf("%q: %q, %v", dir, got, err)
		}
	}
	written := len(f.writes)
	must(t, g.Create())
	if len(f.writes) != written {
		t.Errorf("again: %q", f.writes[written:])
	}
	f.before = func(int, string) error { return syscall.EBUSY }
	err := h.Group("/other/pod/c").Create()
	if !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), `controller "cpu" for `+filepath.Join(f.root, "other")) {
		t.Errorf("got %v", err)
	}
}

func TestExistsWithEveryController(t *testing.T) {
	_, h := newFake(t, 1)
	g := h.Group("/g")
	must(t, os.MkdirAll(g.dir(Memory), 0o700))
	if g.Exists() {
		t.Error("it exists while only one of its directories does")
	}
	must(t, g.Create())
	if !g.Exists() {
		t.Error("it doesn't exist")
	}
}

func TestPaths(t *testing.T) {
	_, h := newFake(t, 2)
	for _, c := range [][2]string{{"/a/b", "/a/b"}, {"a/", "/a"}, {"/../a", "/a"}, {"", "/"}} {
		if got := h.Group(c[0]).Path(); got != c[1] {
			t.Errorf("Group(%q) = %q", c[0], got)
		}
	}
	if got := h.Group("/a").Child("b").Path(); got != "/a/b" {
		t.Errorf("Child = %q", got)
	}
}

func TestDeleteRefusesWhatIsNotOurs(t *testing.T) {
	f, h := newFake(t, 2)
	if err := h.Group("/").Delete(t.Context()); err == nil {
		t.Error("the root would have been deleted")
	}
	if len(f.writes) != 0 {
		t.Errorf("written: %q", f.writes)
	}
	g := h.Group("/g")
	must(t, g.Create())
	must(t, os.WriteFile(filepath.Join(g.dir(""), "cgroup.procs"), []byte("0\n"), 0o600))
	if err := g.Delete(t.Context()); err == nil || !strings.Contains(err.Error(), "PID namespace") {
		t.Errorf("a process that this PID namespace doesn't have: %v", err)
	}
}

// Files stand for processes that don't end: a directory with any isn't removed.
func TestDeleteEndsWithTheContext(t *testing.T) {
	both(t, func(t *testing.T, f *fake, h *Hierarchy) {
		g := h.Group("/g")
		must(t, g.Create())
		f.writes = nil
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := g.Delete(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		// No process can be made faster than it is killed.
		if want := map[int]string{1: "/g pids.max=0", 2: "/g cgroup.kill=1"}[f.version]; f.writes[0] != want {
			t.Errorf("first written: %q, want %q", f.writes[0], want)
		}
	})
}

// A deletion that was killed half-way leaves the directory by which the group is found.
func TestDirsEndWhereChildrenLooks(t *testing.T) {
	for _, mounts := range []map[string]string{
		{CPU: "/c", CPUAcct: "/a", Memory: "/m", PIDs: "/p"},
		{CPU: "/all", CPUAcct: "/all", Memory: "/all", PIDs: "/all"},
	} {
		h, err := V1(mounts, "/o")
		must(t, err)
		dirs := h.Group("/g").dirs()
		if dirs[len(dirs)-1] != filepath.Join(mounts[Memory], "g") || dirs[0] != "/o/g" || len(slices.Compact(slices.Sorted(slices.Values(dirs)))) != len(dirs) {
			t.Errorf("%v: %v", mounts, dirs)
		}
	}
}
