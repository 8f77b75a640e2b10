package journal

import (
	"errors"
	"maps"
	"slices"
	"time"
)

// write is the writer: it makes durable, in one frame, all that waits.
func (j *Journal) write() {
	defer close(j.done)
	ticker := time.NewTicker(noteInterval)
	defer ticker.Stop()
	for {
		select {
		case <-j.wake:
			j.serve(served)
		case <-ticker.C:
			j.serve(noted)
		case <-j.stop:
			j.mu.Lock()
			j.ended = true
			j.mu.Unlock()
			j.err = errors.Join(j.serve(ended), j.file.Close())
			return
		}
	}
}

// occasion is why the writer writes.
type occasion uint8

const (
	served occasion = iota // somebody waits
	noted                  // it is time to note that time goes on, and to let days end
	ended                  // the journal is closed
)

// serve commits the queue and what the occasion adds. It answers the disk's error, which those who wait are told;
// what nobody waits for is tried again with the next frame.
func (j *Journal) serve(why occasion) error {
	j.mu.Lock()
	waiting := j.queue
	j.queue = nil
	p := newPlan(j.state, j.clock)
	for _, r := range waiting {
		r.err = r.plan(p)
	}
	if why == noted {
		p.roll(j.since)
	}
	if why != served && p.opening > 0 {
		now := p.now()
		p.records = append(p.records, record{Alive: &now})
	}
	j.mu.Unlock()
	err := j.commit(p)
	for _, r := range waiting {
		if r.err == nil {
			r.err = err
		}
		close(r.done)
	}
	if err == nil {
		if p.rolled {
			signal(j.changed)
		}
		j.compact()
	}
	return err
}

// commit makes a plan durable, and then part of the state.
func (j *Journal) commit(p *plan) error {
	j.mu.Lock()
	acks, over := j.acks, len(j.state.over)
	j.mu.Unlock()
	records := p.records
	if len(acks) > 0 {
		// Behind the plan, which knows of pods that the acknowledgements let go.
		records = append(slices.Clip(records), record{Ack: acks})
	}
	if len(records) == 0 {
		return nil
	}
	frame, err := appendFrame(nil, records)
	if err == nil {
		err = j.file.Append(frame)
	}
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range p.records {
		if err := j.state.apply(r); err != nil {
			panic(err) // a plan follows from the state
		}
	}
	j.state.forget(over)
	j.clock, j.acks = p.clock, j.acks[len(acks):]
	return nil
}

// compact writes the file anew when it has grown a lot. If it can't, the file serves as it is, and it is
// tried again when that has doubled.
func (j *Journal) compact() {
	if j.file.Size() < j.compactAt {
		return
	}
	j.mu.Lock()
	kept := state{anchor: j.state.anchor, last: j.state.last, pods: maps.Clone(j.state.pods), closed: slices.Clone(j.state.closed), over: slices.Clone(j.state.over)}
	acks, over := len(j.acks), len(j.state.over)
	j.mu.Unlock()
	kept.forget(over)
	b, err := kept.snapshot()
	if err == nil {
		err = j.file.Replace(b)
	}
	if err != nil {
		j.compactAt = 2 * j.file.Size()
		return
	}
	j.compactAt = max(j.compactFrom, 4*j.file.Size())
	j.mu.Lock()
	j.acks = j.acks[acks:] // what was kept is without them
	j.state.forget(over)
	j.mu.Unlock()
}
