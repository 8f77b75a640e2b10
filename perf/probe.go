package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"swell.dev/swell/cgroups"
	"swell.dev/swell/cgroups/throttle"
)

// What `perf probe` has stopped by the kernel.
const (
	probeGroups = 4
	probeQuota  = 50 // milli-CPU of each
	probePoll   = 10 * time.Millisecond
)

// probeRun measures the watcher of throttling.
type probeRun struct {
	events int
	host   *cgroups.Hierarchy
	rung   throttle.Rung
	told   map[bool]*series // by whether the host is busy
	polled map[bool]*series
	rates  rates
}

func probeCommand(s *setting) *cobra.Command {
	r := &probeRun{}
	cmd := &cobra.Command{
		Use:   "probe",
		Short: "How soon it is known that the kernel has stopped a pod, and what knowing it costs",
		Long: `Four groups of 50m each have a process that never rests, so that the kernel stops each of them in nearly every period.
The latency is from the kernel's clock in the eBPF program to the callback in user space. Beside it cpu.stat is polled,
whose count of stops the kernel brings up to date at the end of a period.
That is done on the host as it is, and with as many processes beside it that never rest as there are CPUs. What the
program costs is measured while two threads hand each other a CPU, with the program and without, in turn.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return r.run(cmd.Context(), s) },
	}
	cmd.Flags().IntVar(&r.events, "events", 300, "stops to be told of, in each round on the host as it is and on a busy one")
	return cmd
}

func (r *probeRun) run(ctx context.Context, s *setting) (err error) {
	if r.events < 1 {
		return fmt.Errorf("--events %d: at least 1", r.events)
	}
	if r.host, err = cgroups.Detect(); err != nil {
		return err
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	r.told = map[bool]*series{false: {name: "host as it is: stopped → told"}, true: {name: "busy: stopped → told"}}
	r.polled = map[bool]*series{
		false: {name: "host as it is: stopped → seen by polling"}, true: {name: "busy: stopped → seen by polling"},
	}
	for round := range s.rounds {
		for _, busy := range []bool{round%2 == 0, round%2 != 0} {
			if err := r.latency(ctx, busy); err != nil {
				return err
			}
		}
		if err := probeCost(ctx, &r.rates); err != nil {
			return err
		}
	}
	return s.publish("probe", r.events, map[string]string{
		"rung": string(r.rung), "groups": fmt.Sprintf("%d of %dm, each with a process that never rests", probeGroups, probeQuota),
		"polling": "cpu.stat every " + probePoll.String(),
		"busy":    fmt.Sprintf("%d processes beside it that never rest", runtime.NumCPU()),
		"load":    strings.Fields(string(load))[0] + " tasks wanted to run in the minute before, of which none are of this program",
	}, &r.rates, r.told[false], r.told[true], r.polled[false], r.polled[true])
}

// stop is one that was told of.
type probeStop struct {
	throttle.Event
	seen time.Duration
}

// latency has groups stopped by the kernel until so many stops were told.
func (r *probeRun) latency(ctx context.Context, busy bool) (err error) {
	parent := r.host.Group(fmt.Sprintf("/swell-perf-%d", os.Getpid()))
	if err := parent.Create(); err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, parent.Delete(end))
	}()
	if busy {
		stop, err := burnIn(parent, "beside", runtime.NumCPU(), 1, cgroups.Unlimited)
		defer stop()
		if err != nil {
			return err
		}
	}
	probe, err := throttle.Open(throttle.Options{Rungs: []throttle.Rung{throttle.Fentry, throttle.SchedSwitch}})
	if err != nil {
		return err
	}
	r.rung = probe.Rung()
	poll, err := throttle.Open(throttle.Options{Rungs: []throttle.Rung{throttle.Poll}, Every: probePoll})
	if err != nil {
		return errors.Join(err, probe.Close())
	}
	stop, err := burnIn(parent, "pod", probeGroups, 1, cgroups.QuotaOf(probeQuota))
	defer stop()
	for i := range probeGroups {
		if err != nil {
			break
		}
		g := parent.Child(fmt.Sprint("pod", i))
		_, probeErr := probe.Watch(g)
		_, pollErr := poll.Watch(g)
		err = errors.Join(probeErr, pollErr)
	}
	if err == nil {
		err = r.collect(ctx, busy, probe, poll)
	}
	r.rates.add("events lost", float64(probe.Lost()))
	return errors.Join(err, probe.Close(), poll.Close())
}

func (r *probeRun) collect(ctx context.Context, busy bool, probe, poll *throttle.Watcher) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	var told, polled []probeStop
	ended := make(chan error, 2)
	go func() {
		ended <- probe.Run(ctx, func(e throttle.Event) {
			told = append(told, probeStop{e, clock(unix.CLOCK_MONOTONIC)})
			if len(told) == r.events {
				cancel()
			}
		})
	}()
	go func() {
		ended <- poll.Run(ctx, func(e throttle.Event) { polled = append(polled, probeStop{e, clock(unix.CLOCK_MONOTONIC)}) })
	}()
	if err := errors.Join(<-ended, <-ended); err != nil {
		return err
	}
	if len(told) < r.events {
		return fmt.Errorf("%d of %d stops were told of in 5 minutes: %w", len(told), r.events, ctx.Err())
	}
	r.told[busy].begin()
	for _, stop := range told {
		r.told[busy].add(stop.seen - stop.At)
	}
	r.polled[busy].begin()
	for _, took := range pollLatencies(told, polled) {
		r.polled[busy].add(took)
	}
	return nil
}

// pollLatencies pairs each stop with the first look of the poller that found the group stopped afterwards. A stop that
// is followed by another one of its group before that has none of its own: the look may have found either.
func pollLatencies(told, polled []probeStop) []time.Duration {
	open := map[uint64]time.Duration{}
	var out []time.Duration
	for i, j := 0, 0; j < len(polled); {
		if i < len(told) && told[i].At <= polled[j].At {
			open[told[i].Cgroup] = told[i].At
			i++
			continue
		}
		if at, ok := open[polled[j].Cgroup]; ok {
			out = append(out, polled[j].seen-at)
			delete(open, polled[j].Cgroup)
		}
		j++
	}
	return out
}

// burnIn runs processes that never rest, so many in each of n groups. What it answers ends them.
func burnIn(parent *cgroups.Group, name string, n, each int, quota int64) (stop func(), err error) {
	var all []*exec.Cmd
	stop = func() {
		for _, cmd := range all {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	for i := range n {
		g := parent.Child(fmt.Sprint(name, i))
		if err := g.Create(); err != nil {
			return stop, err
		}
		if quota != cgroups.Unlimited {
			if err := g.SetCPU(cgroups.SharesOf(1000), quota); err != nil {
				return stop, err
			}
		}
		for range each {
			cmd := exec.Command("/proc/self/exe", "reflex-burn")
			if err := cmd.Start(); err != nil {
				return stop, err
			}
			all = append(all, cmd)
			if err := g.Add(cmd.Process.Pid); err != nil {
				return stop, err
			}
		}
	}
	return stop, nil
}

// probeCost measures what the eBPF program takes at each switch of tasks, and the switches that two threads on one
// CPU come to with it and without.
func probeCost(ctx context.Context, out *rates) error {
	without, err := switches(ctx)
	if err != nil {
		return err
	}
	out.add("switches of tasks a second, nothing loaded", without)
	w, err := throttle.Open(throttle.Options{Rungs: []throttle.Rung{throttle.Fentry, throttle.SchedSwitch}})
	if err != nil {
		return err
	}
	defer w.Close() //nolint:errcheck // all that is wanted of it is read before
	with, err := switches(ctx)
	if err != nil {
		return err
	}
	out.add("switches of tasks a second, with the program", with)
	stats, err := ebpf.EnableStats(0) // BPF_STATS_RUN_TIME; it takes time itself, so not above
	if err != nil {
		return fmt.Errorf("statistics of eBPF programs: %w", err)
	}
	defer stats.Close() //nolint:errcheck // nothing is lost by it
	began := time.Now()
	if _, err := switches(ctx); err != nil {
		return err
	}
	took := time.Since(began)
	runs, spent, err := w.Cost()
	if err != nil {
		return err
	}
	out.add("runs of the program a second, measured", float64(runs)/took.Seconds())
	if runs == 0 {
		return nil // fentry runs where a group is stopped, and nowhere else
	}
	ns := float64(spent.Nanoseconds()) / float64(runs)
	out.add("program, ns for each run", ns)
	out.add(probeShare, ns*50_000/1e9*100)
	return nil
}

const probeShare = "program, % of a core at 50,000 switches a second"

// switches has two threads hand each other a CPU, and answers how often all tasks of the host were switched a second.
func switches(ctx context.Context) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	before, err := hostSwitches()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := exec.CommandContext(ctx, "/proc/self/exe", "reflex-switch").Run(); err != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return 0, errors.Join(err, ctx.Err())
	}
	after, err := hostSwitches()
	return float64(after-before) / time.Since(began).Seconds(), err
}

// hostSwitches reads the kernel's count.
func hostSwitches() (int64, error) {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if n, ok := strings.CutPrefix(line, "ctxt "); ok {
			return strconv.ParseInt(strings.TrimSpace(n), 10, 64)
		}
	}
	return 0, errors.New("/proc/stat has no count of switches")
}
