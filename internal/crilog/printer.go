package crilog

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// errLimit ends a reading that has reached its limit of bytes.
var errLimit = errors.New("log: limit of bytes reached")

// printer turns entries into text.
type printer struct {
	Options
	left    int64 // bytes that may still be written; negative: no limit
	rest    []byte
	chunk   []byte
	midLine map[Stream]bool // the stream's last entry was a piece
	out     []byte
	outTo   io.Writer
}

func newPrinter(o Options) *printer {
	p := &printer{Options: o, left: -1, chunk: make([]byte, 4*MaxEntry), midLine: map[Stream]bool{}}
	if o.LimitBytes > 0 {
		p.left = o.LimitBytes
	}
	return p
}

// drain reads f to its present end and delivers what is whole.
func (p *printer) drain(ctx context.Context, f *os.File) error {
	for ctx.Err() == nil {
		n, err := f.Read(p.chunk)
		p.rest = append(p.rest, p.chunk[:n]...)
		if perr := p.entries(); perr != nil {
			return perr
		}
		if errors.Is(err, io.EOF) {
			return p.flush()
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// entries takes the whole entries out of rest. One that can't be parsed is passed over, as the kubelet
// does: it is what a crash in the middle of a write leaves.
func (p *printer) entries() error {
	b := p.rest
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			break
		}
		if e, err := parseEntry(b[:i]); err == nil {
			if err := p.print(e); err != nil {
				return err
			}
		}
		b = b[i+1:]
	}
	p.rest = append(p.rest[:0], b...)
	return nil
}

func (p *printer) print(e entry) error {
	if !p.Since.IsZero() {
		at, err := e.time()
		if err != nil || at.Before(p.Since) {
			return nil
		}
	}
	to := p.Stdout
	if e.stream == Stderr {
		to = p.Stderr
	}
	if to == nil {
		return nil
	}
	if to != p.outTo || len(p.out) > 2*MaxEntry {
		if err := p.flush(); err != nil {
			return err
		}
		p.outTo = to
	}
	n := len(p.out)
	if p.Timestamps && !p.midLine[e.stream] {
		p.out = append(append(p.out, e.stamp...), ' ')
	}
	p.out = append(p.out, e.text...)
	if !e.partial {
		p.out = append(p.out, '\n')
	}
	p.midLine[e.stream] = e.partial
	if p.left < 0 {
		return nil
	}
	if added := int64(len(p.out) - n); added >= p.left {
		p.out = p.out[:int64(n)+p.left]
		return errors.Join(p.flush(), errLimit)
	}
	p.left -= int64(len(p.out) - n)
	return nil
}

func (p *printer) flush() error {
	if len(p.out) == 0 {
		return nil
	}
	_, err := p.outTo.Write(p.out)
	p.out = p.out[:0]
	return err
}

// end flushes and tells ends that were asked for from errors.
func (p *printer) end(ctx context.Context, err error) error {
	if errors.Is(err, errLimit) {
		return nil
	}
	if err != nil && ctx.Err() != nil {
		err = nil
	}
	return errors.Join(err, p.flush())
}

// pollEvery is how often a follower looks without having been told: the kernel tells of the writer's
// end before it has freed the writer's lock, and some filesystems tell nothing.
const pollEvery = 250 * time.Millisecond

// follow goes on from f, the newest file, and closes it.
func (p *printer) follow(ctx context.Context, path string, f *os.File) error {
	defer func() { f.Close() }() //nolint:errcheck // it was only read
	w := newWatch(path)
	defer w.close()
	for {
		gone := writerGone(f)
		next := successor(path, f)
		// What was written before the writer ended, or turned to the next file, is there by now.
		if err := p.drain(ctx, f); err != nil {
			return err
		}
		switch {
		case next != nil:
			f.Close() //nolint:errcheck // it was only read
			f = next
			p.rest = p.rest[:0]
			continue
		case gone && current(path, f):
			return nil
		}
		if !w.wait(ctx) {
			return nil
		}
	}
}
