package containerd

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"swell.dev/swell/nodelet"
)

// maxRunDir is the longest directory that sockets can be made in: a unix socket's path has at most 107
// bytes, and a shim's socket is named s/ and 64 digits below it.
const maxRunDir = 107 - len("/s/") - 64

// paths are a Child's files.
//
//	<dir>/config.toml, containerd.log, containerd.pid
//	<dir>/root/     images, snapshots, metadata
//	<dir>/state/    bundles and mounts of the containers
//	<dir>/runc/     runc's records
//	<dir>/gates/    of held containers
//	<run>/containerd.sock, <run>/s/ (the shims' sockets), <run>/fifo/ (exec streams)
//
// <run> is <dir>/run, or, where that is too long for sockets, /run/swell-<hash of dir>.
type paths struct {
	dir string
	run string
}

func pathsOf(dir string) (paths, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return paths{}, fmt.Errorf("containerd directory: %w", err)
	}
	run := filepath.Join(dir, "run")
	if len(run) > maxRunDir {
		sum := sha256.Sum256([]byte(dir))
		run = "/run/swell-" + hex.EncodeToString(sum[:6])
	}
	return paths{dir: dir, run: run}, nil
}

func (p paths) config() string  { return filepath.Join(p.dir, "config.toml") }
func (p paths) log() string     { return filepath.Join(p.dir, "containerd.log") }
func (p paths) pid() string     { return filepath.Join(p.dir, "containerd.pid") }
func (p paths) root() string    { return filepath.Join(p.dir, "root") }
func (p paths) state() string   { return filepath.Join(p.dir, "state") }
func (p paths) runc() string    { return filepath.Join(p.dir, "runc") }
func (p paths) gates() string   { return filepath.Join(p.dir, "gates") }
func (p paths) socket() string  { return filepath.Join(p.run, "containerd.sock") }
func (p paths) shims() string   { return filepath.Join(p.run, "s") }
func (p paths) fifo() string    { return filepath.Join(p.run, "fifo") }
func (p paths) make() error     { return errors.Join(os.MkdirAll(p.dir, 0o711), os.MkdirAll(p.run, 0o700)) }
func (p paths) all() [2]string  { return [2]string{p.dir, p.run} }
func quote(s string) string     { return "'" + s + "'" } // a literal string in TOML
func within(dir, p string) bool { return strings.HasPrefix(p, dir+"/") }
func unescape(mnt string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\134`, `\`).Replace(mnt)
}

// writeConfig leaves out all that Swell doesn't use: the fewer plugins, the sooner containerd is ready,
// and none of them makes files elsewhere on the host.
func (p paths) writeConfig() error {
	disabled := []string{
		"io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri",
		"io.containerd.podsandbox.controller.v1.podsandbox", "io.containerd.nri.v1.nri",
		"io.containerd.image-verifier.v1.bindir", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.restart",
		"io.containerd.monitor.container.v1.restart", "io.containerd.monitor.task.v1.cgroups", "io.containerd.internal.v1.tracing",
		"io.containerd.tracing.processor.v1.otlp", "io.containerd.grpc.v1.sandbox-controllers", "io.containerd.ttrpc.v1.otelttrpc",
		"io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
		"io.containerd.snapshotter.v1.erofs", "io.containerd.snapshotter.v1.native", "io.containerd.snapshotter.v1.zfs",
		"io.containerd.differ.v1.erofs", "io.containerd.mount-handler.v1.erofs",
	}
	for i := range disabled {
		disabled[i] = quote(disabled[i])
	}
	text := fmt.Sprintf(`version = 3
root = %s
state = %s
disabled_plugins = [%s]
imports = []

[grpc]
  address = %s

[plugins.'io.containerd.shim.v1.manager']
  socket_dir = %s
`, quote(p.root()), quote(p.state()), strings.Join(disabled, ", "), quote(p.socket()), quote(p.shims()))
	if strings.Contains(p.dir, "'") {
		return fmt.Errorf("containerd directory %s: a quote in the path is not supported", p.dir)
	}
	if err := os.WriteFile(p.config(), []byte(text), 0o600); err != nil {
		return fmt.Errorf("containerd config: %w", err)
	}
	return nil
}

// checkOverlay tries what the snapshotter will do, in the place where it will.
func (p paths) checkOverlay() (err error) {
	dir, err := os.MkdirTemp(p.dir, "check-")
	if err != nil {
		return fmt.Errorf("containerd directory: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // empty directories
	for _, d := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			return fmt.Errorf("containerd directory: %w", err)
		}
	}
	opts := fmt.Sprintf("lowerdir=%s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", dir)
	merged := filepath.Join(dir, "merged")
	switch err := unix.Mount("overlay", merged, "overlay", 0, opts); {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("overlayfs: %w: %w; run as root", nodelet.ErrUnsupported, err)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("overlayfs: %w by this kernel; run `modprobe overlay`", nodelet.ErrUnsupported)
	case err != nil:
		return fmt.Errorf("overlayfs: %w below %s: %w; put the data directory on ext4 or xfs", nodelet.ErrUnsupported, p.dir, err)
	}
	return unix.Unmount(merged, unix.MNT_DETACH)
}

// Destroy removes all files of a Child that was stopped, and unmounts what containers left mounted
// below them. The containers themselves must have been removed before.
func Destroy(dir string) error {
	p, err := pathsOf(dir)
	if err != nil {
		return err
	}
	mounts, err := mountsWithin(p)
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(mounts) {
		if err := unix.Unmount(m, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("mount %s: %w", m, err)
		}
	}
	for _, d := range p.all() {
		if err := os.RemoveAll(d); err != nil {
			return fmt.Errorf("containerd directory: %w", err)
		}
	}
	return nil
}

func mountsWithin(p paths) ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("mounts: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	var found []string
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20) // an overlay of many layers has a long line
	for s.Scan() {
		fields := strings.Fields(s.Text())
		if len(fields) < 5 {
			continue
		}
		if at := unescape(fields[4]); within(p.dir, at) || within(p.run, at) {
			found = append(found, at)
		}
	}
	return found, s.Err()
}
