package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Files are written into a folder of their own, and one symbolic link is turned to it, so that a reader
// sees all of one version. It is the layout that Kubernetes' volumes have:
//
//	<dir>/..2026_01_02…   a version
//	<dir>/..data          → the present version
//	<dir>/<name>          → ..data/<name>, for the first element of every path
const (
	dataLink = "..data"
	dataNext = "..data_tmp"
	version  = "..v_"
)

// writeAtomically makes dir hold want. Nothing is touched where it does already.
func writeAtomically(dir string, want files, gid *int64) error {
	present, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		same, err := holds(filepath.Join(dir, present), want, gid)
		if err != nil {
			return err
		}
		if same {
			return tidy(dir, present, want) // a former process may have been stopped right after the turn
		}
	}
	next, err := os.MkdirTemp(dir, version)
	if err != nil {
		return err
	}
	if err := fill(next, want, gid); err != nil {
		return errors.Join(err, os.RemoveAll(next))
	}
	link := filepath.Join(dir, dataNext)
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(filepath.Base(next), link); err != nil {
		return err
	}
	if err := os.Rename(link, filepath.Join(dir, dataLink)); err != nil {
		return err
	}
	return tidy(dir, filepath.Base(next), want)
}

// effectiveMode is a file's mode with what its group needs.
func effectiveMode(mode int32, gid *int64) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	if gid != nil {
		m |= 0o440
	}
	return m
}

func fill(dir string, want files, gid *int64) error {
	own := func(path string, mode fs.FileMode) error {
		if gid != nil {
			if err := os.Chown(path, -1, int(*gid)); err != nil {
				return err
			}
		}
		return os.Chmod(path, mode) // after the change of owner, which clears bits; and whatever the umask
	}
	dirMode := fs.FileMode(0o755)
	if gid != nil {
		dirMode |= fs.ModeSetgid
	}
	for name, f := range want {
		path := filepath.Join(dir, name)
		for parent := filepath.Dir(path); parent != dir; parent = filepath.Dir(parent) {
			if err := os.MkdirAll(parent, 0o755); err != nil {
				return err
			}
			if err := own(parent, dirMode); err != nil {
				return err
			}
		}
		if err := os.WriteFile(path, f.data, 0o600); err != nil {
			return err
		}
		if err := own(path, effectiveMode(f.mode, gid)); err != nil {
			return err
		}
	}
	return own(dir, dirMode)
}

// holds reports whether a version has exactly the wanted files.
func holds(dir string, want files, gid *int64) (bool, error) {
	found := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f, ok := want[name]
		if !ok {
			return errDiffers
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm() != effectiveMode(f.mode, gid) || info.Size() != int64(len(f.data)) {
			return errDiffers
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Equal(data, f.data) {
			return errDiffers
		}
		found++
		return nil
	})
	if errors.Is(err, errDiffers) || errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return found == len(want), err
}

var errDiffers = errors.New("differs")

// tidy makes the links that users see and deletes those and the versions that are no longer wanted.
func tidy(dir, present string, want files) error {
	names := make(map[string]bool)
	for path := range want {
		first, _, _ := strings.Cut(path, string(filepath.Separator))
		names[first] = true
	}
	for name := range names {
		link, target := filepath.Join(dir, name), filepath.Join(dataLink, name)
		if old, err := os.Readlink(link); err == nil && old == target {
			continue
		}
		if err := os.Symlink(target, link); err != nil {
			return fmt.Errorf("file %s: %w", name, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == dataLink || name == present || names[name]:
		default:
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}
