package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
)

const (
	format     = "swell journal 1\n"
	headerSize = 12
	maxBody    = 64 << 20
)

// mark begins a frame. It isn't UTF-8, so it stands in no body.
var mark = []byte{0xff, 'S', 'W', 0xfe}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendFrame(b []byte, records []record) ([]byte, error) {
	body, err := json.Marshal(records)
	if err != nil {
		return b, err
	}
	if len(body) > maxBody {
		return b, fmt.Errorf("a frame of %d bytes", len(body))
	}
	b = append(b, mark...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(body, castagnoli))
	return append(b, body...), nil
}

// CorruptError is damage that no crash explains.
type CorruptError struct {
	Path   string
	Offset int64 // of what can't be read
	Cause  error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal %s: damaged at byte %d: %v; move the file away to go on without what it holds", e.Path, e.Offset, e.Cause)
}

func (e *CorruptError) Unwrap() error { return e.Cause }

// readFrames calls visit for each frame and answers the length of what is whole. What follows it is a torn
// tail if nothing readable comes after, otherwise a CorruptError without a path.
func readFrames(data []byte, visit func([]record) error) (whole int64, err error) {
	// Some file systems leave zeros where a crash kept them from writing.
	if written := bytes.TrimRight(data, "\x00"); len(written) < len(format) && bytes.HasPrefix([]byte(format), written) {
		return 0, nil // not even the first line was written
	}
	if !bytes.HasPrefix(data, []byte(format)) {
		return 0, &CorruptError{Cause: errors.New("not a journal")}
	}
	at := len(format)
	for at < len(data) {
		records, size, err := decodeFrame(data[at:])
		if err != nil {
			if later := nextFrame(data, at+1); later >= 0 {
				return int64(at), &CorruptError{Offset: int64(at), Cause: fmt.Errorf("%w, though a whole frame follows at byte %d", err, later)}
			}
			return int64(at), nil
		}
		if err := visit(records); err != nil {
			return int64(at), &CorruptError{Offset: int64(at), Cause: err}
		}
		at += size
	}
	return int64(at), nil
}

func decodeFrame(b []byte) (records []record, size int, err error) {
	if len(b) < headerSize || !bytes.HasPrefix(b, mark) {
		return nil, 0, errors.New("no frame begins here")
	}
	n := int64(binary.BigEndian.Uint32(b[4:]))
	if n > maxBody || int64(len(b)) < headerSize+n {
		return nil, 0, fmt.Errorf("a frame of %d bytes where %d are left", n, len(b)-headerSize)
	}
	body := b[headerSize : headerSize+n]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(b[8:]) {
		return nil, 0, errors.New("checksum differs")
	}
	return records, headerSize + int(n), json.Unmarshal(body, &records)
}

// nextFrame answers where the first whole frame at or after from begins, -1 if there is none.
func nextFrame(data []byte, from int) int {
	for at := from; at < len(data); at++ {
		i := bytes.Index(data[at:], mark)
		if i < 0 {
			return -1
		}
		at += i
		if _, _, err := decodeFrame(data[at:]); err == nil {
			return at
		}
	}
	return -1
}
