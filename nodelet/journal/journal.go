package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/internal/bootclock"
	"swell.dev/swell/internal/framelog"
)

// noteInterval is how often it is noted that time goes on, which is what a loss of power may leave
// unbilled.
const noteInterval = time.Minute

// compactAt is the size from which a file is written anew if it has grown fourfold since the last time.
const compactAt = 1 << 20

// Journal implements nodelet.Journal on a file. Its writer is one goroutine; whoever comes while it waits
// for the disk shares the next sync.
type Journal struct {
	changed chan struct{}
	wake    chan struct{} // capacity 1: the queue isn't empty
	stop    chan struct{} // closed by Close
	done    chan struct{} // closed when the writer has ended
	once    sync.Once
	err     error // of closing; set before done is closed

	// These belong to the writer.
	file        *framelog.File
	compactFrom int64     // the size below which a file isn't worth writing anew
	compactAt   int64     // the size at which this one is
	since       time.Time // when it was opened, in the journal's time

	mu    sync.Mutex // guards what follows; held for moments only, never while the disk is waited for
	state *state     // what is on the disk, but for acks
	clock *bootclock.Clock
	acks  []usagev1.ID // settled, and to be written with the next frame
	queue []*request   // bounded by the goroutines that call: each waits for its own
	ended bool         // no more requests are taken
}

// request is a change that waits for the disk.
type request struct {
	plan func(*plan) error
	err  error
	done chan struct{} // closed when err is set
}

// Open reads the journal at a path, or begins one. One process at a time may have it open.
func Open(path string, source bootclock.Source) (*Journal, error) {
	return open(path, source, compactAt, func(h framelog.Handle) framelog.Handle { return h })
}

// open lets tests set the size to compact at, and stand between the journal and its file.
func open(path string, source bootclock.Source, compactAt int64, wrap func(framelog.Handle) framelog.Handle) (*Journal, error) {
	f, data, err := framelog.Open("journal", path)
	if err != nil {
		return nil, err
	}
	j := &Journal{
		changed: make(chan struct{}, 1), wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
		file: f, state: newState(), compactFrom: compactAt, compactAt: compactAt,
	}
	if err := j.begin(data, source); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	f.Wrap(wrap)
	go j.write()
	return j, nil
}

// begin makes the state from the file's contents, cuts a torn tail off, and ends what a former boot left.
func (j *Journal) begin(data []byte, source bootclock.Source) error {
	whole, err := j.file.Read(data, format, func(body []byte, _ int64) error {
		var records []record
		if err := json.Unmarshal(body, &records); err != nil {
			return err
		}
		for _, r := range records {
			if err := j.state.apply(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := j.file.Keep(whole, format); err != nil {
		return err
	}
	if j.clock, err = bootclock.New(source, j.state.anchor, j.state.last); err != nil {
		return fmt.Errorf("journal %s: %w", j.file.Path(), err)
	}
	j.since = j.clock.Now()
	p := newPlan(j.state, j.clock)
	if anchor := j.clock.Anchor(); anchor != j.state.anchor {
		p.records = append(p.records, record{Anchor: &anchor})
		p.interrupt(j.state.last)
	}
	return j.commit(p)
}

// Start opens a pod's segment, ending the one before at the same instant. See nodelet.Journal.
func (j *Journal) Start(template usagev1.Segment) error {
	return j.do(func(p *plan) error { return p.start(template) })
}

// Stop ends a pod's open segment. See nodelet.Journal.
func (j *Journal) Stop(podUID string, at time.Time) error {
	return j.do(func(p *plan) error { p.stop(podUID, at); return nil })
}

// Burst adds to a pod's open segment. See nodelet.Journal.
func (j *Journal) Burst(podUID string, add usagev1.Burst) error {
	return j.do(func(p *plan) error { return p.burst(podUID, add) })
}

// do has a change planned and made durable by the writer.
func (j *Journal) do(change func(*plan) error) error {
	r := &request{plan: change, done: make(chan struct{})}
	j.mu.Lock()
	if j.ended {
		j.mu.Unlock()
		return fmt.Errorf("journal %s: %w", j.file.Path(), os.ErrClosed)
	}
	j.queue = append(j.queue, r)
	j.mu.Unlock()
	signal(j.wake)
	<-r.done
	if r.err != nil {
		return r.err
	}
	signal(j.changed)
	return nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Ack forgets segments that are durable elsewhere.
func (j *Journal) Ack(ids []usagev1.ID) error {
	if len(ids) == 0 {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.state.settle(ids)
	j.acks = append(j.acks, ids...)
	return nil
}

// Open answers the open segments, sorted by pod.
func (j *Journal) Open() []usagev1.Segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state.open()
}

// Pending answers closed segments that are not acknowledged, oldest first.
func (j *Journal) Pending(limit int) []usagev1.Segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := min(max(limit, 0), len(j.state.closed))
	return append([]usagev1.Segment(nil), j.state.closed[:n]...)
}

// Changed receives after a Start, a Stop, and the end of a day.
func (j *Journal) Changed() <-chan struct{} { return j.changed }

// Now is the journal's time.
func (j *Journal) Now() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.clock.Now()
}

// Close makes durable what waits and ends the journal. It is idempotent.
func (j *Journal) Close() error {
	j.once.Do(func() { close(j.stop) })
	<-j.done
	return j.err
}
