package journal

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/internal/bootclock"
)

// record is one entry of the file; exactly one field is set, except that a resize sets Stop and Start.
type record struct {
	Stop   *stop             `json:"stop,omitempty"`
	Start  *usagev1.Segment  `json:"start,omitempty"`
	Ack    []usagev1.ID      `json:"ack,omitempty"`
	Anchor *bootclock.Anchor `json:"anchor,omitempty"`
	// Next carries the sequence of a pod without a segment of its own, when the file is written anew.
	Next *next `json:"next,omitempty"`
}

type stop struct {
	PodUID string    `json:"podUID"`
	At     time.Time `json:"at"`
}

type next struct {
	PodUID   string    `json:"podUID"`
	Sequence int64     `json:"sequence"`
	Boundary time.Time `json:"boundary"`
}

const (
	headerSize = 8
	maxRecord  = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendRecord(b []byte, r record) ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return b, err
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(body, castagnoli))
	return append(b, body...), nil
}

// CorruptError is damage that no crash explains.
type CorruptError struct {
	Path   string
	Offset int64
	Cause  error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal %s: damaged at byte %d: %v; move the file away to go on without what it holds", e.Path, e.Offset, e.Cause)
}

func (e *CorruptError) Unwrap() error { return e.Cause }

var errChecksum = errors.New("checksum differs")

// readRecords calls visit for each record and answers the length of what is whole. What follows it is a
// torn tail if nothing readable comes after, otherwise an error.
func readRecords(path string, data []byte, visit func(record) error) (int64, error) {
	var at int64
	for at < int64(len(data)) {
		r, size, err := decodeRecord(data[at:])
		if err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) || (errors.Is(err, errChecksum) && at+size == int64(len(data))) || zeros(data[at:]) {
				return at, nil
			}
			return at, &CorruptError{Path: path, Offset: at, Cause: err}
		}
		if err := visit(r); err != nil {
			return at, &CorruptError{Path: path, Offset: at, Cause: err}
		}
		at += size
	}
	return at, nil
}

// zeros reports a tail that was allocated but never written, as some file systems leave it.
func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func decodeRecord(b []byte) (r record, size int64, err error) {
	if len(b) < headerSize {
		return r, 0, io.ErrUnexpectedEOF
	}
	n := int64(binary.BigEndian.Uint32(b))
	if n == 0 || n > maxRecord {
		return r, 0, fmt.Errorf("a record of %d bytes", n)
	}
	size = headerSize + n
	if int64(len(b)) < size {
		return r, size, io.ErrUnexpectedEOF
	}
	body := b[headerSize:size]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(b[4:]) {
		return r, size, errChecksum
	}
	return r, size, json.Unmarshal(body, &r)
}
