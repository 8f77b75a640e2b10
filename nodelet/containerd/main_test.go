package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"swell.dev/swell/internal/ociimage"
	"swell.dev/swell/nodelet"
	"swell.dev/swell/nodelet/runtimetest"
)

// parentEnv makes the test binary a parent of a containerd, to be killed; see TestChildSurvivesItsParent.
const parentEnv = "SWELL_TEST_CHILD_DIR"

// host is what all tests against a real containerd share. It is nil where the host can't have one.
var host struct {
	child    *Child
	err      error // why there is none
	dir      string
	busybox  string // image ref in a registry on loopback
	archive  string
	cgroup   string
	registry string
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentEnv); dir != "" {
		beParent(dir)
	}
	stop, err := setUp()
	host.err = err
	if err != nil && !errors.Is(err, nodelet.ErrUnsupported) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, "clean up:", err)
		code = 1
	}
	os.Exit(code)
}

func setUp() (stop func() error, err error) {
	stop = func() error { return nil }
	if os.Geteuid() != 0 {
		return stop, fmt.Errorf("containers: %w without root", nodelet.ErrUnsupported)
	}
	if host.dir, err = os.MkdirTemp("", "swell-ctd-"); err != nil {
		return stop, err
	}
	stop = func() error { return os.RemoveAll(host.dir) }
	binaries, err := testBinaries()
	if err != nil {
		return stop, err
	}
	img, err := ociimage.Busybox()
	if err != nil {
		return stop, fmt.Errorf("%w: %w", nodelet.ErrUnsupported, err)
	}
	reg := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	host.registry = strings.TrimPrefix(reg.URL, "http://")
	host.busybox = host.registry + "/test/busybox:1"
	if err := ociimage.Push(context.Background(), host.busybox, img); err != nil {
		return stop, err
	}
	host.archive = filepath.Join(host.dir, "archive.tar")
	if err := ociimage.WriteArchive(host.archive, "example.com/archived:1", img); err != nil {
		return stop, err
	}
	host.cgroup = fmt.Sprintf("/swell-test-%d", os.Getpid())
	child, err := StartChild(context.Background(), ChildConfig{Dir: filepath.Join(host.dir, "c"), Binaries: binaries})
	if err != nil {
		return stop, err
	}
	host.child = child
	return func() error {
		reg.Close()
		return errors.Join(tearDown(), os.RemoveAll(host.dir))
	}, nil
}

// tearDown removes what failed tests left, and containerd.
func tearDown() error {
	ctx, cancel := context.WithTimeout(context.Background(), runtimetest.Deadline)
	defer cancel()
	r, err := New(ctx, host.child.Config())
	if err != nil {
		return err
	}
	list, err := r.List(ctx)
	for _, c := range list {
		err = errors.Join(err, r.Remove(ctx, c.ID))
	}
	return errors.Join(err, r.Close(), host.child.Stop(ctx), Destroy(filepath.Join(host.dir, "c")), removeCgroups())
}

func removeCgroups() error {
	roots, err := filepath.Glob(cgroupRoot + "/*" + host.cgroup)
	roots = append(roots, cgroupRoot+host.cgroup)
	for _, root := range roots {
		var dirs []string
		filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error { //nolint:errcheck // what is gone is gone
			if err == nil && d.IsDir() {
				dirs = append(dirs, p)
			}
			return nil
		})
		for i := len(dirs) - 1; i >= 0; i-- {
			err = errors.Join(err, os.Remove(dirs[i]))
		}
	}
	return err
}

// testBinaries takes containerd and runc from the module's bin or PATH, and builds the logger.
func testBinaries() (Binaries, error) {
	bin := filepath.Join(host.dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return Binaries{}, err
	}
	build := exec.Command("go", "build", "-o", bin+"/", "swell.dev/swell/cmd/swell-logger", "swell.dev/swell/cmd/swell-hold")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return Binaries{}, fmt.Errorf("programs: %w: %s", err, out)
	}
	return FindBinaries(bin, "../../bin")
}

// beParent starts a containerd, says so, and waits for its end by SIGKILL.
func beParent(dir string) {
	binaries, err := FindBinaries(filepath.Join(filepath.Dir(dir), "bin"), "../../bin")
	if err == nil {
		var c *Child
		if c, err = StartChild(context.Background(), ChildConfig{Dir: dir, Binaries: binaries}); err == nil {
			fmt.Println(c.PID())
			select {}
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

// needHost skips a test where no containerd can run.
func needHost(t *testing.T) {
	t.Helper()
	if host.err != nil {
		t.Skip(host.err)
	}
}

// open connects to the shared containerd.
func open(t *testing.T) *runtimetest.Host {
	t.Helper()
	needHost(t)
	images, err := NewImages(t.Context(), host.child.Config())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := images.Pull(t.Context(), host.busybox, nil); err != nil {
		t.Fatal(err)
	}
	connect := func() *Runtime {
		r, err := New(context.Background(), host.child.Config())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := connect()
	t.Cleanup(func() {
		if err := errors.Join(r.Close(), images.Close()); err != nil {
			t.Error(err)
		}
	})
	return &runtimetest.Host{
		Runtime: r, Images: images, Image: host.busybox, CgroupPath: host.cgroup,
		Refused: host.registry + "/test/none:1", RefusedSays: "Unknown name",
		Archive: host.archive, ArchiveRef: "example.com/archived:1",
		Reopen: func(t *testing.T) nodelet.Runtime {
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			r = connect()
			return r
		},
	}
}

func TestConformance(t *testing.T) {
	runtimetest.Run(t, open)
}

// inTime is the test's context with the suite's deadline.
func inTime(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), runtimetest.Deadline)
	t.Cleanup(cancel)
	return ctx
}
