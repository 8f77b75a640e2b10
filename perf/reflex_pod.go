package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"swell.dev/swell/cgroups"
)

// The processes of `perf reflex`, which are this program again.
func reflexProcesses() []*cobra.Command {
	return []*cobra.Command{
		{Use: "reflex-burn", Hidden: true, Args: cobra.NoArgs, Run: func(*cobra.Command, []string) { burnForEver() }},
		{Use: "reflex-switch", Hidden: true, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return switchForEver() }},
		{Use: "reflex-work BURSTS", Hidden: true, Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
			bursts, err := strconv.Atoi(args[0])
			if err != nil {
				return err
			}
			return work(bursts)
		}},
	}
}

func burnForEver() {
	for {
	}
}

// leastGap is how long a step of the work may take without being a gap.
const leastGap = 30 * time.Microsecond

// work begins at the end of its stdin.
func work(bursts int) error {
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	runtime.LockOSThread()
	done := workDone{Took: make([]time.Duration, 0, bursts), Gaps: make([]gap, 0, 1<<16)}
	for range bursts {
		time.Sleep(reflexRest)
		began := clock(unix.CLOCK_MONOTONIC)
		until := clock(unix.CLOCK_THREAD_CPUTIME_ID) + reflexWork
		last := began
		for clock(unix.CLOCK_THREAD_CPUTIME_ID) < until {
			now := clock(unix.CLOCK_MONOTONIC)
			if now-last > leastGap {
				done.Gaps = append(done.Gaps, gap{last, now})
			}
			last = now
		}
		done.Took = append(done.Took, clock(unix.CLOCK_MONOTONIC)-began)
	}
	return json.NewEncoder(os.Stdout).Encode(done)
}

func clock(id int32) time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(id, &ts) // can't fail for these
	return time.Duration(ts.Nano())
}

// switchForEver has two threads hand one CPU to each other, a switch of tasks at each.
func switchForEver() error {
	var there, back [2]int
	if err := errors.Join(unix.Pipe(there[:]), unix.Pipe(back[:])); err != nil {
		return err
	}
	failed := make(chan error, 2)
	side := func(read, write int) {
		runtime.LockOSThread()
		var one unix.CPUSet
		one.Set(0)
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			failed <- err
			return
		}
		b := []byte{0}
		for {
			if _, err := unix.Write(write, b); err != nil {
				failed <- err
				return
			}
			if _, err := unix.Read(read, b); err != nil {
				failed <- err
				return
			}
		}
	}
	go side(back[0], there[1])
	go side(there[0], back[1])
	return <-failed
}

// sample draws a container's quota, use and stopped time over the first moments, from its first stop on.
func sample(ctx context.Context, g *cgroups.Group, on bool) ([]curve, error) {
	const (
		every  = 5 * time.Millisecond
		window = 4 // samples that use is averaged over
		lasts  = 1200 * time.Millisecond
	)
	name := map[bool]string{true: "with", false: "without"}[on]
	quota, used, stopped := curve{Plot: name, Name: "quota"}, curve{Plot: name, Name: "used"}, curve{Plot: name, Name: "stopped, ms in all"}
	tick := time.NewTicker(every)
	defer tick.Stop()
	type reading struct {
		at, cpu time.Duration
	}
	var readings []reading
	began := time.Now()
	var before cgroups.Stats
	for first := true; ; first = false {
		s, err := g.Stats()
		if err != nil {
			return nil, err
		}
		l, err := g.Read()
		if err != nil {
			return nil, err
		}
		if first {
			before = s
		}
		at := time.Since(began)
		readings = append(readings, reading{at, s.CPU})
		x := float64(at.Milliseconds())
		quota.Points = append(quota.Points, [2]float64{x, float64(cgroups.MilliOfQuota(l.Quota))})
		stopped.Points = append(stopped.Points, [2]float64{x, float64((s.Throttled - before.Throttled).Milliseconds())})
		if n := len(readings) - 1; n >= window {
			from := readings[n-window]
			used.Points = append(used.Points, [2]float64{x, float64(s.CPU-from.cpu) * 1000 / float64(at-from.at)})
		}
		if at > lasts {
			return []curve{quota, used, stopped}, nil
		}
		select {
		case <-ctx.Done():
			return []curve{quota, used, stopped}, nil
		case <-tick.C:
		}
	}
}
