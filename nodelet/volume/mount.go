package volume

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"swell.dev/swell/nodelet"
)

// mountTmpfs puts a filesystem in memory over dir. Size is in bytes; 0 leaves the kernel's default.
func mountTmpfs(dir string, size int64) error {
	options := "mode=0755"
	if size > 0 {
		options += fmt.Sprintf(",size=%d", size)
	}
	return mountError("tmpfs", dir, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options))
}

func mountError(what, dir string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("mount %s on %s: %w: mounting needs root and CAP_SYS_ADMIN: %w", what, dir, nodelet.ErrUnsupported, err)
	default:
		return fmt.Errorf("mount %s on %s: %w", what, dir, err)
	}
}

// isMount reports whether something is mounted right at path.
func isMount(path string) (bool, error) {
	var here, above unix.Statx_t
	// The kernel says so itself since 5.8.
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, 0, &here); err != nil {
		return false, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	if here.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return here.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
	}
	if err := unix.Statx(unix.AT_FDCWD, filepath.Dir(path), unix.AT_SYMLINK_NOFOLLOW, 0, &above); err != nil {
		return false, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	return here.Dev_major != above.Dev_major || here.Dev_minor != above.Dev_minor, nil
}

// unmountBelow takes away every mount at or below dir, the last one made first, and makes sure of it: what
// is deleted afterwards must be ours.
func unmountBelow(dir string) error {
	for range 3 { // what was stacked shows only once its cover is gone
		mounts, err := mountsBelow(dir)
		if err != nil {
			return err
		}
		if len(mounts) == 0 {
			return nil
		}
		for i := len(mounts) - 1; i >= 0; i-- {
			if err := unix.Unmount(mounts[i], unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
				return fmt.Errorf("unmount %s: %w", mounts[i], err)
			}
		}
	}
	return fmt.Errorf("unmount below %s: mounts remain", dir)
}

// mountsBelow reads the kernel's table, in the order of mounting.
func mountsBelow(dir string) ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("table of mounts: %w", err)
	}
	defer f.Close()
	var out []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		point := unescape(fields[4])
		if point == dir || strings.HasPrefix(point, dir+"/") {
			out = append(out, point)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("table of mounts: %w", err)
	}
	return out, nil
}

// unescape undoes the kernel's octal escapes of space, tab, newline and backslash.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
