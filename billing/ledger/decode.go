package ledger

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// decoder reads contents. Texts that many segments share are made once, and so are sets of labels, which
// nobody may change. The zero value is ready.
type decoder struct {
	texts  map[string]string
	labels map[string]map[string]string
}

// maxInterned bounds each of a decoder's maps: a full one is begun anew.
const maxInterned = 8192

func (d *decoder) text(b []byte, last string) string {
	if string(b) == last {
		return last
	}
	if s, ok := d.texts[string(b)]; ok {
		return s
	}
	if len(d.texts) >= maxInterned || d.texts == nil {
		d.texts = map[string]string{}
	}
	s := string(b)
	d.texts[s] = s
	return s
}

var errCut = errors.New("contents: they are cut off")

// reader takes fields off contents; the first problem stands.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) bytes() []byte {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 || n > uint64(len(r.rest)-size) {
		r.err, r.rest = errCut, nil
		return nil
	}
	b := r.rest[size : size+int(n)]
	r.rest = r.rest[size+int(n):]
	return b
}

func (r *reader) int() int64 {
	n, size := binary.Varint(r.rest)
	if size <= 0 {
		r.err, r.rest = errCut, nil
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *reader) uint() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.err, r.rest = errCut, nil
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

// segment decodes contents into s, whose id is set, and whose texts are those of the segment before. It reports
// whether the filter chooses it; if it doesn't, s has some of its fields only.
func (d *decoder) segment(data []byte, f *Filter, s *usagev1.Segment) (bool, error) {
	if len(data) == 0 || data[0] != contentsVersion {
		return false, fmt.Errorf("segment %s: contents of a version that this program doesn't know: want %d", s.ID, contentsVersion)
	}
	r := reader{rest: data[1:]}
	s.Namespace = d.text(r.bytes(), s.Namespace)
	pod := r.bytes()
	start := r.int()
	s.Start = time.UnixMilli(start).UTC()
	s.End = time.UnixMilli(start + int64(r.uint())).UTC()
	if r.err != nil {
		return false, fmt.Errorf("segment %s: %w", s.ID, r.err)
	}
	if (f.Namespace != "" && s.Namespace != f.Namespace) || (f.Pod != "" && string(pod) != f.Pod) || !f.touches(s.Start, s.End) {
		return false, nil
	}
	if string(pod) != s.Pod {
		s.Pod = string(pod)
	}
	s.Node = d.text(r.bytes(), s.Node)
	s.ComputeClass = d.text(r.bytes(), s.ComputeClass)
	s.QoS = d.text(r.bytes(), s.QoS)
	s.CPUMilli, s.MemoryBytes = r.int(), r.int()
	s.Burst = usagev1.Burst{Millis: r.int(), CPUMillis: r.int(), MemoryMillis: r.int()}
	s.GPU.Model = d.text(r.bytes(), s.GPU.Model)
	s.GPU.Milli, s.GPU.MemoryMiB, s.StorageBytes = r.int(), r.int(), r.int()
	labels := r.bytes()
	s.Region = d.text(r.bytes(), s.Region)
	if r.err == nil && len(r.rest) > 0 {
		r.err = errors.New("contents: something follows them")
	}
	if r.err == nil {
		s.Labels, r.err = d.labelSet(labels)
	}
	if r.err != nil {
		return false, fmt.Errorf("segment %s: %w", s.ID, r.err)
	}
	return true, nil
}

func (d *decoder) labelSet(b []byte) (map[string]string, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if set, ok := d.labels[string(b)]; ok {
		return set, nil
	}
	set := map[string]string{}
	for r := (reader{rest: b}); len(r.rest) > 0; {
		k, v := r.bytes(), r.bytes()
		if r.err != nil {
			return nil, fmt.Errorf("labels: %w", r.err)
		}
		set[d.text(k, "")] = d.text(v, "")
	}
	if len(d.labels) >= maxInterned || d.labels == nil {
		d.labels = map[string]map[string]string{}
	}
	d.labels[string(b)] = set
	return set, nil
}

// labelsOfJSON is labelSet from a JSON object; empty stands for no labels.
func (d *decoder) labelsOfJSON(b []byte) (map[string]string, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if set, ok := d.labels[string(b)]; ok {
		return set, nil
	}
	var set map[string]string
	if err := json.Unmarshal(b, &set); err != nil {
		return nil, fmt.Errorf("labels: %w", err)
	}
	if len(d.labels) >= maxInterned || d.labels == nil {
		d.labels = map[string]map[string]string{}
	}
	d.labels[string(b)] = set
	return set, nil
}
