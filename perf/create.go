package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"swell.dev/swell/internal/instance"
	"swell.dev/swell/internal/pki"
)

// createConfig is the setting of the create scenario.
type createConfig struct {
	nodes, pods, clients, connections int
	encoding, protocol, watcher       string
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
			if c.protocol != protocolH1 && c.protocol != protocolH2 {
				return fmt.Errorf("--protocol %q: want h1 or h2", c.protocol)
			}
			if c.watcher != watcherRaw && c.watcher != watcherClientGo {
				return fmt.Errorf("--watcher %q: want raw or client-go", c.watcher)
			}
			return s.create(cmd.Context(), c, media)
		},
	}
	cmd.Flags().IntVar(&c.nodes, "nodes", 1000, "simulated hosts")
	cmd.Flags().IntVar(&c.pods, "pods", 100_000, "pods in each round")
	cmd.Flags().IntVar(&c.clients, "clients", 64, "clients that create")
	cmd.Flags().IntVar(&c.connections, "connections", 4, "connections that they share where the protocol is h2")
	cmd.Flags().StringVar(&c.encoding, "encoding", "protobuf", "of bodies and answers: protobuf or json")
	cmd.Flags().StringVar(&c.protocol, "protocol", protocolH1, "of the clients: h1, HTTP/1.1 with a kept connection for each, or h2, HTTP/2 over shared ones")
	cmd.Flags().StringVar(&c.watcher, "watcher", watcherRaw, "what reads the watch: raw, which decodes only what is counted, or client-go")
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
		"nodes": fmt.Sprint(c.nodes), "clients": fmt.Sprint(c.clients), "protocol": c.protocol, "encoding": c.encoding, "watcher": c.watcher,
		"etcd": "embedded, fsync on", "hosts": "simulated, their disks in memory", "pods": "one in a request, 100m 64Mi",
	}
	if c.protocol == protocolH2 {
		with["connections"] = fmt.Sprint(c.connections)
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
	load, err := newLoader(ctx, cfg, metav1.NamespaceDefault, media, c.protocol, pod("", "100m", "64Mi"), c.connections)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, load.close()) }()
	w, err := follow(ctx, c.watcher, cfg, metav1.NamespaceDefault, c.pods)
	if err != nil {
		return nil, err
	}
	defer w.stop()
	return measureCreate(ctx, c, client, f, load, w, in.PID())
}

func measureCreate(ctx context.Context, c createConfig, client *kubernetes.Clientset, f *fleet, load *loader, w *runningWatch, pid int) (*round, error) {
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
	var made []created
	if r.answered, made, r.refused, err = load.run(ctx, c.pods, c.clients, began); err != nil {
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
	wrong, err := compare(ctx, client, f, made)
	r.wrong += wrong
	return r, err
}

// compare counts pods that the answers, the store and the hosts don't agree on: each that was answered must
// stand in the store once, as it was answered, and run on the one host that the store names.
func compare(ctx context.Context, client *kubernetes.Clientset, f *fleet, made []created) (wrong int, err error) {
	running := f.running()
	answered := make(map[created]bool, len(made))
	for _, m := range made {
		answered[m] = true
	}
	opts := metav1.ListOptions{Limit: 5000}
	for {
		list, err := client.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, opts)
		if err != nil {
			return 0, err
		}
		for i := range list.Items {
			p := &list.Items[i]
			is := created{uid: string(p.UID), node: p.Spec.NodeName}
			if on := running[is.uid]; !slices.Equal(on, []string{is.node}) || !answered[is] {
				wrong++
			}
			delete(running, is.uid)
			delete(answered, is)
		}
		if opts.Continue = list.Continue; opts.Continue == "" {
			return wrong + len(running) + len(answered), nil
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
