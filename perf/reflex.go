package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	nodev1 "swell.dev/swell/api/node/v1"
	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/cgroups"
	"swell.dev/swell/cgroups/throttle"
	"swell.dev/swell/nodelet"
	"swell.dev/swell/nodelet/podcgroup"
	"swell.dev/swell/nodelet/reflex"
)

// What the pod of `perf reflex` has and does.
const (
	reflexSize = 200 // milli-CPU
	reflexWork = 60 * time.Millisecond
	reflexRest = 400 * time.Millisecond // longer than a burst outlasts what it was for
	reflexName = "main"
)

type reflexRun struct {
	bursts   int
	busy     bool
	pods     bool
	most     int64 // milli-CPU that the pod may burst to
	tree     *podcgroup.Tree
	host     *cgroups.Hierarchy
	parent   *cgroups.Group
	waits    map[bool]*series // by whether the reflex is on
	work     map[bool]*series
	reaction *series
	rates    rates
	curves   []curve
}

func reflexCommand(s *setting) *cobra.Command {
	r := &reflexRun{}
	cmd := &cobra.Command{
		Use:   "reflex",
		Short: "How long a pod that its CPU quota stops waits until it runs again, with the reflex and without, in turn",
		Long: `A pod of 200m does 60 ms of work, rests, and works again. When its quota is used up, the kernel stops it. The wait is
from the kernel's stop to its next step, as it sees it itself. With --busy as many processes as there are CPUs never
rest beside it. With --pods those are pods instead, each of one CPU with two processes, half as many as there are CPUs;
the other half is what the pod may burst to, so that no CPU is promised twice.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return r.run(cmd.Context(), s) },
	}
	cmd.Flags().IntVar(&r.bursts, "bursts", 40, "times that the pod works, in each round with and without the reflex")
	cmd.Flags().BoolVar(&r.busy, "busy", true, "keep all CPUs busy beside it")
	cmd.Flags().BoolVar(&r.pods, "pods", false, "have pods beside it that use all of their sizes, half of the CPUs")
	return cmd
}

func (r *reflexRun) run(ctx context.Context, s *setting) (err error) {
	if r.host, err = cgroups.Detect(); err != nil {
		return err
	}
	path := fmt.Sprintf("/swell-perf-%d", os.Getpid())
	r.parent = r.host.Group(path)
	if r.tree, err = podcgroup.New(r.host, path+"/pods", podcgroup.MemoryQoS{}); err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = errors.Join(err, r.parent.Delete(end))
	}()
	// Whatever else the host does isn't what is measured.
	if err := r.parent.SetCPU(cgroups.SharesOf(64_000), cgroups.Unlimited); err != nil {
		return err
	}
	r.most = int64(runtime.NumCPU()) * 1000
	beside := func() (stop func(), err error) {
		switch {
		case r.pods:
			r.most -= int64(runtime.NumCPU()/2) * 1000
			return burnIn(r.parent.Child("pods"), "neighbour", runtime.NumCPU()/2, 2, cgroups.QuotaOf(1000))
		case r.busy:
			return burnIn(r.parent, "burner", runtime.NumCPU(), 1, cgroups.Unlimited)
		}
		return func() {}, nil
	}
	stop, err := beside()
	defer stop()
	if err != nil {
		return err
	}
	r.waits = map[bool]*series{false: {name: "without: stopped → running again"}, true: {name: "with: stopped → running again"}}
	r.work = map[bool]*series{false: {name: "without: 60 ms of work"}, true: {name: "with: 60 ms of work"}}
	r.reaction = &series{name: "with: stopped → quota written"}
	for round := range s.rounds {
		for _, on := range []bool{round%2 == 0, round%2 != 0} {
			if err := r.once(ctx, on, round == 0); err != nil {
				return err
			}
		}
	}
	with := map[string]string{"weight": "all of it together has that of 64 CPUs against the host's other processes", "pod": fmt.Sprintf("200m, may burst to %d", r.most/1000), "work": "60 ms of CPU time, then 400 ms of rest", "beside": "nothing"}
	switch {
	case r.pods:
		with["beside"] = fmt.Sprintf("%d pods of 1 CPU, each with two processes that never rest", runtime.NumCPU()/2)
	case r.busy:
		with["beside"] = fmt.Sprintf("%d processes that never rest, each with the weight of a CPU", runtime.NumCPU())
	}
	return s.publishWith("reflex", r.bursts, with, &r.rates, r.curves,
		r.waits[true], r.waits[false], r.reaction, r.work[true], r.work[false])
}

// once has the pod work and rest so many times.
func (r *reflexRun) once(ctx context.Context, on, plot bool) error {
	const uid = "reflex"
	list := corev1.ResourceList{corev1.ResourceCPU: *resource.NewMilliQuantity(reflexSize, resource.DecimalSI)}
	if err := r.tree.EnsurePod(uid, nodelet.PodSize{Containers: map[string]corev1.ResourceRequirements{reflexName: {Requests: list, Limits: list}}}); err != nil {
		return err
	}
	container := r.host.Group(r.tree.ContainerPath(uid, reflexName))
	if err := container.Create(); err != nil {
		return err
	}
	if err := container.SetCPU(cgroups.SharesOf(reflexSize), cgroups.QuotaOf(reflexSize)); err != nil {
		return err
	}
	defer func() { _ = r.tree.RemovePod(uid) }() // what stays goes with the parent
	worker, err := startWorker(ctx, container, r.bursts)
	if err != nil {
		return err
	}
	defer worker.end()

	seen, err := watchThrottling(ctx, r.tree.Group(uid))
	if err != nil {
		return err
	}
	var x *reflex.Reflex
	if on {
		x = reflex.New(reflex.Config{
			Tree: r.tree, Log: slog.New(slog.DiscardHandler),
			Meter: func(string, usagev1.Burst) error { return nil }, Tell: func(string, *nodelet.BurstState) {},
		})
		defer x.Close()
		x.Grant(&nodev1.Pool{CpuMilli: r.most - reflexSize})
		if err := x.Set(uid, v1alpha1.Burst{CPUMilli: r.most, Budget: 24 * time.Hour}, nodelet.RankDefault); err != nil {
			return err
		}
	}
	var sampled []curve
	sampling, stop := context.WithCancel(ctx)
	var sampler sync.WaitGroup
	if plot {
		sampler.Go(func() { sampled, err = sample(sampling, container, on) })
	}
	done, workErr := worker.work()
	stop()
	sampler.Wait()
	stops, watchErr := seen()
	if err := errors.Join(workErr, watchErr, err); err != nil {
		return err
	}
	r.curves = append(r.curves, sampled...)
	r.note(on, done, stops)
	if x != nil {
		stats := x.Stats()
		r.reaction.begin()
		for _, d := range stats.Latencies() {
			r.reaction.add(d)
		}
	}
	return nil
}

// note finds, for each stop by the kernel, the gap in the work that it made.
func (r *reflexRun) note(on bool, done *workDone, stops []time.Duration) {
	waits, work := r.waits[on], r.work[on]
	waits.begin()
	work.begin()
	for _, took := range done.Took {
		work.add(took)
	}
	for _, gap := range done.Gaps {
		i, _ := slices.BinarySearch(stops, gap.From)
		if i < len(stops) && stops[i] < gap.To {
			waits.add(gap.To - stops[i])
		}
	}
	name := map[bool]string{true: "with", false: "without"}[on]
	r.rates.add(name+": stops by the kernel in each burst of work", float64(len(waits.rounds[len(waits.rounds)-1]))/float64(len(done.Took)))
}

// watchThrottling collects when the kernel stopped a group. What it answers ends it.
func watchThrottling(ctx context.Context, g *cgroups.Group) (func() ([]time.Duration, error), error) {
	w, err := throttle.Open(throttle.Options{Rungs: []throttle.Rung{throttle.Fentry, throttle.SchedSwitch}})
	if err != nil {
		return nil, err
	}
	if _, err := w.Watch(g); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	var at []time.Duration
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx, func(e throttle.Event) { at = append(at, e.At) }) }()
	return func() ([]time.Duration, error) {
		cancel()
		err := <-ended
		return at, errors.Join(err, w.Close())
	}, nil
}

// worker is the pod's process.
type worker struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.Reader
}

// workDone is what it answers; times are CLOCK_MONOTONIC.
type workDone struct {
	Took []time.Duration // of each burst of work
	Gaps []gap           // in which it didn't run though it had work
}

type gap struct{ From, To time.Duration }

func startWorker(ctx context.Context, g *cgroups.Group, bursts int) (*worker, error) {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "reflex-work", fmt.Sprint(bursts))
	cmd.Env, cmd.Stderr = append(os.Environ(), "GOMAXPROCS=1", "GOGC=off"), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w := &worker{cmd, in, out}
	if err := g.Add(cmd.Process.Pid); err != nil {
		w.end()
		return nil, err
	}
	return w, nil
}

func (w *worker) work() (*workDone, error) {
	if err := w.in.Close(); err != nil { // it begins then
		return nil, err
	}
	var done workDone
	if err := json.NewDecoder(w.out).Decode(&done); err != nil {
		return nil, fmt.Errorf("the pod's process: %w", err)
	}
	return &done, nil
}

func (w *worker) end() {
	_ = w.cmd.Process.Kill()
	_ = w.cmd.Wait()
}
