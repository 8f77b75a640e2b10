package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"swell.dev/swell/internal/instance"
	"swell.dev/swell/internal/pki"
)

// createConfig is the setting of the create scenario.
type createConfig struct {
	nodes, pods, clients, connections int
	encoding                          string
	profiles                          string
}

func createCommand(s *setting) *cobra.Command {
	var c createConfig
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Pods a second, from REST create to Running, on a fleet of simulated hosts",
		Long: `Start the control plane as a process of its own with embedded etcd, and simulated hosts in this one: the real
nodelet, session and journal over gRPC with TLS, on a simulated runtime. Pods are created one in a request by
clients in a closed loop, and followed to Running by a watch.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.nodes < 1 || c.pods < 1 || c.clients < 1 || c.connections < 1 {
				return errors.New("--nodes, --pods, --clients and --connections must be at least 1")
			}
			media, ok := map[string]string{"protobuf": mediaProtobuf, "json": mediaJSON}[c.encoding]
			if !ok {
				return fmt.Errorf("--encoding %q: want protobuf or json", c.encoding)
			}
			return s.create(cmd.Context(), c, media)
		},
	}
	cmd.Flags().IntVar(&c.nodes, "nodes", 1000, "simulated hosts")
	cmd.Flags().IntVar(&c.pods, "pods", 100_000, "pods in each round")
	cmd.Flags().IntVar(&c.clients, "clients", 64, "clients that create")
	cmd.Flags().IntVar(&c.connections, "connections", 4, "HTTP/2 connections that they share")
	cmd.Flags().StringVar(&c.encoding, "encoding", "protobuf", "of bodies and answers: protobuf or json")
	cmd.Flags().StringVar(&c.profiles, "profiles", "", "write CPU profiles of the control plane and of this process into this folder")
	return cmd
}

// create runs the rounds and publishes them.
func (s *setting) create(ctx context.Context, c createConfig, media string) error {
	answered := &series{name: "POST → 201, durable and placed"}
	running := &series{name: "POST → a watch says Running"}
	rates := &rates{}
	for range s.rounds {
		r, err := s.createRound(ctx, c, media)
		if err != nil {
			return err
		}
		answered.rounds = append(answered.rounds, r.answered)
		running.rounds = append(running.rounds, r.running)
		rates.add("pods/s to 201", float64(c.pods)/r.allAnswered.Seconds())
		rates.add("pods/s to Running", float64(c.pods)/r.allRunning.Seconds())
		rates.add("control plane, CPU µs per pod", r.controlCPU.Seconds()*1e6/float64(c.pods))
		rates.add("load, fleet and watch, CPU µs per pod", r.loadCPU.Seconds()*1e6/float64(c.pods))
		rates.add("control plane, peak RSS in MiB", float64(r.controlRSS)/(1<<20))
		rates.add("refused with 429", float64(r.refused))
		rates.add("lost or placed twice", float64(r.wrong))
	}
	with := map[string]string{
		"nodes": fmt.Sprint(c.nodes), "clients": fmt.Sprint(c.clients), "connections": fmt.Sprint(c.connections), "encoding": c.encoding,
		"etcd": "embedded, fsync on", "hosts": "simulated, their disks in memory", "pods": "one in a request, 100m 64Mi",
	}
	return s.publish("create", c.pods, with, rates, answered, running)
}

// round is what one round found.
type round struct {
	answered, running       []time.Duration
	allAnswered, allRunning time.Duration
	controlCPU, loadCPU     time.Duration
	controlRSS              int64
	refused                 int64
	wrong                   int
}

func (s *setting) createRound(ctx context.Context, c createConfig, media string) (_ *round, err error) {
	dir, err := os.MkdirTemp("", "swell-perf-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	nodes, err := instance.FreeAddress()
	if err != nil {
		return nil, err
	}
	in, err := instance.New(instance.Config{
		Binary: filepath.Join(s.bin, "swell"), Role: "controlplane", DataDir: filepath.Join(dir, "data"), Args: []string{"--node-listen", nodes},
	})
	if err != nil {
		return nil, err
	}
	if err := in.Start(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Down(context.WithoutCancel(ctx))) }()
	client, err := in.Client()
	if err != nil {
		return nil, err
	}
	ca, err := pki.Open(filepath.Join(dir, "data", "pki"))
	if err != nil {
		return nil, err
	}
	f, err := startFleet(ctx, c.nodes, nodes, ca)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	if err := awaitReady(ctx, client, c.nodes); err != nil {
		return nil, err
	}
	cfg, err := in.REST()
	if err != nil {
		return nil, err
	}
	load, err := newLoader(cfg, metav1.NamespaceDefault, media, pod("", "100m", "64Mi"), c.connections)
	if err != nil {
		return nil, err
	}
	return measureCreate(ctx, c, client, f, load, in.PID())
}

func measureCreate(ctx context.Context, c createConfig, client *kubernetes.Clientset, f *fleet, load *loader, pid int) (*round, error) {
	w, err := followRunning(ctx, client, c.pods)
	if err != nil {
		return nil, err
	}
	defer w.stop()
	before, err := cpuOf(pid)
	if err != nil {
		return nil, err
	}
	ownBefore := ownCPU()
	began := make([]time.Time, c.pods)
	r := &round{}
	profiled, err := startProfiles(ctx, client, c.profiles)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if r.answered, r.refused, err = load.run(ctx, c.pods, c.clients, began); err != nil {
		return nil, err
	}
	r.allAnswered = time.Since(start)
	seen, err := w.wait(ctx)
	if err := errors.Join(err, profiled()); err != nil {
		return nil, err
	}
	last := start
	for i := range c.pods {
		at, ok := seen[podName(i)]
		if !ok {
			r.wrong++
			continue
		}
		r.running = append(r.running, at.Sub(began[i]))
		if at.After(last) {
			last = at
		}
	}
	r.allRunning = last.Sub(start)
	after, err := cpuOf(pid)
	if err != nil {
		return nil, err
	}
	r.controlCPU, r.loadCPU = after-before, ownCPU()-ownBefore
	if r.controlRSS, err = peakRSS(pid); err != nil {
		return nil, err
	}
	wrong, err := compare(ctx, client, f, c.pods)
	r.wrong += wrong
	return r, err
}

// compare counts pods that the store and the hosts don't agree on: each must stand in the store once, and
// run on the one host that the store names.
func compare(ctx context.Context, client *kubernetes.Clientset, f *fleet, want int) (wrong int, err error) {
	running := f.running()
	stored := 0
	opts := metav1.ListOptions{Limit: 5000}
	for {
		list, err := client.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, opts)
		if err != nil {
			return 0, err
		}
		for i := range list.Items {
			p := &list.Items[i]
			stored++
			if on := running[string(p.UID)]; !slices.Equal(on, []string{p.Spec.NodeName}) {
				wrong++
			}
			delete(running, string(p.UID))
		}
		if opts.Continue = list.Continue; opts.Continue == "" {
			return wrong + len(running) + max(want-stored, stored-want), nil
		}
	}
}

func awaitReady(ctx context.Context, client *kubernetes.Clientset, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		ready := 0
		for _, node := range list.Items {
			for _, cond := range node.Status.Conditions {
				if cond.Type == corev1.NodeReady && cond.Status == corev1.ConditionTrue {
					ready++
				}
			}
		}
		if ready == n {
			return nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%d of %d nodes are ready: %w", ready, n, ctx.Err())
		}
	}
}

// runningWatch notes when each pod is first seen to be Running.
type runningWatch struct {
	cancel context.CancelFunc
	all    chan struct{} // closed when as many as expected were seen
	ended  chan struct{}

	mu   sync.Mutex // guards what follows
	seen map[string]time.Time
	err  error
}

func followRunning(ctx context.Context, client *kubernetes.Clientset, n int) (*runningWatch, error) {
	list, err := client.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, err
	}
	r := &runningWatch{all: make(chan struct{}), ended: make(chan struct{}), seen: make(map[string]time.Time, n)}
	ctx, r.cancel = context.WithCancel(ctx)
	go r.run(ctx, client, list.ResourceVersion, n)
	return r, nil
}

func (r *runningWatch) run(ctx context.Context, client *kubernetes.Clientset, version string, n int) {
	defer close(r.ended)
	for ctx.Err() == nil {
		w, err := client.CoreV1().Pods(metav1.NamespaceDefault).Watch(ctx, metav1.ListOptions{ResourceVersion: version, AllowWatchBookmarks: true})
		if err != nil {
			r.fail(err)
			return
		}
		for ev := range w.ResultChan() {
			if ev.Type == watch.Error {
				r.fail(fmt.Errorf("watch: %v", ev.Object))
				return
			}
			p, ok := ev.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			version = p.ResourceVersion
			if p.Status.Phase == corev1.PodRunning && r.note(p.Name, n) {
				close(r.all)
				return
			}
		}
	}
}

func (r *runningWatch) note(name string, n int) (complete bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.seen[name]; !ok {
		r.seen[name] = time.Now()
	}
	return len(r.seen) == n
}

func (r *runningWatch) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// runningWithin bounds the wait for the last pods after all were answered.
const runningWithin = time.Minute

// wait answers what was seen when all were, or in time.
func (r *runningWatch) wait(ctx context.Context) (map[string]time.Time, error) {
	select {
	case <-r.all:
	case <-r.ended:
	case <-time.After(runningWithin):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen, r.err
}

func (r *runningWatch) stop() {
	r.cancel()
	<-r.ended
}
