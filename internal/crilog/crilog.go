// Package crilog writes and reads container logs in the CRI format, one entry a line:
//
//	2026-01-02T15:04:05.000000000Z stdout F text of a whole line
//	2026-01-02T15:04:05.000000000Z stderr P a piece of a line that goes on in the next entry
//
// A log is a file, path, and its rotated predecessors, path.1 (the newest) to path.N. Its writer holds
// a lock (flock) on path for as long as it lives: a reader that follows the log and finds the lock free
// knows that no more will come.
package crilog

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Stream is where a line was written.
type Stream string

// The two streams of a container.
const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
)

// MaxEntry is the length in bytes from which a line is written in pieces.
const MaxEntry = 16 << 10

// timeFormat is RFC 3339 with all nine digits, so that timestamps align and need no formatting again
// when they are shown.
const timeFormat = "2006-01-02T15:04:05.000000000Z07:00"

var errMalformed = errors.New("log entry: malformed")

// entry is a parsed line. Its slices share the line's memory.
type entry struct {
	stamp   []byte
	stream  Stream
	partial bool
	text    []byte
}

func appendEntry(b []byte, at time.Time, stream Stream, partial bool, text []byte) []byte {
	b = at.UTC().AppendFormat(b, timeFormat)
	b = append(b, ' ')
	b = append(b, stream...)
	if partial {
		b = append(b, " P "...)
	} else {
		b = append(b, " F "...)
	}
	b = append(b, text...)
	return append(b, '\n')
}

// parseEntry takes a line without its newline.
func parseEntry(line []byte) (entry, error) {
	stamp, rest, ok := bytes.Cut(line, []byte{' '})
	stream, rest, ok2 := bytes.Cut(rest, []byte{' '})
	tag, text, ok3 := bytes.Cut(rest, []byte{' '})
	if !ok || !ok2 || !ok3 || len(tag) == 0 {
		return entry{}, errMalformed
	}
	e := entry{stamp: stamp, text: text, partial: tag[0] == 'P'}
	switch Stream(stream) {
	case Stdout:
		e.stream = Stdout
	case Stderr:
		e.stream = Stderr
	default:
		return entry{}, errMalformed
	}
	return e, nil
}

func (e entry) time() (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, string(e.stamp))
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return at, nil
}

// rotated names the i-th predecessor; the 0th is the log itself.
func rotated(path string, i int) string {
	if i == 0 {
		return path
	}
	return path + "." + strconv.Itoa(i)
}
