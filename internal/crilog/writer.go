package crilog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Defaults for a log's size on disk.
const (
	DefaultMaxBytes = 10 << 20
	DefaultMaxFiles = 5
)

// Writer appends entries to a log and rotates it.
type Writer struct {
	path     string
	maxBytes int64
	maxFiles int

	mu      sync.Mutex // guards what follows
	file    *os.File   // nil when it could not be opened; the next write tries again
	size    int64
	buf     []byte
	dropped int64 // bytes of text lost since the last successful write
	cause   error // why
}

// NewWriter opens or makes the log and its directory. A file holds at most maxBytes; at most maxFiles
// are kept, path included. Zeros stand for the defaults.
func NewWriter(path string, maxBytes int64, maxFiles int) (*Writer, error) {
	if maxBytes <= 0 {
		maxBytes = DefaultMaxBytes
	}
	if maxFiles <= 0 {
		maxFiles = DefaultMaxFiles
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("log directory: %w", err)
	}
	w := &Writer{path: path, maxBytes: maxBytes, maxFiles: maxFiles}
	return w, w.openLocked(path)
}

// Copy writes what it reads as entries of a stream until r ends. A write that fails (a full disk) loses
// its lines, and an entry says how many bytes once there is room again; it never stops the copying,
// because a container that writes to a pipe nobody reads would hang.
func (w *Writer) Copy(stream Stream, r io.Reader) error {
	chunk := make([]byte, 4*MaxEntry)
	var line []byte // begun, without a newline yet; shorter than MaxEntry
	for {
		n, err := r.Read(chunk)
		if n > 0 {
			line = w.write(stream, line, chunk[:n], false)
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			w.write(stream, line, nil, true)
			return nil
		default:
			w.write(stream, line, nil, true)
			return fmt.Errorf("log input %s: %w", stream, err)
		}
	}
}

// write splits line+more into entries, writes them and answers the rest that has no newline yet. At the
// end that rest is written as a piece, so that a reader gets back exactly the bytes that were written.
func (w *Writer) write(stream Stream, line, more []byte, end bool) []byte {
	now := time.Now()
	line = append(line, more...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = w.buf[:0]
	rest, text := line, 0
	for len(rest) > 0 {
		i := bytes.IndexByte(rest, '\n')
		switch {
		case i >= 0 && i <= MaxEntry:
			w.buf = appendEntry(w.buf, now, stream, false, rest[:i])
			rest = rest[i+1:]
			text += i + 1
		case len(rest) > MaxEntry:
			w.buf = appendEntry(w.buf, now, stream, true, rest[:MaxEntry])
			rest = rest[MaxEntry:]
			text += MaxEntry
		case end:
			w.buf = appendEntry(w.buf, now, stream, true, rest)
			text += len(rest)
			rest = nil
		default:
			w.appendLocked(text)
			return append(line[:0], rest...)
		}
	}
	w.appendLocked(text)
	return line[:0]
}

// appendLocked writes w.buf, which stands for so many bytes of text.
func (w *Writer) appendLocked(text int) {
	if len(w.buf) == 0 {
		return
	}
	if w.dropped > 0 {
		note := fmt.Sprintf("swell-logger: %d bytes of log were lost: %s", w.dropped, strings.ReplaceAll(w.cause.Error(), "\n", "; "))
		w.buf = append(appendEntry(nil, time.Now(), Stderr, false, []byte(note)), w.buf...)
	}
	if err := w.putLocked(w.buf); err != nil {
		w.dropped += int64(text)
		w.cause = err
		return
	}
	w.dropped, w.cause = 0, nil
}

// putLocked writes whole entries, turning to a new file before one that has no room in this one.
func (w *Writer) putLocked(b []byte) error {
	if w.file == nil {
		if err := w.openLocked(w.path); err != nil {
			return err
		}
	}
	for len(b) > 0 {
		n := len(b)
		if room := w.maxBytes - w.size; int64(n) > room {
			n = bytes.LastIndexByte(b[:max(room, 0)], '\n') + 1
		}
		if n == 0 && w.size > 0 {
			if err := w.rotateLocked(); err != nil {
				return err
			}
			continue
		}
		if n == 0 { // an entry that is larger than a file
			n = bytes.IndexByte(b, '\n') + 1
		}
		if _, err := w.file.Write(b[:n]); err != nil {
			// Half an entry must not run into the next one.
			return errors.Join(err, w.file.Truncate(w.size))
		}
		w.size += int64(n)
		b = b[n:]
	}
	return nil
}

func (w *Writer) openLocked(path string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("log file: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errors.Join(fmt.Errorf("log file %s: another writer has it: %w", path, err), f.Close())
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("log file: %w", err), f.Close())
	}
	w.file, w.size = f, info.Size()
	return nil
}

// rotateLocked makes the next file aside and locks it before it gets its name: whoever finds a file at
// path finds it locked.
func (w *Writer) rotateLocked() error {
	old, next := w.file, w.path+".next"
	if err := w.openLocked(next); err != nil {
		return err
	}
	for i := w.maxFiles - 1; i > 0; i-- {
		if err := os.Rename(rotated(w.path, i-1), rotated(w.path, i)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return errors.Join(fmt.Errorf("log rotation: %w", err), old.Close())
		}
	}
	if err := os.Rename(next, w.path); err != nil {
		return errors.Join(fmt.Errorf("log rotation: %w", err), old.Close())
	}
	return old.Close()
}

// Close ends the log: readers that follow it reach their end.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return nil
	}
	f := w.file
	w.file = nil
	return f.Close()
}
