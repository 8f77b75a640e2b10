package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

type scaleConfig struct {
	sizes        []int
	pods, probes int
}

func scaleCommand(s *setting) *cobra.Command {
	var c scaleConfig
	cmd := &cobra.Command{
		Use: "scale", Short: "What a placement, a node and a pod cost on fleets of different sizes",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(c.sizes) == 0 || slices.Min(c.sizes) < 1 || c.pods < 1 || c.probes < 1 {
				return errors.New("--nodes, --pods and --probes must be at least 1")
			}
			if room := slices.Min(c.sizes) * hostCPU * 10; c.pods+c.probes > room { // of 100m each
				return fmt.Errorf("--pods %d and --probes %d: %d nodes have room for %d", c.pods, c.probes, slices.Min(c.sizes), room)
			}
			if err := roomFor(slices.Max(c.sizes)); err != nil { // before the smaller ones are measured
				return err
			}
			return s.scale(cmd.Context(), c)
		},
	}
	cmd.Flags().IntSliceVar(&c.sizes, "nodes", []int{100, 1000, 10_000}, "simulated hosts, one size after the other")
	cmd.Flags().IntVar(&c.pods, "pods", 20_000, "running pods in each round")
	cmd.Flags().IntVar(&c.probes, "probes", 500, "pods that are created one after the other, with nothing else to do")
	return cmd
}

// scaled is what one round at one size found, in bytes and CPU.
type scaled struct {
	joined                   time.Duration
	heapNode, rssNode        float64 // of the control plane, for a node
	heapPod, rssPod          float64 // and for a running pod
	simNode, simPod          float64 // heap of a simulated host, and of a pod on it
	simStack                 float64 // a simulated host's stacks
	probeCPU                 time.Duration
	probes                   []time.Duration
	controlHeap, controlPeak float64
}

func (s *setting) scale(ctx context.Context, c scaleConfig) error {
	rates := &rates{}
	var all []*series
	for _, n := range c.sizes {
		probes := &series{name: fmt.Sprintf("POST → 201, nothing else to do, %d nodes", n)}
		all = append(all, probes)
		for range s.rounds {
			r, err := s.scaleRound(ctx, c, n)
			if err != nil {
				return fmt.Errorf("%d nodes: %w", n, err)
			}
			probes.rounds = append(probes.rounds, r.probes)
			add := func(what string, value float64) { rates.add(fmt.Sprintf("%d nodes: %s", n, what), value) }
			add("control plane, CPU µs of a create on its own", r.probeCPU.Seconds()*1e6/float64(c.probes))
			add("until all had joined, s", r.joined.Seconds())
			add("control plane, heap KiB per node", r.heapNode/1024)
			add("control plane, RSS KiB per node", r.rssNode/1024)
			add("control plane, heap KiB per running pod", r.heapPod/1024)
			add("control plane, RSS KiB per running pod", r.rssPod/1024)
			add("simulated nodelet, heap KiB", r.simNode/1024)
			add("simulated nodelet, stacks KiB", r.simStack/1024)
			add("simulated nodelet, heap KiB per running pod", r.simPod/1024)
			add("control plane, heap MiB at the end", r.controlHeap/(1<<20))
			add("control plane, peak RSS in MiB", r.controlPeak/(1<<20))
		}
	}
	with := map[string]string{"nodes": fmt.Sprint(c.sizes), "probes": fmt.Sprint(c.probes), "etcd": "embedded, fsync on", "heap": "after a collection, and when what is left alone is packed"}
	return s.publishWith("scale", c.pods, with, rates, scaleCurves(c.sizes, rates, all), all...)
}

// scaleCurves draws what was found against the number of nodes.
func scaleCurves(sizes []int, rates *rates, probes []*series) []curve {
	latency := curve{Plot: "latency", Name: "POST → 201, p50"}
	memory := []curve{}
	for i, n := range sizes {
		latency.Points = append(latency.Points, [2]float64{float64(n), probes[i].spread(0.5).Median})
	}
	for _, what := range []string{"control plane, heap KiB per node", "simulated nodelet, heap KiB"} {
		c := curve{Plot: "memory", Name: what}
		for _, n := range sizes {
			c.Points = append(c.Points, [2]float64{float64(n), spreadOf(slices.Clone(rates.of[fmt.Sprintf("%d nodes: %s", n, what)])).Median})
		}
		memory = append(memory, c)
	}
	return append([]curve{latency}, memory...)
}

// memory is what this process and the control plane have after a collection.
type memory struct{ control, controlRSS, own, ownStack float64 }

func (t *trial) memory(ctx context.Context) (m memory, err error) {
	if m.control, err = liveHeap(ctx, t.client); err != nil {
		return m, err
	}
	rss, err := presentRSS(t.in.PID())
	if err != nil {
		return m, err
	}
	m.controlRSS = float64(rss)
	runtime.GC()
	runtime.GC() // what finalizers and pools held on to
	var own runtime.MemStats
	runtime.ReadMemStats(&own)
	m.own, m.ownStack = float64(own.HeapAlloc), float64(own.StackInuse)
	return m, nil
}

// Objects that are left alone are packed: memory is looked at when it doesn't fall any more.
const (
	restEvery  = 5 * time.Second
	restWithin = 5 * time.Minute
)

func (t *trial) restedMemory(ctx context.Context) (memory, error) {
	if err := pause(ctx, 3*restEvery); err != nil { // until it has begun
		return memory{}, err
	}
	last, err := t.memory(ctx)
	for end := time.Now().Add(restWithin); err == nil && time.Now().Before(end); {
		if err := pause(ctx, restEvery); err != nil {
			return last, err
		}
		var next memory
		if next, err = t.memory(ctx); err != nil || next.control > last.control*0.99 {
			return next, err
		}
		last = next
	}
	return last, err
}

func (s *setting) scaleRound(ctx context.Context, c scaleConfig, nodes int) (_ *scaled, err error) {
	t, err := s.startTrial(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close(ctx)) }()
	empty, err := t.memory(ctx)
	if err != nil {
		return nil, err
	}
	r := &scaled{}
	began := time.Now()
	if err := t.join(ctx, nodes); err != nil {
		return nil, err
	}
	r.joined = time.Since(began)
	joined, err := t.memory(ctx)
	if err != nil {
		return nil, err
	}
	f, err := newFilling(ctx, t)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	if err := f.fill(ctx, t, c.pods); err != nil {
		return nil, err
	}
	full, err := t.restedMemory(ctx)
	if err != nil {
		return nil, err
	}
	use, err := startUse(ctx, t)
	if err != nil {
		return nil, err
	}
	if _, r.probes, _, err = f.more(ctx, c.probes, 1); err != nil {
		return nil, err
	}
	u, err := use.stop(ctx, t)
	if err != nil {
		return nil, err
	}
	n, p := float64(nodes), float64(c.pods)
	r.probeCPU, r.controlHeap, r.controlPeak = u.controlCPU, full.control, float64(u.controlRSS)
	r.heapNode, r.rssNode = (joined.control-empty.control)/n, (joined.controlRSS-empty.controlRSS)/n
	r.heapPod, r.rssPod = (full.control-joined.control)/p, (full.controlRSS-joined.controlRSS)/p
	r.simNode, r.simStack, r.simPod = (joined.own-empty.own)/n, (joined.ownStack-empty.ownStack)/n, (full.own-joined.own)/p
	return r, nil
}
