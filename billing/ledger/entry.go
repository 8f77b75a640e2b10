package ledger

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// entry is a recorded segment as SQLite's store keeps it in blobs, one after the other.
type entry struct {
	uid                  string
	generation, sequence int64
	record               int64
	at                   int64  // when it was recorded, Unix milliseconds
	data                 []byte // contents
	digest               int64  // not encoded with it
}

// compareEntries is the canonical order within a day.
func compareEntries(a, b *entry) int {
	if c := strings.Compare(a.uid, b.uid); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(a.generation, b.generation), cmp.Compare(a.sequence, b.sequence))
}

func (e *entry) id() usagev1.ID {
	return usagev1.ID{PodUID: e.uid, Generation: e.generation, Sequence: e.sequence}
}

// appendEntry encodes an entry: the pod's UID, in 16 bytes after a zero where it is a UUID, with its length before it
// otherwise; generation, sequence, record, time, and contents with their length before them.
func appendEntry(b []byte, e *entry) []byte {
	var raw [16]byte
	if rawUUID(e.uid, &raw) {
		b = append(append(b, 0), raw[:]...)
	} else {
		b = appendString(b, e.uid)
	}
	for _, n := range [...]int64{e.generation, e.sequence, e.record, e.at} {
		b = binary.AppendVarint(b, n)
	}
	b = binary.AppendUvarint(b, uint64(len(e.data)))
	return append(b, e.data...)
}

var errEntry = errors.New("an entry is cut off: the file is damaged")

// decodeEntries decodes a blob's entries onto a list. Their contents are the blob's.
func decodeEntries(list []entry, blob []byte) ([]entry, error) {
	// The UIDs are one text, of which each entry has a part: one allocation rather than one for each.
	first := len(list)
	ends := make([]int, 0, 1024)
	uids := make([]byte, 0, 36*1024)
	r := reader{rest: blob}
	for len(r.rest) > 0 {
		if n := r.uint(); n == 0 && len(r.rest) >= 16 {
			uids = appendUUID(uids, r.rest[:16])
			r.rest = r.rest[16:]
		} else if n > 0 && n <= uint64(len(r.rest)) {
			uids = append(uids, r.rest[:n]...)
			r.rest = r.rest[n:]
		} else {
			return nil, errEntry
		}
		ends = append(ends, len(uids))
		list = append(list, entry{generation: r.int(), sequence: r.int(), record: r.int(), at: r.int(), data: r.bytes()})
		if r.err != nil {
			return nil, errEntry
		}
	}
	text, from := string(uids), 0
	for i, end := range ends {
		list[first+i].uid = text[from:end]
		from = end
	}
	return list, nil
}

// rawUUID reads a UUID as Kubernetes writes them, and reports whether it is one.
func rawUUID(uid string, raw *[16]byte) bool {
	if len(uid) != 36 || uid[8] != '-' || uid[13] != '-' || uid[18] != '-' || uid[23] != '-' {
		return false
	}
	at := 0
	for i := 0; i < 36; i += 2 {
		if uid[i] == '-' {
			i++
		}
		high, low := hexDigit(uid[i]), hexDigit(uid[i+1])
		if high > 15 || low > 15 {
			return false
		}
		raw[at] = high<<4 | low
		at++
	}
	return true
}

// hexDigit answers 255 for what isn't one in lower case.
func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}

func appendUUID(b, raw []byte) []byte {
	for i, part := range [...][]byte{raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:16]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return b
}

// podKey is how the index of ids has a pod's UID: 16 bytes where it is a UUID, its text otherwise.
func podKey(uid string) any {
	var raw [16]byte
	if rawUUID(uid, &raw) {
		return raw[:]
	}
	return uid
}

// podOf is podKey back.
func podOf(key any) string {
	if raw, is := key.([]byte); is {
		return string(appendUUID(nil, raw))
	}
	text, _ := key.(string)
	return text
}

// headOf reads what contents begin with: whose segment it is, and when it was (Unix milliseconds).
func headOf(data []byte) (namespace, pod []byte, start, end int64, err error) {
	if len(data) == 0 {
		return nil, nil, 0, 0, errCut
	}
	r := reader{rest: data[1:]}
	namespace, pod = r.bytes(), r.bytes()
	start = r.int()
	end = start + int64(r.uint())
	return namespace, pod, start, end, r.err
}
