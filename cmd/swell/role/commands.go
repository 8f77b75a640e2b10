package role

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"swell.dev/swell/internal/apiclient"
)

// readyLine is printed alone on a line when pods can be created.
const readyLine = "swell is ready"

// Commands answers the commands that run a role. version is this program's.
func Commands(version string) []*cobra.Command {
	return []*cobra.Command{newUp(version), newDown(), newControlPlane(version), newNodelet(version)}
}

func dataDirFlag(cmd *cobra.Command, into *string) {
	cmd.Flags().StringVar(into, "data-dir", apiclient.DefaultDataDir, "where everything durable is kept")
}

// openLog answers a logger to a file in the data directory, and to the terminal too if it is verbose.
func openLog(dir *dataDir, verbose bool, terminal io.Writer) (*slog.Logger, io.Closer, error) {
	f, err := os.OpenFile(dir.join("swell.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("log: %w", err)
	}
	var w io.Writer = f
	if verbose {
		w = io.MultiWriter(f, terminal)
	}
	return slog.New(slog.NewTextHandler(w, nil)), f, nil
}

func newUp(version string) *cobra.Command {
	var path string
	var verbose bool
	var cc controlPlaneConfig
	var nc nodeletConfig
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run the whole system on this machine: etcd, control plane, nodelet, metering, containerd",
		Long: `Run the whole system in this process, with a containerd of its own as a child.

Ctrl-C ends it and leaves the containers running; the next "swell up" on the same data directory goes
on with them. "swell down" removes everything that it made.`,
		Example: `  sudo swell up
  sudo swell up --data-dir /srv/swell --listen 0.0.0.0:6443 --tls-san swell.example.com
  kubectl --kubeconfig /var/lib/swell/kubeconfig get pods`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return up(cmd.Context(), cmd.OutOrStdout(), path, cc, nc, version, verbose)
		},
	}
	dataDirFlag(cmd, &path)
	cc.flags(cmd.Flags(), "127.0.0.1:0") // its own nodelet is told where that is
	nc.flags(cmd.Flags())
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "print the log, which is in DATA-DIR/swell.log")
	return cmd
}

func up(ctx context.Context, out io.Writer, path string, cc controlPlaneConfig, nc nodeletConfig, version string, verbose bool) (err error) {
	if err := errors.Join(cc.validate(), nc.complete()); err != nil {
		return err
	}
	dir, err := openDataDir(path)
	if err != nil {
		return err
	}
	defer dir.close()
	log, logFile, err := openLog(dir, verbose, out)
	if err != nil {
		return err
	}
	defer logFile.Close()

	cp, err := startControlPlane(ctx, dir, cc, version, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cp.close()) }()
	id, err := cp.localIdentity(nc.NodeName, log)
	if err != nil {
		return err
	}
	n, err := startNodelet(ctx, dir, nc, reachable(cp.nodeAddr), id.tls(), version, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(n.close(), err) }()
	if err := cp.awaitNode(ctx, nc.NodeName); err != nil {
		return err
	}
	fmt.Fprintf(out, "API         https://%s\nnodelets    %s\ndata        %s\nkubeconfig  %s\n\n", cp.apiAddr, cp.nodeAddr, dir.path, cp.kubeconfig())
	fmt.Fprintf(out, "  kubectl --kubeconfig %s get pods\n\nCtrl-C ends swell and leaves containers running; `swell down --data-dir %s` removes everything.\n", cp.kubeconfig(), dir.path)
	fmt.Fprintln(out, readyLine)
	return cp.wait(ctx)
}

func newControlPlane(version string) *cobra.Command {
	var path string
	var verbose bool
	var cc controlPlaneConfig
	cmd := &cobra.Command{
		Use:   "controlplane",
		Short: "Run the control plane alone: the REST API, the scheduler, the ledger, embedded etcd or a cluster's",
		Example: `  swell controlplane --listen 0.0.0.0:6443 --node-listen 0.0.0.0:6444 --tls-san swell.example.com
  swell controlplane --etcd-endpoints https://10.0.0.1:2379 --etcd-ca ca.crt --etcd-cert c.crt --etcd-key c.key`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := cc.validate(); err != nil {
				return err
			}
			dir, err := openDataDir(path)
			if err != nil {
				return err
			}
			defer dir.close()
			log, logFile, err := openLog(dir, verbose, cmd.OutOrStdout())
			if err != nil {
				return err
			}
			defer logFile.Close()
			cp, err := startControlPlane(cmd.Context(), dir, cc, version, log)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, cp.close()) }()
			fmt.Fprintf(cmd.OutOrStdout(), "API         https://%s\nnodelets    %s\nkubeconfig  %s\n%s\n", cp.apiAddr, cp.nodeAddr, cp.kubeconfig(), readyLine)
			return cp.wait(cmd.Context())
		},
	}
	dataDirFlag(cmd, &path)
	cc.flags(cmd.Flags(), defaultNodeListen)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "print the log, which is in DATA-DIR/swell.log")
	return cmd
}

func newNodelet(version string) *cobra.Command {
	var path string
	var verbose bool
	var nc nodeletConfig
	var jc joinConfig
	cmd := &cobra.Command{
		Use:   "nodelet",
		Short: "Run this host's nodelet, which runs pods for a control plane",
		Example: `  swell nodes token                 # on a machine with a kubeconfig
  sudo swell nodelet --join swell.example.com:6444 --token TOKEN --ca-hash sha256:…`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if jc.Address == "" {
				return errors.New("--join is required: the control plane's address for nodelets, as host:port")
			}
			if err := nc.complete(); err != nil {
				return err
			}
			dir, err := openDataDir(path)
			if err != nil {
				return err
			}
			defer dir.close()
			log, logFile, err := openLog(dir, verbose, cmd.OutOrStdout())
			if err != nil {
				return err
			}
			defer logFile.Close()
			id, err := join(cmd.Context(), dir.join("nodelet", "pki"), nc.NodeName, jc, log)
			if err != nil {
				return err
			}
			n, err := startNodelet(cmd.Context(), dir, nc, jc.Address, id.tls(), version, log)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, n.close()) }()
			n.wg.Go(func() { id.keep(cmd.Context()) })
			n.wg.Go(func() { trim(cmd.Context()) })
			fmt.Fprintf(cmd.OutOrStdout(), "node        %s\ncontrol     %s\n%s\n", nc.NodeName, jc.Address, readyLine)
			<-cmd.Context().Done()
			return nil
		},
	}
	dataDirFlag(cmd, &path)
	nc.flags(cmd.Flags())
	cmd.Flags().StringVar(&nc.MetricsListen, "metrics-listen", "", "host:port of /metrics for Prometheus, plain and open to whoever reaches it (default: none)")
	cmd.Flags().StringVar(&jc.Address, "join", "", "address that the control plane has for nodelets, host:port")
	cmd.Flags().StringVar(&jc.Token, "token", "", "one-time token from `swell nodes token`; not needed once the node has joined")
	cmd.Flags().StringVar(&jc.CAHash, "ca-hash", "", "hash of the control plane's CA, printed with the token")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "print the log, which is in DATA-DIR/swell.log")
	return cmd
}

func newDown() *cobra.Command {
	var path string
	var purge bool
	var nc nodeletConfig
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Remove what swell made on this host: containers, cgroups, networks, mounts",
		Long: `Remove what swell made on this host: containers, cgroups, network namespaces, the bridge, the nftables
table, mounts, and its containerd. A swell that still runs on the data directory is ended first.

The data directory with the objects and the bills stays, unless --purge is given: the next "swell up"
starts the pods that it holds anew.`,
		Example: `  sudo swell down
  sudo swell down --data-dir /srv/swell --purge`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := os.Stat(filepath.Join(path, "instance")); errors.Is(err, os.ErrNotExist) {
				fmt.Fprintf(cmd.OutOrStdout(), "Nothing to remove: %s is not a data directory of swell.\n", path)
				return nil
			}
			if err := stopHolder(path); err != nil {
				return err
			}
			dir, err := openDataDir(path)
			if err != nil {
				return err
			}
			defer dir.close()
			log, logFile, err := openLog(dir, false, cmd.OutOrStdout())
			if err != nil {
				return err
			}
			defer logFile.Close()
			if err := down(cmd.Context(), dir, &nc, log); err != nil {
				return err
			}
			if purge {
				return os.RemoveAll(dir.path)
			}
			return nil
		},
	}
	dataDirFlag(cmd, &path)
	cmd.Flags().BoolVar(&purge, "purge", false, "remove the data directory too, with all objects and bills")
	cmd.Flags().StringVar(&nc.ContainerdSocket, "containerd-socket", "", "the containerd that swell was told to use, if not its own")
	return cmd
}
