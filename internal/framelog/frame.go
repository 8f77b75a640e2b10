// Package framelog keeps a log in a file that is only appended to, so that a crash at any moment leaves
// whole what was synced before.
//
// The file begins with a line that names its format and goes on with frames, one per group of changes that
// were made durable together, by one sync:
//
//	mark, 4 bytes | length of the body, 4 bytes | CRC-32C of the body, 4 bytes | body
//
// A frame is written when the one before it is on the disk. So a crash can only leave the last one torn;
// nobody was told of what is in it, and it is cut off at the next start. A frame that can't be read although
// a readable one follows is damage, which is told with its place.
package framelog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

const (
	// HeaderSize is what stands before a body.
	HeaderSize = 12
	maxBody    = 64 << 20
)

// Mark begins a frame.
var Mark = []byte{0xff, 'S', 'W', 0xfe}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendFrame appends a frame with this body.
func AppendFrame(b, body []byte) ([]byte, error) {
	if len(body) == 0 || len(body) > maxBody {
		return b, fmt.Errorf("a frame of %d bytes", len(body))
	}
	b = append(b, Mark...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(body, castagnoli))
	return append(b, body...), nil
}

// CorruptError is damage that no crash explains.
type CorruptError struct {
	Noun   string // of the log
	Path   string
	Offset int64 // of what can't be read
	Next   int64 // where readable frames go on, 0 where none do
	Cause  error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s %s: damaged at byte %d: %v; move the file away to go on without what it holds", e.Noun, e.Path, e.Offset, e.Cause)
}

func (e *CorruptError) Unwrap() error { return e.Cause }

// Read calls visit for each frame's body and its place in the data, and answers the length of what is whole.
// What follows it is a torn tail if nothing readable comes after, otherwise a CorruptError.
func (f *File) Read(data []byte, format string, visit func(body []byte, at int64) error) (whole int64, err error) {
	// Some file systems leave zeros where a crash kept them from writing.
	if written := bytes.TrimRight(data, "\x00"); len(written) < len(format) && bytes.HasPrefix([]byte(format), written) {
		return 0, nil // not even the first line was written
	}
	if !bytes.HasPrefix(data, []byte(format)) {
		return 0, f.corrupt(0, max(0, nextFrame(data, 0)), errors.New("not of this format"))
	}
	return f.ReadFrom(data, int64(len(format)), visit)
}

// ReadFrom reads frames from a place on, as Read does.
func (f *File) ReadFrom(data []byte, from int64, visit func(body []byte, at int64) error) (whole int64, err error) {
	at := int(from)
	for at < len(data) {
		body, err := decodeFrame(data[at:])
		if err != nil {
			if later := nextFrame(data, at+1); later >= 0 {
				return int64(at), f.corrupt(at, later, fmt.Errorf("%w, though a whole frame follows at byte %d", err, later))
			}
			return int64(at), nil
		}
		next := at + HeaderSize + len(body)
		if err := visit(body, int64(at+HeaderSize)); err != nil {
			return int64(at), f.corrupt(at, next, err)
		}
		at = next
	}
	return int64(at), nil
}

func (f *File) corrupt(at, next int, cause error) error {
	return &CorruptError{Noun: f.noun, Path: f.path, Offset: int64(at), Next: int64(next), Cause: cause}
}

func decodeFrame(b []byte) (body []byte, err error) {
	if len(b) < HeaderSize || !bytes.HasPrefix(b, Mark) {
		return nil, errors.New("no frame begins here")
	}
	n := int64(binary.BigEndian.Uint32(b[4:]))
	if n == 0 { // zeros where a crash kept a file system from writing; the checksum of nothing is 0
		return nil, errors.New("a frame of nothing")
	}
	if n > maxBody || int64(len(b)) < HeaderSize+n {
		return nil, fmt.Errorf("a frame of %d bytes where %d are left", n, len(b)-HeaderSize)
	}
	body = b[HeaderSize : HeaderSize+n]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(b[8:]) {
		return nil, errors.New("checksum differs")
	}
	return body, nil
}

// nextFrame answers where the first whole frame at or after from begins, -1 if there is none.
func nextFrame(data []byte, from int) int {
	for at := from; at < len(data); at++ {
		i := bytes.Index(data[at:], Mark)
		if i < 0 {
			return -1
		}
		at += i
		if _, err := decodeFrame(data[at:]); err == nil {
			return at
		}
	}
	return -1
}
