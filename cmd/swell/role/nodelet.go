package role

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/cgroups"
	"swell.dev/swell/internal/bootclock"
	"swell.dev/swell/nodelet"
	"swell.dev/swell/nodelet/containerd"
	"swell.dev/swell/nodelet/journal"
	"swell.dev/swell/nodelet/network"
	"swell.dev/swell/nodelet/podcgroup"
	"swell.dev/swell/nodelet/reflex"
	"swell.dev/swell/nodelet/session"
	"swell.dev/swell/nodelet/stream"
	"swell.dev/swell/nodelet/volume"
)

// host is what a nodelet has made and uses on its host: the parts below the lifecycle.
type host struct {
	child   *containerd.Child // nil with a containerd that others run
	runtime *containerd.Runtime
	images  *containerd.Images
	network *network.Network
	volumes *volume.Manager
	cgroups *podcgroup.Tree
	journal *journal.Journal
}

// What carries the instance's id outside of the data directory.
func cgroupParent(d *dataDir) string { return "/swell-" + d.instance }
func runDir(d *dataDir) string       { return filepath.Join("/run", "swell-"+d.instance) }

// memoryQoS is what the node does for memory beside limits.
func (c *nodeletConfig) memoryQoS() (podcgroup.MemoryQoS, error) {
	capacity, err := hostCapacity()
	if err == nil {
		capacity, err = parseCapacity(c.Capacity, capacity)
	}
	return podcgroup.MemoryQoS{
		Throttling: c.MemoryThrottling, Reservation: c.MemoryReserve == reserveTiered, Allocatable: capacity.Memory().Value(),
	}, err
}

// openHost starts or adopts containerd and opens everything else.
func openHost(ctx context.Context, dir *dataDir, cfg *nodeletConfig, log *slog.Logger) (_ *host, err error) {
	h := &host{}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()
	hierarchy, err := cgroups.Detect()
	if err != nil {
		return nil, err
	}
	qos, err := cfg.memoryQoS()
	if err != nil {
		return nil, err
	}
	if h.cgroups, err = podcgroup.New(hierarchy, cgroupParent(dir), qos); err != nil {
		return nil, err
	}
	if h.network, err = network.New(network.Config{
		Instance: dir.instance, StateDir: dir.join("nodelet", "network"), RunDir: filepath.Join(runDir(dir), "netns"), CIDR: cfg.PodCIDR,
	}); err != nil {
		return nil, err
	}
	if h.volumes, err = volume.New(volume.Config{Dir: dir.join("nodelet", "volumes")}); err != nil {
		return nil, err
	}
	if h.journal, err = journal.Open(dir.join("nodelet", "journal"), bootclock.Host()); err != nil {
		return nil, err
	}
	binaries, err := containerd.FindBinaries(cfg.BinDir)
	if err != nil {
		return nil, err
	}
	rc := containerd.Config{Address: cfg.ContainerdSocket, Namespace: "swell-" + dir.instance, Runc: binaries.Runc, Logger: binaries.Logger, Log: log,
		Holder: binaries.Holder, GateDir: dir.join("gates")}
	if cfg.ContainerdSocket == "" {
		if h.child, err = containerd.StartChild(ctx, containerd.ChildConfig{Dir: dir.join("containerd"), Binaries: binaries, Log: log}); err != nil {
			return nil, err
		}
		rc = h.child.Config()
	}
	if h.runtime, err = containerd.New(ctx, rc); err != nil {
		return nil, err
	}
	if h.images, err = containerd.NewImages(ctx, rc); err != nil {
		return nil, err
	}
	return h, nil
}

// close leaves everything running.
func (h *host) close() error {
	var errs []error
	if h.images != nil {
		errs = append(errs, h.images.Close())
	}
	if h.runtime != nil {
		errs = append(errs, h.runtime.Close())
	}
	if h.child != nil {
		h.child.Release()
	}
	if h.journal != nil {
		errs = append(errs, h.journal.Close())
	}
	return errors.Join(errs...)
}

// runningNodelet is the role.
type runningNodelet struct {
	host    *host
	reflex  *reflex.Reflex // nil: it is off
	metrics prometheus.Collector
	server  *http.Server // of metrics; nil: none
	nodelet *nodelet.Nodelet
	cancel  context.CancelFunc
	wg      sync.WaitGroup
}

// startNodelet adopts what runs on this host and connects to a control plane. It returns when the
// nodelet works, whether or not the control plane answers.
func startNodelet(ctx context.Context, dir *dataDir, cfg nodeletConfig, address string, tlsConfig *tls.Config, version string, log *slog.Logger) (_ *runningNodelet, err error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	labels, err := cfg.labels()
	if err != nil {
		return nil, err
	}
	capacity, err := hostCapacity()
	if err != nil {
		return nil, err
	}
	if capacity, err = parseCapacity(cfg.Capacity, capacity); err != nil {
		return nil, err
	}
	node, err := describeHost(cfg.NodeName, cfg.NodeIP, version, capacity, labels)
	if err != nil {
		return nil, err
	}
	n := &runningNodelet{}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	if n.host, err = openHost(ctx, dir, &cfg, log); err != nil {
		return nil, err
	}
	nodeletConfig := nodelet.Config{
		NodeName: cfg.NodeName, HostIP: cfg.NodeIP, DataDir: dir.join("nodelet"),
		Runtime: n.host.runtime, Images: n.host.images, Network: n.host.network, Volumes: n.host.volumes,
		Cgroups: n.host.cgroups, Journal: n.host.journal, Logger: log,
		NoHistory: cfg.UsageHistory == 0, MemoryWindow: cfg.MemoryWindow,
	}
	rungs, bursts, err := reflexRungs(cfg.Reflex)
	if err != nil {
		return nil, err
	}
	if bursts {
		n.reflex = newReflex(n.host, rungs, func(uid string, s *nodelet.BurstState) { n.nodelet.Bursting(uid, s) }, log)
		n.reflex.Detect()
		nodeletConfig.Bursts = n.reflex
		// Of several nodelets in one process, as tests have them, the first is told of.
		if m := (reflexMetrics{n.reflex}); prometheus.Register(m) == nil {
			n.metrics = m
		}
	}
	if n.nodelet, err = nodelet.New(nodeletConfig); err != nil {
		return nil, err
	}
	if err := n.nodelet.Start(ctx); err != nil {
		return nil, fmt.Errorf("nodelet: %w", err)
	}
	deps := stream.Deps{Runtime: n.host.runtime, Images: n.host.images, FindContainer: n.nodelet.FindContainer}
	sessionConfig := session.Config{
		Address: address, TLS: tlsConfig, Node: func() *corev1.Node { return describeReflex(node, n.reflex) },
		Conditions: func() []corev1.NodeCondition { return []corev1.NodeCondition{reflexCondition(n.reflex)} },
		Pods:       n.nodelet, Journal: n.host.journal, Heartbeat: cfg.Heartbeat, History: cfg.UsageHistory, Version: version, Log: log,
		Serve: func(ctx context.Context, open *nodev1.Open, s session.Stream) error {
			return stream.Handle(ctx, deps, open, s)
		},
	}
	if n.reflex != nil {
		sessionConfig.Pool = n.reflex
	}
	s, err := session.New(sessionConfig)
	if err != nil {
		return nil, err
	}
	if cfg.MetricsListen != "" {
		if err := n.serveMetrics(cfg.MetricsListen); err != nil {
			return nil, err
		}
	}
	running, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.wg.Go(func() { _ = s.Run(running) }) // it ends with its context and has no error of its own
	return n, nil
}

// serveMetrics serves the process's metrics to whoever can reach an address.
func (n *runningNodelet) serveMetrics(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("--metrics-listen %s: %w", address, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.Handler())
	n.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	n.wg.Go(func() { _ = n.server.Serve(l) }) // until it is closed
	return nil
}

// close ends the nodelet and leaves the containers running. It is idempotent.
func (n *runningNodelet) close() error {
	var errs []error
	if n.cancel != nil {
		n.cancel()
	}
	if n.server != nil {
		errs = append(errs, n.server.Close())
	}
	n.wg.Wait()
	if n.nodelet != nil {
		errs = append(errs, n.nodelet.Close())
	}
	if n.reflex != nil {
		n.reflex.Close()
		if n.metrics != nil {
			prometheus.Unregister(n.metrics)
		}
	}
	if n.host != nil {
		errs = append(errs, n.host.close())
	}
	return errors.Join(errs...)
}
