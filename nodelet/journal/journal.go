package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/internal/bootclock"
)

// Journal implements nodelet.Journal on a file.
type Journal struct {
	path   string
	source bootclock.Source
	clock  *bootclock.Clock

	mu      sync.Mutex // guards what follows
	state   *state     // what the file and the batch add up to
	file    *os.File
	size    int64  // bytes that are whole and synced
	garbage int64  // roughly, the bytes of size that are settled
	torn    bool   // a write failed: what it left has to be cut before the next one
	batch   *batch // what waits for the next sync, nil if nothing does
	syncing bool   // a sync is in flight
	settled *sync.Cond
	closed  bool
	changed chan struct{}
}

// batch is the records that share a sync.
type batch struct {
	bytes []byte
	done  chan struct{} // closed when err is set
	err   error
}

// compactAt is the size from which a file that is mostly settled is written anew.
const compactAt = 1 << 20

// settledBytes is about what the records of one acknowledged segment take.
const settledBytes = 512

// Open reads the journal at a path, or begins one.
func Open(path string, source bootclock.Source) (*Journal, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	j := &Journal{path: path, source: source, file: file, changed: make(chan struct{}, 1)}
	j.settled = sync.NewCond(&j.mu)
	if err := j.begin(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return j, nil
}

func (j *Journal) begin() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	anchor, err := j.load()
	if err != nil {
		return err
	}
	if j.clock, err = bootclock.New(j.source, anchor, j.state.last); err != nil {
		return fmt.Errorf("journal %s: %w", j.path, err)
	}
	now := j.clock.Anchor()
	if now == anchor {
		return nil
	}
	b, err := appendRecord(nil, record{Anchor: &now})
	if err != nil {
		return fmt.Errorf("journal %s: %w", j.path, err)
	}
	return j.write(b)
}

// load makes the state anew from the file and cuts a torn tail off.
func (j *Journal) load() (anchor bootclock.Anchor, err error) {
	data, err := os.ReadFile(j.path)
	if err != nil {
		return anchor, fmt.Errorf("journal: %w", err)
	}
	st := newState()
	size, err := readRecords(j.path, data, func(r record) error {
		if r.Anchor != nil {
			anchor = *r.Anchor
		}
		return st.apply(r)
	})
	if err != nil {
		return anchor, err
	}
	j.state, j.size = st, size
	if size == int64(len(data)) {
		return anchor, nil
	}
	return anchor, j.cut()
}

// cut removes what stands behind the last whole record.
func (j *Journal) cut() error {
	if err := j.file.Truncate(j.size); err != nil {
		return fmt.Errorf("journal %s: %w", j.path, err)
	}
	j.torn = false
	return nil
}

// write appends and syncs. Only one write goes on at a time: that of the goroutine that set syncing.
func (j *Journal) write(b []byte) error {
	if j.torn {
		if err := j.cut(); err != nil {
			return err
		}
	}
	_, err := j.file.WriteAt(b, j.size)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.torn = true
		return fmt.Errorf("journal %s: %w", j.path, err)
	}
	j.size += int64(len(b))
	return nil
}

// append makes a record durable, in one sync with those of others who come while a sync is in flight.
// decide answers nil for no record.
func (j *Journal) append(decide func(now time.Time) *record) error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return fmt.Errorf("journal %s: %w", j.path, os.ErrClosed)
	}
	r := decide(j.clock.Now().Truncate(time.Millisecond))
	if r == nil {
		j.mu.Unlock()
		return nil
	}
	if j.batch == nil {
		j.batch = &batch{done: make(chan struct{})}
	}
	mine := j.batch
	bytes, err := appendRecord(mine.bytes, *r)
	if err == nil {
		err = j.state.apply(*r)
	}
	if err != nil {
		j.mu.Unlock()
		return fmt.Errorf("journal %s: %w", j.path, err)
	}
	mine.bytes = bytes
	if !j.syncing {
		j.flushLocked()
	}
	j.mu.Unlock()
	<-mine.done
	return mine.err
}

// flushLocked writes batches until none waits. It gives the lock up while it writes.
func (j *Journal) flushLocked() {
	j.syncing = true
	for j.batch != nil {
		b := j.batch
		j.batch = nil
		j.mu.Unlock()
		err := j.write(b.bytes)
		j.mu.Lock()
		if err != nil {
			// Nobody was told of what didn't get to the disk, so memory goes back to what is there.
			if late := j.batch; late != nil {
				j.batch = nil
				late.err = err
				close(late.done)
			}
			if _, lerr := j.load(); lerr != nil {
				err = errors.Join(err, lerr)
			}
		} else if cerr := j.compactIfWorthIt(); cerr != nil {
			err = cerr
		}
		b.err = err
		close(b.done)
	}
	j.syncing = false
	j.settled.Broadcast()
}

// awaitDurableLocked waits until memory holds nothing that the disk doesn't.
func (j *Journal) awaitDurableLocked() {
	for j.syncing {
		j.settled.Wait()
	}
}

func (j *Journal) notify() {
	select {
	case j.changed <- struct{}{}:
	default:
	}
}

// Start opens a pod's segment, ending the one before at the same instant. See nodelet.Journal.
func (j *Journal) Start(template usagev1.Segment) error {
	err := j.append(func(now time.Time) *record {
		p := j.state.pods[template.PodUID]
		seg := template
		seg.Start, seg.End, seg.Sequence = now, time.Time{}, 1
		var r record
		if p != nil {
			seg.Sequence = p.sequence + 1
			seg.Start = later(now, p.boundary)
			if p.open != nil {
				if sameSize(*p.open, seg) {
					return nil
				}
				seg.Start = later(now, p.open.Start)
				r.Stop = &stop{PodUID: seg.PodUID, At: seg.Start}
			}
		}
		r.Start = &seg
		return &r
	})
	if err == nil {
		j.notify()
	}
	return err
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func sameSize(a, b usagev1.Segment) bool {
	return a.CPUMilli == b.CPUMilli && a.MemoryBytes == b.MemoryBytes && a.ComputeClass == b.ComputeClass && a.QoS == b.QoS
}

// Stop ends a pod's open segment. See nodelet.Journal.
func (j *Journal) Stop(podUID string, at time.Time) error {
	err := j.append(func(now time.Time) *record {
		p := j.state.pods[podUID]
		if p == nil || p.open == nil {
			return nil
		}
		end := now
		if !at.IsZero() {
			end = j.clock.At(at).Truncate(time.Millisecond)
		}
		if end.After(now) {
			end = now
		}
		return &record{Stop: &stop{PodUID: podUID, At: later(end, p.open.Start)}}
	})
	if err == nil {
		j.notify()
	}
	return err
}

// Ack forgets segments that are durable elsewhere.
func (j *Journal) Ack(ids []usagev1.ID) error {
	if len(ids) == 0 {
		return nil
	}
	return j.append(func(time.Time) *record {
		j.garbage += int64(len(ids)) * settledBytes
		return &record{Ack: ids}
	})
}

// Open answers the open segments, sorted by pod.
func (j *Journal) Open() []usagev1.Segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.awaitDurableLocked()
	var out []usagev1.Segment
	for _, p := range j.state.pods {
		if p.open != nil {
			out = append(out, *p.open)
		}
	}
	sort.Slice(out, func(a, b int) bool { return out[a].PodUID < out[b].PodUID })
	return out
}

// Pending answers closed segments that are not acknowledged, oldest first.
func (j *Journal) Pending(limit int) []usagev1.Segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.awaitDurableLocked()
	return j.state.pending(limit)
}

// Changed receives after a Start or a Stop.
func (j *Journal) Changed() <-chan struct{} { return j.changed }

// Now is the journal's time.
func (j *Journal) Now() time.Time { return j.clock.Now() }

// Close ends the journal. It is idempotent.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.awaitDurableLocked()
	if j.closed {
		return nil
	}
	j.closed = true
	return j.file.Close()
}

// compactIfWorthIt writes the file anew when more than half of it is settled.
func (j *Journal) compactIfWorthIt() error {
	if j.size < compactAt || j.garbage*2 < j.size || j.batch != nil { // memory is ahead of the disk: later
		return nil
	}
	anchor := j.clock.Anchor()
	records := []record{{Anchor: &anchor}}
	unsettled := map[string]bool{}
	for _, seg := range j.state.pending(len(j.state.closed)) {
		unsettled[seg.PodUID] = true
	}
	first := map[string]int64{}
	for _, seg := range j.state.pending(len(j.state.closed)) {
		if first[seg.PodUID] == 0 {
			first[seg.PodUID] = seg.Sequence
		}
	}
	for uid, p := range j.state.pods {
		if p.open == nil && !unsettled[uid] {
			delete(j.state.pods, uid) // ended and acknowledged: nothing of it will come again
			continue
		}
		n := next{PodUID: uid}
		if first[uid] > 0 {
			n.Sequence = first[uid] - 1
		} else {
			n.Sequence = p.open.Sequence - 1
		}
		records = append(records, record{Next: &n})
	}
	for _, seg := range j.state.pending(len(j.state.closed)) {
		records = append(records, record{Start: &seg})
	}
	for _, p := range j.state.pods {
		if p.open != nil {
			records = append(records, record{Start: p.open})
		}
	}
	return j.replace(records)
}

func (j *Journal) replace(records []record) error {
	var b []byte
	var err error
	for _, r := range records {
		if b, err = appendRecord(b, r); err != nil {
			return fmt.Errorf("journal %s: %w", j.path, err)
		}
	}
	tmp := j.path + ".new"
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil // no room for a second file: the first one still serves
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(tmp, j.path)
	}
	if err != nil {
		f.Close()
		if rerr := os.Remove(tmp); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			return fmt.Errorf("journal: %w", rerr)
		}
		return nil
	}
	old := j.file
	j.file, j.size, j.garbage = f, int64(len(b)), 0
	dir, err := os.Open(filepath.Dir(j.path))
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer dir.Close()
	return errors.Join(dir.Sync(), old.Close())
}
