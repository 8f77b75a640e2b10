// Command perf measures Swell from outside, as its users meet it: the built binary as a process, the REST
// API over TLS, real containers, the kernel's own files. It needs root and what `make` builds in ./bin.
//
//	go run ./perf start       create a pod → answered, process running, seen running by a watch
//	go run ./perf create      pods a second on a fleet of simulated hosts
//	go run ./perf churn       create and delete at a rate for minutes
//	go run ./perf list-watch  many watches and lists beside a load
//	go run ./perf scale       what a placement, a node and a pod cost on fleets of different sizes
//	go run ./perf restart     the control plane is killed and started again, with many pods
//	go run ./perf burst       more creates at once than the store takes
//	go run ./perf kill        the control plane is killed in the middle of a burst
//	go run ./perf peers       the same beside Kubernetes, in turn; make bench-peers builds what it needs
//	go run ./perf tide        a day of demand: slots by forecast, a fixed pool, none
//	go run ./perf slots       start pods in slots, by depth, beside cold ones and ctr run
//	go run ./perf idle        memory and CPU of a nodelet whose pods do nothing
//	go run ./perf resize      resize a running pod → in the kernel's files, answered, seen in its status;
//	                          --fleet: resizes a second on a fleet of simulated hosts
//	go run ./perf boost       a container that compiles at its start: with a startup boost and without
//	go run ./perf reflex      a pod that its quota stops → running again, with bursts and without
//	go run ./perf probe       a pod that its quota stops → known, and what knowing it costs
//	go run ./perf rate        a day's segments into sums by project, class and day, on one core
//	go run ./perf ledger      a day's segments recorded in the ledger and read again; --postgres: in PostgreSQL
//
// Each runs several rounds, each on a fresh data directory, prints medians with their spread over the
// rounds, and writes them with the machine and the setting into perf/results/. From these, report writes the
// tables and plots of docs/performance.md.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// setting is what all scenarios share.
type setting struct {
	bin     string
	rounds  int
	json    bool
	results string
	as      string // overrides the scenario's name
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	debug.SetGCPercent(ownGC)
	var s setting
	root := &cobra.Command{
		Use: "perf", Short: "Measure Swell from outside", SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) (err error) {
			if os.Geteuid() != 0 {
				return fmt.Errorf("containers need root: run it as root")
			}
			if s.rounds < 1 {
				return fmt.Errorf("--rounds %d: at least 1", s.rounds)
			}
			s.bin, err = filepath.Abs(s.bin)
			return err
		},
	}
	root.PersistentFlags().StringVar(&s.bin, "bin", "bin", "folder of swell, containerd, runc and the example server")
	root.PersistentFlags().IntVar(&s.rounds, "rounds", 5, "how often to measure, each time on a fresh data directory")
	root.PersistentFlags().BoolVar(&s.json, "json", false, "print the result as JSON")
	root.PersistentFlags().StringVar(&s.results, "results", "perf/results", "folder to write the result into; empty: nowhere")
	root.PersistentFlags().StringVar(&s.as, "as", "", "name of the result; empty: the scenario's")
	root.AddCommand(startCommand(&s), slotsCommand(&s), idleCommand(&s), resizeCommand(&s), createCommand(&s), peersCommand(&s))
	root.AddCommand(killCommand(&s))
	root.AddCommand(restartCommand(&s), burstCommand(&s), churnCommand(&s), listWatchCommand(&s), scaleCommand(&s))
	root.AddCommand(tideCommand(&s), reportCommand(&s))
	root.AddCommand(reflexCommand(&s), boostCommand(&s), probeCommand(&s), updateCommand(&s))
	root.AddCommand(rateCommand(&s), rateProcess(), billCommand(&s), ledgerCommand(&s), ledgerProcess())
	root.AddCommand(reflexProcesses()...)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "perf:", err)
		os.Exit(1)
	}
}
