package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
)

// peersConfig is the setting of the peers scenario.
type peersConfig struct {
	binaries             string
	nodes                int
	pods, more, limited  int
	clients, connections int
	encoding, protocol   string
}

func peersCommand(s *setting) *cobra.Command {
	var c peersConfig
	cmd := &cobra.Command{
		Use:   "peers",
		Short: "Kubernetes and Swell side by side: the same load on the same machine, in turn",
		Long: `Run etcd, kube-apiserver and kube-scheduler, and then Swell's control plane, each fresh, under the same load:
pods created one in a request over TLS by as many clients, and one watch that follows them to Running. On
Kubernetes a marker stands in for the kubelets: it patches a pod's status to Running when it is bound. On Swell
simulated hosts in this process run the real nodelet. docs/decisions/0008-peers.md says why that is fair.`,
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
			var err error
			if c.binaries, err = filepath.Abs(c.binaries); err != nil {
				return err
			}
			if err := checkPrograms(c.binaries); err != nil {
				return err
			}
			return s.peers(cmd.Context(), c, media)
		},
	}
	cmd.Flags().StringVar(&c.binaries, "kube-binaries", "bin/peers", "folder of etcd, kube-apiserver and kube-scheduler")
	cmd.Flags().IntVar(&c.nodes, "nodes", 1000, "hosts of either system")
	cmd.Flags().IntVar(&c.pods, "pods", 5000, "pods in each round, of either system")
	cmd.Flags().IntVar(&c.more, "more-pods", 50_000, "pods of Swell's second run in each round, since it is soon done with the others; 0: no such run")
	cmd.Flags().IntVar(&c.limited, "limited-pods", 1000, "pods of Kubernetes' second run in each round, with its scheduler's default limit of requests; 0: no such run")
	cmd.Flags().IntVar(&c.clients, "clients", 64, "clients that create, and patches of the marker in flight")
	cmd.Flags().IntVar(&c.connections, "connections", 4, "connections that they share where the protocol is h2")
	cmd.Flags().StringVar(&c.encoding, "encoding", "protobuf", "of bodies and answers: protobuf or json")
	cmd.Flags().StringVar(&c.protocol, "protocol", protocolH1, "of the clients: h1, HTTP/1.1 with a kept connection for each, or h2, HTTP/2 over shared ones")
	return cmd
}

// contender is a column of the table: a system, how it is started, and how much it gets.
type contender struct {
	name  string
	pods  int
	start func(context.Context) (*peer, error)
}

// The two systems that are compared with as many pods.
const (
	nameKubernetes = "Kubernetes"
	nameSwell      = "Swell"
)

// contenders are in the order in which each round runs them.
func (s *setting) contenders(c peersConfig) []contender {
	kubernetes := func(limited bool) func(context.Context) (*peer, error) {
		return func(ctx context.Context) (*peer, error) {
			return kubernetesPeer(ctx, kubeConfig{binaries: c.binaries, nodes: c.nodes, limited: limited})
		}
	}
	swell := func(ctx context.Context) (*peer, error) { return s.swellPeer(ctx, c.nodes) }
	all := []contender{{nameKubernetes, c.pods, kubernetes(false)}, {nameSwell, c.pods, swell}}
	if c.limited > 0 {
		all = append(all, contender{nameKubernetes + ", default limits", c.limited, kubernetes(true)})
	}
	if c.more > 0 {
		all = append(all, contender{nameSwell + ", more pods", c.more, swell})
	}
	return all
}

func (s *setting) peers(ctx context.Context, c peersConfig, media string) error {
	versions, err := peerVersions(ctx, c.binaries)
	if err != nil {
		return err
	}
	all := s.contenders(c)
	report := newPeersReport(all)
	for i := range s.rounds {
		for at, one := range all {
			fmt.Fprintf(os.Stderr, "round %d of %d: %s, %d pods: ", i+1, s.rounds, one.name, one.pods)
			r, err := one.run(ctx, peerLoad{pods: one.pods, clients: c.clients, connections: c.connections, media: media, protocol: c.protocol})
			if err != nil {
				fmt.Fprintln(os.Stderr)
				return fmt.Errorf("%s: %w", one.name, err)
			}
			report.columns[at].add(r)
			fmt.Fprintf(os.Stderr, "%.0f pods/s to Running\n", perSecond(len(r.running), r.allRunning))
		}
		report.endRound()
	}
	with := map[string]string{
		"nodes": fmt.Sprint(c.nodes), "clients": fmt.Sprint(c.clients), "protocol": c.protocol, "encoding": c.encoding,
		"pods": "one in a request, 100m 64Mi", "etcd": "fsync on, in both", "versions": versions,
		"Kubernetes": "bound pods marked Running by one patch of their status each; scheduler's requests not limited",
		"Swell":      "simulated hosts in the process of the load, their disks in memory",
	}
	r := &result{Scenario: "peers", Time: time.Now().UTC().Truncate(time.Second), Machine: thisMachine(), Setting: with, Rounds: s.rounds, Samples: c.pods}
	r.Rates, r.Figures = report.all()
	return s.publishAs(r, func() { report.print(os.Stdout, r) })
}

// run starts the system, measures it and removes it again.
func (c contender) run(ctx context.Context, l peerLoad) (_ *peerRound, err error) {
	p, err := c.start(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	return p.measure(ctx, l)
}
