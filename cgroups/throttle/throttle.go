package throttle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"swell.dev/swell/cgroups"
)

// Event says that tasks of a group, or of one in it, were stopped. A task that is stopped is told of for each watched
// group that it is in.
type Event struct {
	Cgroup uint64        // cgroups.Group.ID of the watched group
	At     time.Duration // CLOCK_MONOTONIC
	CPU    int           // that the task was stopped on; -1: that isn't known
}

// Now is the time on the clock of events.
func Now() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // can't fail for this clock
	return time.Duration(ts.Nano())
}

// Rung is a way to know.
type Rung string

// The ladder, best first.
const (
	Fentry      Rung = "fentry"
	SchedSwitch Rung = "sched_switch"
	Poll        Rung = "poll"
)

// Ladder is all rungs in their order.
func Ladder() []Rung { return []Rung{Fentry, SchedSwitch, Poll} }

// UnavailableError says why a host doesn't offer a rung.
type UnavailableError struct {
	Rung  Rung
	Cause error
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("throttling by %s: %v", e.Rung, e.Cause)
}
func (e *UnavailableError) Unwrap() error { return e.Cause }

// Options of a Watcher. The zero value takes the best rung.
type Options struct {
	Rungs []Rung        // to be tried in this order; none: Ladder
	Every time.Duration // between two looks of Poll, 1 ms to 1 s; 0: 10 ms

	ring uint32 // bytes of the buffer of events; a test has a small one
}

// Bounds of Options.Every.
const (
	minEvery     = time.Millisecond
	defaultEvery = 10 * time.Millisecond
	maxEvery     = time.Second
)

// quietTime is how long a group isn't told of again: what reacts needs some of it, and the tasks of one group are
// stopped on each CPU.
const quietTime = 200 * time.Microsecond

// source is one rung at work.
type source interface {
	watch(g *cgroups.Group, id uint64) error
	unwatch(id uint64) error
	// run calls tell until ctx ends, always from the goroutine that it was called from.
	run(ctx context.Context, tell func(Event)) error
	lost() uint64
	cost() (runs uint64, spent time.Duration, err error)
	close() error
}

// Watcher watches groups. Its methods may be called at any time and from anywhere, Run once.
type Watcher struct {
	rung    Rung
	refused []error
	src     source

	closing sync.Once
	err     error // of Close
}

// Open takes the first rung that the host allows. The error names what each of them lacks.
func Open(o Options) (*Watcher, error) {
	if o.Every == 0 {
		o.Every = defaultEvery
	}
	if o.Every < minEvery || o.Every > maxEvery {
		return nil, fmt.Errorf("throttling: Every is %v: between two looks are %v to %v", o.Every, minEvery, maxEvery)
	}
	if o.ring == 0 {
		o.ring = ringBytes
	}
	rungs := o.Rungs
	if len(rungs) == 0 {
		rungs = Ladder()
	}
	var refused []error
	for _, rung := range rungs {
		src, err := open(rung, o)
		if err == nil {
			return &Watcher{rung: rung, refused: refused, src: src}, nil
		}
		refused = append(refused, &UnavailableError{rung, err})
	}
	return nil, errors.Join(refused...)
}

func open(rung Rung, o Options) (source, error) {
	switch rung {
	case Fentry, SchedSwitch:
		return openProbe(rung, o.ring)
	case Poll:
		return newPoller(o.Every), nil
	}
	return nil, fmt.Errorf("there is no such rung: there are %v", Ladder())
}

// Rung answers the one that was taken.
func (w *Watcher) Rung() Rung { return w.rung }

// Refused answers why those before it weren't.
func (w *Watcher) Refused() []error { return slices.Clone(w.refused) }

// Watch begins to tell of a group, and of all that is stopped in it, up to seven groups below. That a group above it
// stops what is in it is told by SchedSwitch alone: watch the topmost that has a quota.
func (w *Watcher) Watch(g *cgroups.Group) (id uint64, err error) {
	if id, err = g.ID(); err != nil {
		return 0, err
	}
	return id, w.src.watch(g, id)
}

// Unwatch ends that. One that isn't watched is no error.
func (w *Watcher) Unwatch(id uint64) error { return w.src.unwatch(id) }

// Lost counts events that nobody was told of, as too many came at once.
func (w *Watcher) Lost() uint64 { return w.src.lost() }

// Cost answers how often the eBPF program ran, and for how long in all. The kernel counts while somebody has it do
// so (ebpf.EnableStats). What polls has no such program, and no cost of it.
func (w *Watcher) Cost() (runs uint64, spent time.Duration, err error) { return w.src.cost() }

// Run calls tell for each event until ctx ends. It does so on a thread of its own that comes before others
// (SCHED_FIFO, or nice −20 where that isn't allowed), so that it runs on a busy host: tell must be short. At most
// one event in 200 µs comes of a group, so that the thread can't take a CPU for itself.
func (w *Watcher) Run(ctx context.Context, tell func(Event)) error {
	return onRaisedThread(func() error { return w.src.run(ctx, tell) })
}

// Close unloads everything.
func (w *Watcher) Close() error {
	w.closing.Do(func() { w.err = w.src.close() })
	return w.err
}
