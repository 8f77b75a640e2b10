package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"swell.dev/swell/nodelet"
)

// SubPath binds a part of a volume to a place of its own and answers that place. The path is resolved by
// the kernel with the volume as its root, and bound by what was opened, so that no symbolic link that a
// container makes, before or meanwhile, leads out of the volume. A part that isn't there becomes a folder.
func (m *Manager) SubPath(_ context.Context, s nodelet.SubPath) (string, error) {
	wrap := func(err error) (string, error) {
		return "", fmt.Errorf("volume %q: subPath %q: %w", s.Volume, s.Path, err)
	}
	if !filepath.IsLocal(s.Path) {
		return wrap(errors.New("must be relative and stay in the volume"))
	}
	if !filepath.IsLocal(s.PodUID) || !filepath.IsLocal(s.Volume) || !filepath.IsLocal(s.Container) {
		return wrap(errors.New("not a name"))
	}
	defer m.lock(s.PodUID)()
	root, err := unix.Open(m.volumeDir(s.PodUID, s.Volume), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return wrap(err)
	}
	defer unix.Close(root)
	fd, err := resolve(root, s.Path)
	if errors.Is(err, unix.ENOENT) {
		fd, err = makeFolders(root, s.Path)
	}
	if err != nil {
		return wrap(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return wrap(err)
	}
	target := filepath.Join(m.podDir(s.PodUID), "subpaths", s.Container, strconv.Itoa(s.Index))
	if err := m.makeTarget(target, st.Mode&unix.S_IFMT == unix.S_IFDIR); err != nil {
		return wrap(err)
	}
	if err := unix.Mount("/proc/self/fd/"+strconv.Itoa(fd), target, "", unix.MS_BIND, ""); err != nil {
		return wrap(mountError("subPath", target, err))
	}
	return target, nil
}

// makeTarget makes an empty folder or file to mount on, in place of what an earlier start left.
func (m *Manager) makeTarget(target string, folder bool) error {
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		return err
	}
	if err := unmountBelow(target); err != nil {
		return err
	}
	if err := os.RemoveAll(target); err != nil {
		return err
	}
	if folder {
		return os.Mkdir(target, 0o750)
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	return f.Close()
}

// resolve opens a path for which root is / and nothing lies beyond.
func resolve(root int, path string) (int, error) {
	return unix.Openat2(root, path, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
}

// makeFolders makes what is missing of the path, with the volume's own mode and group, and opens its end.
func makeFolders(root int, path string) (int, error) {
	var st unix.Stat_t
	if err := unix.Fstat(root, &st); err != nil {
		return -1, err
	}
	mode := st.Mode & 0o7777
	dir, err := unix.Dup(root)
	if err != nil {
		return -1, err
	}
	sofar := ""
	for _, name := range strings.Split(filepath.Clean(path), "/") {
		sofar = filepath.Join(sofar, name)
		next, err := resolve(root, sofar)
		if errors.Is(err, unix.ENOENT) {
			if err = unix.Mkdirat(dir, name, mode); err == nil || errors.Is(err, unix.EEXIST) {
				next, err = resolve(root, sofar)
			}
			if err == nil {
				err = dress(next, mode, int(st.Gid))
			}
		}
		unix.Close(dir) //nolint:errcheck // opened with O_PATH: nothing to lose
		if err != nil {
			return -1, err
		}
		dir = next
	}
	return dir, nil
}

// dress gives a new folder its group and, whatever the umask, its mode.
func dress(fd int, mode uint32, gid int) error {
	path := "/proc/self/fd/" + strconv.Itoa(fd)
	if err := unix.Chown(path, -1, gid); err != nil {
		return err
	}
	return unix.Chmod(path, mode)
}
