package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/internal/bootclock"
	"swell.dev/swell/internal/pki"
	"swell.dev/swell/nodelet"
	"swell.dev/swell/nodelet/journal"
	"swell.dev/swell/nodelet/session"
	"swell.dev/swell/nodelet/sim"
)

// fleet is simulated hosts in this process: the real nodelet, session and journal, over real gRPC, on a
// simulated runtime. Each has a disk of its own in reality, so their records are kept in memory (/dev/shm).
// Containers, images, networks, cgroups and volumes are simulated, and so are the files that are bound into
// containers and the folders of their logs, unless they are asked for.
type fleet struct {
	files  bool // write the files that are bound into containers
	dir    string
	nodes  []*simNode
	sim    sim.Config // of the hosts
	cancel context.CancelFunc
	wg     sync.WaitGroup

	attachLatency time.Duration // of their networks
}

type simNode struct {
	name    string
	nodelet *nodelet.Nodelet
	journal *journal.Journal
	runtime *sim.Runtime
}

// Room of a simulated host.
const (
	hostCPU    = 64
	hostMemory = "256Gi"
	hostPods   = 1000
)

// startFleet joins n hosts to the control plane whose authority this is.
func startFleet(ctx context.Context, n int, address string, ca *pki.CA, change ...func(*fleet)) (_ *fleet, err error) {
	f := &fleet{sim: sim.Config{Script: func(nodelet.Container) sim.Script { return sim.Script{Forever: true} }}}
	for _, c := range change {
		c(f)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.close())
		}
	}()
	if f.dir, err = os.MkdirTemp("/dev/shm", "swell-perf-"); err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f.cancel = cancel
	roots := ca.Pool()
	for i := range n {
		node, s, err := f.makeNode(ctx, fmt.Sprintf("node-%05d", i), address, ca, roots)
		if node != nil {
			f.nodes = append(f.nodes, node)
		}
		if err != nil {
			return nil, err
		}
		f.wg.Go(func() { _ = s.Run(running) }) // it ends with its context and has no error of its own
	}
	return f, nil
}

func (f *fleet) makeNode(ctx context.Context, name, address string, ca *pki.CA, roots *x509.CertPool) (*simNode, *session.Session, error) {
	config, err := nodeTLS(name, ca, roots)
	if err != nil {
		return nil, nil, err
	}
	dir := filepath.Join(f.dir, name)
	host := sim.NewHost(f.sim)
	n := &simNode{name: name, runtime: host.Runtime()}
	if n.journal, err = journal.Open(filepath.Join(dir, "journal"), bootclock.Host()); err != nil {
		return n, nil, err
	}
	if _, err := host.Images().Pull(ctx, image, nil); err != nil { // present, as with the other scenarios
		return n, nil, err
	}
	quiet := slog.New(slog.DiscardHandler)
	if n.nodelet, err = nodelet.New(nodelet.Config{
		NodeName: name, HostIP: "127.0.0.1", DataDir: dir, Runtime: n.runtime, Images: host.Images(),
		Network: &sim.Network{Latency: f.attachLatency}, Volumes: f.volumes(), Cgroups: &sim.Cgroups{}, Journal: n.journal, Logger: quiet,
		ClusterDNS: []string{"127.0.0.1"}, MemoryCapacity: 256 << 30, CPUCapacity: hostCPU * 1000,
	}); err != nil {
		return n, nil, err
	}
	if err := n.nodelet.Start(ctx); err != nil {
		return n, nil, err
	}
	room := corev1.ResourceList{
		corev1.ResourceCPU: *resource.NewQuantity(hostCPU, resource.DecimalSI), corev1.ResourceMemory: resource.MustParse(hostMemory),
		corev1.ResourcePods: *resource.NewQuantity(hostPods, resource.DecimalSI),
	}
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}},
		Status:     corev1.NodeStatus{Capacity: room, Allocatable: room},
	}
	s, err := session.New(session.Config{
		Address: address, TLS: config, Node: func() *corev1.Node { return node }, Pods: n.nodelet, Journal: n.journal,
		Serve: func(context.Context, *nodev1.Open, session.Stream) error {
			return errors.New("a simulated host has no streams")
		},
		History: time.Minute, Version: "perf", Log: quiet,
	})
	return n, s, err
}

// volumes are a host's. Without sim.Volumes' own way to write files the nodelet writes them.
func (f *fleet) volumes() nodelet.Volumes {
	if f.files {
		return struct{ nodelet.Volumes }{&sim.Volumes{}}
	}
	return &sim.Volumes{Silent: true} // as the fleet's script is
}

// nodeTLS is what a node that joined dials with.
func nodeTLS(name string, ca *pki.CA, roots *x509.CertPool) (*tls.Config, error) {
	csr, key, err := pki.NewRequest(name)
	if err != nil {
		return nil, err
	}
	cert, _, err := ca.SignNode(csr, name)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(cert)
	return &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{{Certificate: [][]byte{block.Bytes}, PrivateKey: key}},
	}, nil
}

// running answers, by pod UID, the nodes that say that they run it.
func (f *fleet) running() map[string][]string {
	out := map[string][]string{}
	for _, n := range f.nodes {
		for _, r := range n.nodelet.Reports() {
			if r.Status.Phase == corev1.PodRunning {
				out[r.UID] = append(out[r.UID], n.name)
			}
		}
	}
	return out
}

func (f *fleet) close() error {
	if f.cancel != nil {
		f.cancel()
	}
	f.wg.Wait()
	var errs []error
	for _, n := range f.nodes {
		if n.nodelet != nil {
			errs = append(errs, n.nodelet.Close())
		}
		if n.journal != nil {
			errs = append(errs, n.journal.Close())
		}
		errs = append(errs, n.runtime.Close())
	}
	if f.dir != "" {
		errs = append(errs, os.RemoveAll(f.dir))
	}
	return errors.Join(errs...)
}
