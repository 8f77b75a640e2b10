package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"swell.dev/swell/internal/instance"
	"swell.dev/swell/internal/pki"
)

// trial is one round: the control plane as a process of its own with embedded etcd on a fresh directory, and
// a fleet of simulated hosts in this process.
type trial struct {
	dir    string
	in     *instance.Instance
	nodes  string // where hosts dial
	client *kubernetes.Clientset
	rest   *rest.Config
	fleet  *fleet // nil before join
	ended  bool   // the control plane was ended by end

	perNodelet int64 // bytes of heap and stacks that a joined nodelet takes here
}

// ownGC is GOGC here: the load generator and a fleet of thousands of hosts would otherwise spend on collecting
// their own garbage what belongs to the control plane on the same cores.
const ownGC = 400

// startTrial starts the control plane. The caller closes the trial.
func (s *setting) startTrial(ctx context.Context, args ...string) (_ *trial, err error) {
	if err := raiseFileLimit(); err != nil {
		return nil, err
	}
	t := &trial{}
	if t.dir, err = os.MkdirTemp("", "swell-perf-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close(ctx))
		}
	}()
	if t.nodes, err = instance.FreeAddress(); err != nil {
		return nil, err
	}
	if t.in, err = instance.New(instance.Config{
		Binary: filepath.Join(s.bin, "swell"), Role: "controlplane", DataDir: t.data(), Args: append([]string{"--node-listen", t.nodes}, args...),
	}); err != nil {
		return nil, err
	}
	if err = t.in.Start(ctx); err != nil {
		return nil, err
	}
	if t.rest, err = t.in.REST(); err != nil {
		return nil, err
	}
	t.client, err = kubernetes.NewForConfig(t.rest)
	return t, err
}

func (t *trial) data() string { return filepath.Join(t.dir, "data") }

// join makes a fleet of n hosts and returns when all are ready.
func (t *trial) join(ctx context.Context, n int, change ...func(*fleet)) error {
	ca, err := pki.Open(filepath.Join(t.data(), "pki"))
	if err != nil {
		return err
	}
	before := inUse()
	if t.fleet, err = startFleet(ctx, n, t.nodes, ca, change...); err != nil {
		return err
	}
	if err := awaitReady(ctx, t.client, n); err != nil {
		return err
	}
	t.perNodelet = (inUse() - before) / int64(n)
	return nil
}

// inUse answers this process's heap and stacks without garbage.
func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// end ends the control plane, so that its etcd can be read. The hosts run on, as they do without it.
func (t *trial) end() error {
	t.ended = true
	return t.in.Signal(syscall.SIGINT)
}

// close ends everything and removes it.
func (t *trial) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute) // also after a Ctrl-C
	defer cancel()
	var errs []error
	if t.fleet != nil {
		errs = append(errs, t.fleet.close())
	}
	if t.in != nil {
		errs = append(errs, t.in.Down(ctx))
	}
	return errors.Join(append(errs, os.RemoveAll(t.dir))...)
}

// raiseFileLimit takes as many open files as this process may: each host has a connection and files of its
// own. Go raises the limit for itself, but starts other processes with the one that it found.
func raiseFileLimit() error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	more := unix.Rlimit{Cur: filesWanted, Max: max(l.Max, filesWanted)}
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &more) == nil {
		return nil
	}
	l.Cur = l.Max // the kernel's or a container's bound
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("limit of open files to %d: %w", l.Max, err)
	}
	return nil
}

// filesPerHost are a connection, a journal and a record of pods; filesBeside is what else this process opens.
const (
	filesPerHost = 3
	filesBeside  = 1000
)

// roomFor says why this process can't have so many hosts.
func roomFor(nodes int) error {
	if err := raiseFileLimit(); err != nil {
		return err
	}
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	if need := uint64(nodes)*filesPerHost + filesBeside; need > l.Cur {
		return fmt.Errorf("%d simulated hosts open %d files, and this process may open %d: raise the hard limit (ulimit -Hn), or take at most %d hosts",
			nodes, need, l.Cur, (l.Cur-min(l.Cur, filesBeside))/filesPerHost)
	}
	return nil
}

// filesWanted is for 10,000 hosts and more.
const filesWanted = 1 << 17

// use is what two processes and the store took between startUse and stop.
type use struct {
	controlCPU, ownCPU      time.Duration
	controlRSS, ownRSS      int64 // peaks, in bytes
	transactions, mutations float64
	refused                 float64
	before                  metrics
}

func startUse(ctx context.Context, t *trial) (*use, error) {
	u := &use{}
	var err error
	if u.before, err = scrape(ctx, t.client); err != nil {
		return nil, err
	}
	u.ownCPU = ownCPU()
	u.controlCPU, err = cpuOf(t.in.PID())
	return u, err
}

// stop is called once.
func (u *use) stop(ctx context.Context, t *trial) (*use, error) {
	control, err := cpuOf(t.in.PID())
	if err != nil {
		return nil, err
	}
	u.controlCPU, u.ownCPU = control-u.controlCPU, ownCPU()-u.ownCPU
	after, err := scrape(ctx, t.client)
	if err != nil {
		return nil, err
	}
	u.transactions, u.mutations = after.since(u.before, metricTransactions), after.since(u.before, metricMutations)
	u.refused = after.since(u.before, metricRefused)
	if u.controlRSS, err = peakRSS(t.in.PID()); err != nil {
		return nil, err
	}
	u.ownRSS, err = peakRSS(os.Getpid())
	return u, err
}
