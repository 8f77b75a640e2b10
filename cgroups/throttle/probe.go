package throttle

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"swell.dev/swell/cgroups"
)

// Bounds of the kernel's side.
const (
	maxWatched = 1 << 16 // groups
	ringBytes  = 1 << 18 // some 10,000 events
	eventBytes = 24      // on which CPU, when, which group
)

// watched is the map's value of a group.
type watched struct {
	Last uint64 // when it was last told of, CLOCK_MONOTONIC in ns
	Lost uint64 // events that found no room
}

// probe is an eBPF program with its maps.
type probe struct {
	groups *ebpf.Map // group → watched
	events *ebpf.Map
	reader *ringbuf.Reader
	prog   *ebpf.Program
	link   link.Link
	gone   atomic.Uint64 // lost ones of groups that are no longer watched
}

func openProbe(rung Rung, ring uint32) (p *probe, err error) {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, fmt.Errorf("the kernel's type information (CONFIG_DEBUG_INFO_BTF): %w", err)
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("locked memory: %w", err)
	}
	p = &probe{}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	p.groups, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: "swell_watched", Type: ebpf.Hash, KeySize: 8, ValueSize: 16, MaxEntries: maxWatched, Flags: noPrealloc,
	})
	if err != nil {
		return p, lacks("eBPF map", err)
	}
	if p.events, err = ebpf.NewMap(&ebpf.MapSpec{Name: "swell_events", Type: ebpf.RingBuf, MaxEntries: ring}); err != nil {
		return p, lacks("eBPF ring buffer", err)
	}
	spec, err := program(rung, kernel, p.groups, p.events)
	if err != nil {
		return p, err
	}
	if p.prog, err = ebpf.NewProgram(spec); err != nil {
		return p, lacks("eBPF program at "+spec.AttachTo, err)
	}
	if p.link, err = link.AttachTracing(link.TracingOptions{Program: p.prog}); err != nil {
		return p, lacks("eBPF program at "+spec.AttachTo, err)
	}
	if p.reader, err = ringbuf.NewReader(p.events); err != nil {
		return p, fmt.Errorf("eBPF ring buffer: %w", err)
	}
	return p, nil
}

// lacks says what would be needed.
func lacks(what string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%s: %w: the process needs CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN), and the kernel must allow it (lockdown, seccomp, a hypervisor's policy)", what, unix.EPERM)
	case errors.Is(err, btf.ErrNotFound):
		return fmt.Errorf("%s: the kernel has no such place, or made it part of another function: %w", what, err)
	case errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Errorf("%s: needs Linux 5.8 or newer: %w", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

func (p *probe) watch(_ *cgroups.Group, id uint64) error {
	err := p.groups.Update(id, watched{}, ebpf.UpdateNoExist)
	if errors.Is(err, ebpf.ErrKeyExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cgroup %d: not watched (at most %d are): %w", id, maxWatched, err)
	}
	return nil
}

func (p *probe) unwatch(id uint64) error {
	var last watched
	err := p.groups.LookupAndDelete(id, &last)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	p.gone.Add(last.Lost)
	return err
}

func (p *probe) run(ctx context.Context, tell func(Event)) error {
	defer context.AfterFunc(ctx, func() { p.reader.Close() })() //nolint:errcheck // it only wakes the reader
	var r ringbuf.Record
	for {
		err := p.reader.ReadInto(&r)
		if errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("eBPF ring buffer: %w", err)
		}
		if len(r.RawSample) == eventBytes {
			tell(Event{
				CPU:    int(binary.NativeEndian.Uint64(r.RawSample)),
				At:     time.Duration(binary.NativeEndian.Uint64(r.RawSample[8:])),
				Cgroup: binary.NativeEndian.Uint64(r.RawSample[16:]),
			})
		}
	}
}

func (p *probe) lost() uint64 {
	sum := p.gone.Load()
	var id uint64
	var w watched
	for all := p.groups.Iterate(); all.Next(&id, &w); {
		sum += w.Lost
	}
	return sum
}

func (p *probe) cost() (runs uint64, spent time.Duration, err error) {
	s, err := p.prog.Stats()
	if err != nil {
		return 0, 0, fmt.Errorf("eBPF program's statistics: %w", err)
	}
	return s.RunCount, s.Runtime, nil
}

func (p *probe) close() error {
	var errs []error
	if p.link != nil {
		errs = append(errs, p.link.Close())
	}
	if p.reader != nil {
		errs = append(errs, p.reader.Close())
	}
	// Closing nil ones does nothing.
	return errors.Join(append(errs, p.prog.Close(), p.events.Close(), p.groups.Close())...)
}
