package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// row is a closed segment on its way into a store.
type row struct {
	segment    *usagev1.Segment
	start, end int64  // Unix milliseconds
	data       []byte // see appendContents
	digest     int64  // of what a second copy must repeat
	verdict    verdict
	record     int64 // where the store says so
}

type verdict uint8

const (
	recorded verdict = iota
	repeated         // known, with the same contents
	conflicting
	expired // it ended before the horizon, up to which days have been dropped
)

func newRow(s *usagev1.Segment) (*row, error) {
	r := &row{segment: s, start: s.Start.UnixMilli(), end: s.End.UnixMilli()}
	switch {
	case s.Open():
		return nil, fmt.Errorf("segment %s: an open segment can't be recorded", s.ID)
	case r.end < r.start:
		return nil, fmt.Errorf("segment %s: it ends at %s, before it starts at %s", s.ID, s.End.UTC().Format(time.RFC3339Nano), s.Start.UTC().Format(time.RFC3339Nano))
	case s.PodUID == "":
		return nil, fmt.Errorf("segment %s: podUID is empty", s.ID)
	}
	if err := checkTexts(s); err != nil {
		return nil, fmt.Errorf("segment %s: %w", s.ID, err)
	}
	r.data = appendContents(make([]byte, 0, 192), s)
	id := binary.AppendVarint(binary.AppendVarint(appendString(nil, s.PodUID), s.Generation), s.Sequence)
	sum := sha256.Sum256(append(id, r.data...))
	r.digest = int64(binary.BigEndian.Uint64(sum[:]))
	r.data = appendString(r.data, s.Region) // as the control plane knew it when it arrived: not the node's word
	return r, nil
}

// checkTexts refuses what PostgreSQL can't keep as text.
func checkTexts(s *usagev1.Segment) error {
	check := func(field, text string) error {
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return fmt.Errorf("%s: %q isn't text: want UTF-8 without NUL", field, text)
		}
		return nil
	}
	for _, f := range [...][2]string{
		{"podUID", s.PodUID}, {"namespace", s.Namespace}, {"pod", s.Pod}, {"node", s.Node}, {"computeClass", s.ComputeClass},
		{"qos", s.QoS}, {"gpu.model", s.GPU.Model}, {"region", s.Region},
	} {
		if err := check(f[0], f[1]); err != nil {
			return err
		}
	}
	for k, v := range s.Labels {
		if err := check("labels", k); err != nil {
			return err
		}
		if err := check("labels."+k, v); err != nil {
			return err
		}
	}
	return nil
}

// contentsVersion is the first byte of contents. Digests are of contents: a later version that adds a field writes
// this one where the field is zero, so that a copy of an old segment stays the same.
const contentsVersion = 1

// appendContents encodes what a segment says beyond its id: what filters ask for comes first. Integers are varints,
// texts have their length before them.
//
//	version, namespace, pod, start (ms), duration (ms), node, class, QoS, milli-CPU, bytes of memory, burst (3),
//	GPU (model, 2), bytes of storage, labels (their length; key and value each, sorted by key), region
//
// It leaves out the last, the region.
func appendContents(b []byte, s *usagev1.Segment) []byte {
	b = append(b, contentsVersion)
	b = appendString(appendString(b, s.Namespace), s.Pod)
	start := s.Start.UnixMilli()
	b = binary.AppendVarint(b, start)
	b = binary.AppendUvarint(b, uint64(s.End.UnixMilli()-start))
	b = appendString(appendString(appendString(b, s.Node), s.ComputeClass), s.QoS)
	for _, n := range [...]int64{s.CPUMilli, s.MemoryBytes, s.Burst.Millis, s.Burst.CPUMillis, s.Burst.MemoryMillis} {
		b = binary.AppendVarint(b, n)
	}
	b = appendString(b, s.GPU.Model)
	for _, n := range [...]int64{s.GPU.Milli, s.GPU.MemoryMiB, s.StorageBytes} {
		b = binary.AppendVarint(b, n)
	}
	var labels []byte
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		labels = appendString(appendString(labels, k), s.Labels[k])
	}
	b = binary.AppendUvarint(b, uint64(len(labels)))
	return append(b, labels...)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
