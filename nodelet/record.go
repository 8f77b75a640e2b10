package nodelet

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/internal/framelog"
)

// Records keep a node's pods over the end of this process:
//
//	<DataDir>/pods.log      a log of what each pod is, one frame for what was written together
//	          pods/<uid>/   files that the pod's containers share, and their termination messages
//
// A frame's body is a list of entries:
//
//	kind, 1 byte | length of the UID, uvarint | UID | length of the rest, uvarint | the rest
//
// Of several entries of a kind a pod's latest counts. A pod exists for this node from the moment that its
// assignment is there until its removal is. What entries that no longer count take up is given back when they
// are three quarters of the log.
type records struct {
	dir string // of the pods' folders

	writer    sync.Mutex // held by who writes, for all who wait; taken before mu
	file      *framelog.File
	compactAt int64              // the size below which the log isn't worth writing anew
	places    map[string]*places // of what the file holds
	live      int64              // bytes of what counts
	body, out []byte

	mu    sync.Mutex // guards queue
	queue []*write
}

type recordKind byte

const (
	recordAssignment recordKind = iota // protobuf of the pod, with its length before; JSON of the rest, if there is any
	recordCheckpoint                   // protobuf; see checkpoint.marshal
	recordRemoval                      // nothing
)

const recordsFormat = "swell pods 1\n"

// recordsCompactAt is the size from which a log may be written anew.
const recordsCompactAt = 1 << 20

// place is where an entry's rest stands in the file.
type place struct {
	at   int64
	size int
}

type places [recordRemoval]place

// entry is one thing to write down.
type entry struct {
	kind recordKind
	uid  string
	rest []byte
}

// write is entries that wait for the disk.
type write struct {
	entries []entry
	done    bool
	err     error
}

func newRecords(dataDir string) *records {
	return &records{dir: filepath.Join(dataDir, "pods"), compactAt: recordsCompactAt}
}

func (r *records) podDir(uid string) string { return filepath.Join(r.dir, uid) }

// put makes entries durable. Who comes while another writes shares the next frame.
func (r *records) put(entries ...entry) error {
	w := &write{entries: entries}
	r.mu.Lock()
	r.queue = append(r.queue, w)
	r.mu.Unlock()
	r.writer.Lock()
	defer r.writer.Unlock()
	if w.done {
		return w.err
	}
	r.mu.Lock()
	waiting := r.queue
	r.queue = nil
	r.mu.Unlock()
	err := r.append(waiting)
	for _, other := range waiting {
		other.done, other.err = true, err
	}
	return w.err
}

func (r *records) append(waiting []*write) error {
	if r.file == nil {
		return fmt.Errorf("pods: %w", os.ErrClosed)
	}
	r.body = r.body[:0]
	for _, w := range waiting {
		for i := range w.entries {
			r.body = appendEntry(r.body, &w.entries[i])
		}
	}
	var err error
	if r.out, err = framelog.AppendFrame(r.out[:0], r.body); err != nil {
		return err
	}
	at := r.file.Size() + framelog.HeaderSize
	if err := r.file.Append(r.out); err != nil {
		return err
	}
	if err := eachEntry(r.body, func(e entry, offset int) { r.place(e, at+int64(offset)) }); err != nil {
		return err
	}
	r.compact()
	return nil
}

// place notes where an entry's rest stands.
func (r *records) place(e entry, at int64) {
	p := r.places[e.uid]
	if e.kind == recordRemoval {
		if p != nil {
			r.live -= int64(p[recordAssignment].size + p[recordCheckpoint].size)
			delete(r.places, e.uid)
		}
		return
	}
	if p == nil {
		p = &places{}
		r.places[e.uid] = p
	}
	r.live += int64(len(e.rest) - p[e.kind].size)
	p[e.kind] = place{at, len(e.rest)}
}

func appendEntry(b []byte, e *entry) []byte {
	b = append(b, byte(e.kind))
	b = append(binary.AppendUvarint(b, uint64(len(e.uid))), e.uid...)
	return append(binary.AppendUvarint(b, uint64(len(e.rest))), e.rest...)
}

// eachEntry visits a body's entries, each with where its rest begins.
func eachEntry(body []byte, visit func(e entry, offset int)) error {
	for b := body; len(b) > 0; {
		kind := recordKind(b[0])
		uid, b2, ok := cutBytes(b[1:])
		rest, b3, ok2 := cutBytes(b2)
		if !ok || !ok2 || kind > recordRemoval {
			return errDamaged
		}
		visit(entry{kind, string(uid), rest}, len(body)-len(b3)-len(rest))
		b = b3
	}
	return nil
}

// cutBytes takes bytes with their length before off a buffer.
func cutBytes(b []byte) (value, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	b = b[size:]
	return b[:n], b[n:], true
}

// compact writes the log anew when little of it counts. If that can't be done, it serves as it is, and it is
// tried again when it has doubled.
func (r *records) compact() {
	if size := r.file.Size(); size < r.compactAt || size < 4*r.live {
		return
	}
	r.compactAt = recordsCompactAt
	if err := r.rewrite(); err != nil {
		r.compactAt = 2 * r.file.Size()
	}
}

// rewrite replaces the log by what counts of it.
func (r *records) rewrite() error {
	out := []byte(recordsFormat)
	moved := make(map[string]*places, len(r.places))
	live := int64(0)
	for _, uid := range slices.Sorted(maps.Keys(r.places)) {
		var body []byte
		to := &places{}
		for kind, p := range r.places[uid] {
			if p.size == 0 {
				continue
			}
			rest := make([]byte, p.size)
			if err := r.file.ReadAt(rest, p.at); err != nil {
				return err
			}
			body = appendEntry(body, &entry{recordKind(kind), uid, rest})
			live += int64(p.size)
			to[kind] = place{int64(len(out) + framelog.HeaderSize + len(body) - p.size), p.size}
		}
		if len(body) == 0 {
			continue
		}
		var err error
		if out, err = framelog.AppendFrame(out, body); err != nil {
			return err
		}
		moved[uid] = to
	}
	if err := r.file.Replace(out); err != nil {
		return err
	}
	r.places, r.live = moved, live
	return nil
}

// remove forgets the pod. The record goes first: a folder without one is rubbish.
func (r *records) remove(uid string) error {
	if err := r.put(entry{kind: recordRemoval, uid: uid}); err != nil {
		return fmt.Errorf("record %s: %w", uid, err)
	}
	if err := os.RemoveAll(r.podDir(uid)); err != nil {
		return fmt.Errorf("record %s: %w", uid, err)
	}
	return nil
}

// close leaves the log as it is; nothing is written any more.
func (r *records) close() error {
	r.writer.Lock()
	defer r.writer.Unlock()
	if r.file == nil {
		return nil
	}
	f := r.file
	r.file = nil
	return f.Close()
}

// encodeAssignment is the rest of a recordAssignment.
func encodeAssignment(a Assignment) ([]byte, error) {
	pod := a.Encoded
	if pod == nil {
		var err error
		if pod, err = a.Pod.Marshal(); err != nil {
			return nil, err
		}
	}
	out := binary.AppendUvarint(make([]byte, 0, len(pod)+binary.MaxVarintLen32), uint64(len(pod)))
	out = append(out, pod...)
	if len(a.ConfigMaps) == 0 && len(a.Secrets) == 0 && a.Slot == NoSlot {
		return out, nil
	}
	a.Pod, a.Encoded = nil, nil
	rest, err := json.Marshal(a)
	return append(out, rest...), err
}

func decodeAssignment(raw []byte) (a Assignment, err error) {
	pod, rest, ok := cutBytes(raw)
	if !ok {
		return a, errDamaged
	}
	if len(rest) > 0 {
		if err := json.Unmarshal(rest, &a); err != nil {
			return a, fmt.Errorf("%w: %w", errDamaged, err)
		}
	}
	a.Pod = new(corev1.Pod)
	if err := a.Pod.Unmarshal(pod); err != nil {
		return a, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return a, nil
}

// errDamaged is an entry that doesn't parse.
var errDamaged = errors.New("not readable")
