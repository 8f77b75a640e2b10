package crilog

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// writerGone tells whether nobody holds f's lock any more.
func writerGone(f *os.File) bool {
	if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil {
		return false
	}
	return unix.Flock(int(f.Fd()), unix.LOCK_UN) == nil
}

// current tells whether f is the newest file of the log, or the log was removed.
func current(path string, f *os.File) bool {
	i := position(path, f)
	return i == 0 || i < 0 && missing(path)
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, os.ErrNotExist)
}

// position is f's place in the rotation, 0 for the newest, or -1 where it is in none.
func position(path string, f *os.File) int {
	mine, err := f.Stat()
	if err != nil {
		return -1
	}
	// In the middle of a rotation one name is missing; two in a row are the end.
	for i, gaps := 0, 0; gaps < 2; i++ {
		info, err := os.Stat(rotated(path, i))
		if err != nil {
			gaps++
			continue
		}
		gaps = 0
		if os.SameFile(info, mine) {
			return i
		}
	}
	return -1
}

// successor opens the file that was begun after f, or answers nil where f is the newest.
func successor(path string, f *os.File) *os.File {
	for {
		i := position(path, f)
		if i == 0 {
			return nil
		}
		if i < 0 { // rotated away: the oldest that is left comes next
			files, err := openAll(path)
			if err != nil {
				return nil
			}
			for _, other := range files[1:] {
				other.Close() //nolint:errcheck // it was only read
			}
			return files[0]
		}
		next, err := os.Open(rotated(path, i-1))
		if err != nil {
			return nil // between two renames: the next look finds it
		}
		if position(path, f) == i {
			return next
		}
		next.Close() //nolint:errcheck // another rotation came between
	}
}

// watch wakes a follower when something changes in the log's directory.
type watch struct {
	inotify *os.File // nil where the host has no more of them: polling alone
	changed chan struct{}
	done    chan struct{}
	tick    *time.Ticker
}

func newWatch(path string) *watch {
	w := &watch{changed: make(chan struct{}, 1), done: make(chan struct{}), tick: time.NewTicker(pollEvery)}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		close(w.done)
		return w
	}
	w.inotify = os.NewFile(uintptr(fd), "inotify")
	const mask = unix.IN_MODIFY | unix.IN_MOVED_TO | unix.IN_CREATE | unix.IN_CLOSE_WRITE
	if _, err := unix.InotifyAddWatch(fd, filepath.Dir(path), mask); err != nil {
		w.inotify.Close() //nolint:errcheck // nothing was written
		w.inotify = nil
		close(w.done)
		return w
	}
	go w.run()
	return w
}

func (w *watch) run() {
	defer close(w.done)
	buf := make([]byte, 4096)
	for {
		if _, err := w.inotify.Read(buf); err != nil {
			return
		}
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}

// wait returns at a change, or when it is time to look, and answers false when ctx ends.
func (w *watch) wait(ctx context.Context) bool {
	select {
	case <-w.changed:
		return true
	case <-w.tick.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (w *watch) close() {
	w.tick.Stop()
	if w.inotify != nil {
		w.inotify.Close() //nolint:errcheck // nothing was written
	}
	<-w.done
}
