package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// createConfig is the setting of the create scenario.
type createConfig struct {
	nodes, pods, clients, connections int
	rate                              float64 // pods a second; 0: a closed loop
	encoding, protocol, watcher       string
	prescheduling                     string
	profiles                          string
	hostFiles                         bool
}

// openWorkers is how many requests an open loop has under way at most, if not told.
const openWorkers = 2000

func createCommand(s *setting) *cobra.Command {
	var c createConfig
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Pods a second, from REST create to Running, on a fleet of simulated hosts",
		Long: `Start the control plane as a process of its own with embedded etcd, and simulated hosts in this one: the real
nodelet, session and journal over gRPC with TLS, on a simulated runtime. Pods are created one in a request by
clients in a closed loop, or with --rate in an open one, and followed to Running by a watch. At the end of a
round the control plane is ended, and what its etcd holds is compared with what was answered and with what each
host runs.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.nodes < 1 || c.pods < 1 || c.clients < 1 || c.connections < 1 || c.rate < 0 {
				return errors.New("--nodes, --pods, --clients and --connections must be at least 1, --rate not less than 0")
			}
			if c.rate > 0 && !cmd.Flags().Changed("clients") {
				c.clients = openWorkers
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
	cmd.Flags().IntVar(&c.clients, "clients", 64, fmt.Sprintf("clients that create; with --rate the most requests under way, then by default %d", openWorkers))
	cmd.Flags().Float64Var(&c.rate, "rate", 0, "pods a second in an open loop, each latency counted from when its request was due; 0: a closed loop")
	cmd.Flags().IntVar(&c.connections, "connections", 4, "connections that they share where the protocol is h2")
	cmd.Flags().StringVar(&c.encoding, "encoding", "protobuf", "of bodies and answers: protobuf or json")
	cmd.Flags().StringVar(&c.protocol, "protocol", protocolH1, "of the clients: h1, HTTP/1.1 with a kept connection for each, or h2, HTTP/2 over shared ones")
	cmd.Flags().StringVar(&c.watcher, "watcher", watcherRaw, "what reads the watch: raw, which decodes only what is counted, or client-go")
	cmd.Flags().BoolVar(&c.hostFiles, "host-files", false, "write the files that hosts bind into containers too (hosts, hostname, resolver, termination message); else they are simulated like volumes")
	cmd.Flags().StringVar(&c.prescheduling, "prescheduling", "", "of the control plane: automatic, policy-only or off; default the control plane's own, automatic")
	cmd.Flags().StringVar(&c.profiles, "profiles", "", "write CPU profiles of the control plane and of this process into this folder")
	return cmd
}

// name is the result's: each of the ways to load has a file of its own.
func (c createConfig) name() string {
	name := "create"
	if c.rate > 0 {
		name += "-rate"
	}
	if c.encoding != "protobuf" {
		name += "-" + c.encoding
	}
	if c.prescheduling != "" {
		name += "-prescheduling-" + c.prescheduling
	}
	return name
}

// create runs the rounds and publishes them.
func (s *setting) create(ctx context.Context, c createConfig, media string) error {
	answered := &series{name: "POST → 201, durable and placed"}
	running := &series{name: "POST → a watch says Running"}
	rates := &rates{}
	for round := range s.rounds {
		r, err := s.createRound(ctx, c, media)
		if err != nil {
			return err
		}
		if round > 0 {
			r.perNodelet = 0 // what the fleet before left is still being given back
		}
		answered.rounds = append(answered.rounds, r.answered)
		running.rounds = append(running.rounds, r.running)
		r.into(rates, c.pods)
	}
	with := map[string]string{
		"nodes": fmt.Sprint(c.nodes), "clients": fmt.Sprint(c.clients), "protocol": c.protocol, "encoding": c.encoding, "watcher": c.watcher,
		"etcd": "embedded, fsync on", "hosts": "simulated, their disks in memory", "pods": "one in a request, 100m 64Mi",
	}
	with["files bound into containers"] = map[bool]string{false: "simulated", true: "written"}[c.hostFiles]
	if c.prescheduling != "" {
		with["prescheduling"] = c.prescheduling
	}
	with["GOGC of this process"] = fmt.Sprint(ownGC)
	if c.protocol == protocolH2 {
		with["connections"] = fmt.Sprint(c.connections)
	}
	if c.rate > 0 {
		with["loop"] = fmt.Sprintf("open, %g pods/s", c.rate)
	}
	return s.publish(c.name(), c.pods, with, rates, answered, running)
}

// round is what one round found.
type round struct {
	answered, running       []time.Duration
	allAnswered, allRunning time.Duration
	controlCPU, loadCPU     time.Duration
	controlRSS, loadRSS     int64
	perNodelet              int64 // bytes of an idle one
	transactions, mutations float64
	refused                 int64
	unseen                  int // pods that no watch said to be Running
	found                   findings
	perNode                 []int // pods on each host, sorted
}

func (r *round) into(rates *rates, pods int) {
	n := float64(pods)
	rates.add("pods/s to 201", n/r.allAnswered.Seconds())
	rates.add("pods/s to Running", n/r.allRunning.Seconds())
	rates.add("control plane, CPU µs per pod", r.controlCPU.Seconds()*1e6/n)
	rates.add("load, fleet and watch, CPU µs per pod", r.loadCPU.Seconds()*1e6/n)
	rates.add("control plane, peak RSS in MiB", float64(r.controlRSS)/(1<<20))
	rates.add("load, fleet and watch, peak RSS in MiB", float64(r.loadRSS)/(1<<20))
	if r.perNodelet > 0 {
		rates.add("an idle nodelet, heap and stacks in KiB", float64(r.perNodelet)/1024)
	}
	rates.add("etcd transactions", r.transactions)
	rates.add("changes per etcd transaction", r.mutations/max(r.transactions, 1))
	rates.add("pods per etcd transaction", n/max(r.transactions, 1))
	rates.add("pods on the emptiest host", float64(r.perNode[0]))
	rates.add("pods on the median host", float64(r.perNode[len(r.perNode)/2]))
	rates.add("pods on the fullest host", float64(r.perNode[len(r.perNode)-1]))
	rates.add("refused with 429", float64(r.refused))
	rates.add("never seen Running", float64(r.unseen))
	rates.add("lost or placed twice", float64(r.found.wrong()))
}

func (s *setting) createRound(ctx context.Context, c createConfig, media string) (_ *round, err error) {
	var args []string
	if c.prescheduling != "" {
		args = []string{"--prescheduling", c.prescheduling}
	}
	t, err := s.startTrial(ctx, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close(ctx)) }()
	if err := t.join(ctx, c.nodes, func(f *fleet) { f.files = c.hostFiles }); err != nil {
		return nil, err
	}
	r, made, err := measureCreate(ctx, c, media, t)
	if err != nil {
		return nil, err
	}
	r.perNodelet = t.perNodelet
	if r.found, r.perNode, err = t.check(ctx, answeredAs(made)); err != nil {
		return nil, err
	}
	if r.found.wrong() > 0 {
		fmt.Fprintln(os.Stderr, "perf create:", r.found)
	}
	return r, nil
}

func measureCreate(ctx context.Context, c createConfig, media string, t *trial) (_ *round, made []created, err error) {
	load, err := newLoader(ctx, t.rest, metav1.NamespaceDefault, media, c.protocol, pod("", "100m", "64Mi"), c.connections)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, load.close()) }()
	w, err := follow(ctx, c.watcher, t.rest, metav1.NamespaceDefault, c.pods)
	if err != nil {
		return nil, nil, err
	}
	defer w.stop()
	use, err := startUse(ctx, t)
	if err != nil {
		return nil, nil, err
	}
	began := make([]time.Time, c.pods)
	r := &round{}
	profiled, err := startProfiles(ctx, t.client, c.profiles)
	if err != nil {
		return nil, nil, err
	}
	start := time.Now()
	if c.rate > 0 {
		began, r.answered, made, r.refused, err = load.runOpen(ctx, c.pods, c.rate, c.clients)
	} else {
		r.answered, made, r.refused, err = load.run(ctx, c.pods, c.clients, began)
	}
	if err != nil {
		return nil, nil, err
	}
	r.allAnswered = time.Since(start)
	seen, err := w.wait(ctx)
	if err := errors.Join(err, profiled()); err != nil {
		return nil, nil, err
	}
	last := start
	for i := range c.pods {
		at, ok := seen[podName(i)]
		if !ok {
			r.unseen++
			continue
		}
		r.running = append(r.running, at.Sub(began[i]))
		if at.After(last) {
			last = at
		}
	}
	r.allRunning = last.Sub(start)
	u, err := use.stop(ctx, t)
	if err != nil {
		return nil, nil, err
	}
	r.controlCPU, r.loadCPU, r.controlRSS, r.loadRSS = u.controlCPU, u.ownCPU, u.controlRSS, u.ownRSS
	r.transactions, r.mutations = u.transactions, u.mutations
	return r, made, nil
}

// awaitReady returns when n nodes are.
func awaitReady(ctx context.Context, client *kubernetes.Clientset, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
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
		case <-time.After(max(200*time.Millisecond, time.Duration(n)*50*time.Microsecond)): // the list costs as the fleet is large
		case <-ctx.Done():
			return fmt.Errorf("%d of %d nodes are ready: %w", ready, n, ctx.Err())
		}
	}
}
