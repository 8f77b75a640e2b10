package crilog

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// Options say what of a log is read and where it goes.
type Options struct {
	Tail       int64     // the last so many lines; negative: all
	Since      time.Time // entries of that time and later; zero: all
	Follow     bool      // go on until the writer has ended or ctx does
	Timestamps bool      // put its time before each line
	LimitBytes int64     // stop after so many bytes; 0: no limit
	Stdout     io.Writer // nil: left out
	Stderr     io.Writer // nil: left out
}

// Copy reads the log at path, its rotated predecessors included, from the oldest line that is asked for.
// A log that doesn't exist is os.ErrNotExist. The end of ctx is the end of following, not an error.
func Copy(ctx context.Context, path string, o Options) error {
	files, err := openAll(path)
	if err != nil {
		return err
	}
	defer func() {
		for _, f := range files {
			f.Close() //nolint:errcheck // it was only read
		}
	}()
	start, err := seekTail(files, o.Tail)
	if err != nil {
		return err
	}
	p := newPrinter(o)
	for _, f := range files[start:] {
		if err := p.drain(ctx, f); err != nil {
			return p.end(ctx, err)
		}
		if f != files[len(files)-1] {
			p.rest = p.rest[:0] // a rotated file's unfinished entry stays unfinished
		}
	}
	if !o.Follow {
		return p.end(ctx, nil)
	}
	last := files[len(files)-1]
	files = files[:len(files)-1]
	return p.end(ctx, p.follow(ctx, path, last))
}

// openAll opens the log's files, oldest first. The newest is opened first: a file that is rotated
// meanwhile is then met twice, and known by its inode, rather than missed.
func openAll(path string) ([]*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	files := []*os.File{f}
	for i := 1; ; i++ {
		f, err := os.Open(rotated(path, i))
		if err != nil {
			break
		}
		if same(f, files[0]) {
			f.Close() //nolint:errcheck // it was only read
			continue
		}
		files = append([]*os.File{f}, files...)
	}
	return files, nil
}

func same(a, b *os.File) bool {
	x, err1 := a.Stat()
	y, err2 := b.Stat()
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// seekTail places every file at its first wanted line and answers the index of the first wanted file.
// A line that goes over a rotation counts once in each file.
func seekTail(files []*os.File, tail int64) (int, error) {
	if tail < 0 {
		return 0, nil
	}
	for i := len(files) - 1; i >= 0; i-- {
		starts, err := lineStarts(files[i], tail)
		if err != nil {
			return 0, err
		}
		n := int64(len(starts))
		if n < tail && i > 0 {
			if _, err := files[i].Seek(0, io.SeekStart); err != nil {
				return 0, err
			}
			tail -= n
			continue
		}
		whence := io.SeekStart
		var offset int64
		if tail == 0 {
			whence = io.SeekEnd
		} else if n > 0 {
			offset = starts[max(0, n-tail)]
		}
		_, err = files[i].Seek(offset, whence)
		return i, err
	}
	return 0, nil
}

// lineStarts answers the offsets of at least the last n lines that f holds, in order.
func lineStarts(f *os.File, n int64) ([]int64, error) {
	var starts []int64
	var offset int64
	begun := false // the entry before was a piece
	r := bufio.NewReaderSize(f, 4*MaxEntry)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				return starts, nil
			}
			return nil, err
		}
		if e, err := parseEntry(line[:len(line)-1]); err == nil {
			if !begun {
				starts = append(starts, offset)
				if int64(len(starts)) > 2*n+1024 {
					starts = append(starts[:0], starts[int64(len(starts))-n:]...)
				}
			}
			begun = e.partial
		}
		offset += int64(len(line))
	}
}
