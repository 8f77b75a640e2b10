package framelog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// File is a log's file, as far as it is known to be on the disk. It belongs to one goroutine at a time.
type File struct {
	noun string // of the log, for errors
	path string
	f    Handle
	size int64 // bytes that are whole and synced
	torn bool  // a write failed: what it left has to be cut off before the next one
}

// Handle is an open file. Tests let it fail.
type Handle interface {
	ReadAt(b []byte, at int64) (int, error)
	WriteAt(b []byte, at int64) (int, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

// diskFile syncs what reading the file needs, and not its times.
type diskFile struct{ *os.File }

func (d diskFile) Sync() error {
	for {
		if err := unix.Fdatasync(int(d.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Open opens a log's file, or makes it, and answers what is in it. Noun names the log in errors. Nothing may
// be appended before Keep.
func Open(noun, path string) (*File, []byte, error) {
	f, data, err := open(noun, path)
	if err != nil {
		return nil, nil, (&File{noun: noun, path: path}).named(err)
	}
	return f, data, nil
}

func open(noun, path string) (*File, []byte, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	data, err := os.ReadFile(path)
	if err == nil {
		err = syncDir(filepath.Dir(path)) // it may have been made just now
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return &File{noun: noun, path: path, f: diskFile{f}, size: int64(len(data))}, data, nil
}

// Wrap stands between the log and its file.
func (f *File) Wrap(wrap func(Handle) Handle) { f.f = wrap(f.f) }

// Path is where the file is.
func (f *File) Path() string { return f.path }

// Size is how much of it is whole and on the disk.
func (f *File) Size() int64 { return f.size }

// Keep cuts off what stands behind the first bytes that are whole, and begins an empty file with its format.
func (f *File) Keep(whole int64, format string) error {
	f.torn = whole < f.size
	f.size = whole
	if f.torn {
		if err := f.cut(); err != nil {
			return f.named(err)
		}
	}
	if whole > 0 {
		return nil
	}
	return f.Append([]byte(format))
}

// ReadAt reads what was appended.
func (f *File) ReadAt(b []byte, at int64) error {
	_, err := f.f.ReadAt(b, at)
	return f.named(err)
}

// Close leaves the file as it is.
func (f *File) Close() error { return f.named(f.f.Close()) }

// cut removes what stands behind the last whole frame, so that no part of it can be taken for one.
func (f *File) cut() error {
	err := f.f.Truncate(f.size)
	if err == nil {
		err = f.f.Sync()
	}
	if err != nil {
		return err
	}
	f.torn = false
	return nil
}

// Append writes and syncs. If it fails, nothing of b will be read.
func (f *File) Append(b []byte) error { return f.named(f.append(b)) }

func (f *File) append(b []byte) error {
	if f.torn {
		if err := f.cut(); err != nil {
			return err
		}
	}
	_, err := f.f.WriteAt(b, f.size)
	if err == nil {
		err = f.f.Sync()
	}
	if err != nil {
		f.torn = true
		return errors.Join(err, f.cut())
	}
	f.size += int64(len(b))
	return nil
}

// Replace puts a file with these contents in this one's place. On an error this one still serves.
func (f *File) Replace(b []byte) error { return f.named(f.replace(b)) }

func (f *File) replace(b []byte) error {
	tmp := f.path + ".new"
	n, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	d := diskFile{n}
	if _, err = d.Write(b); err == nil {
		err = d.Sync()
	}
	if err == nil {
		err = os.Rename(tmp, f.path)
	}
	if err != nil {
		return errors.Join(err, d.Close(), os.Remove(tmp))
	}
	// From here on the name leads to the new file, and only that may be written to. Until the directory
	// is synced a crash may bring the old one back, which lacks what is written next; so a failure to
	// sync it makes the next write try again.
	old := f.f
	f.f, f.size, f.torn = &renamed{diskFile: d, dir: filepath.Dir(f.path)}, int64(len(b)), false
	return errors.Join(f.f.Sync(), old.Close())
}

// renamed is a file whose new name isn't on the disk yet.
type renamed struct {
	diskFile
	dir  string
	done bool
}

func (r *renamed) Sync() error {
	if err := r.diskFile.Sync(); err != nil || r.done {
		return err
	}
	if err := syncDir(r.dir); err != nil {
		return err
	}
	r.done = true
	return nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (f *File) named(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%s %s: the disk is full; free some space: %w", f.noun, f.path, err)
	}
	return fmt.Errorf("%s %s: %w", f.noun, f.path, err)
}
