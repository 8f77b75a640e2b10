package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"swell.dev/swell/internal/instance"
	"swell.dev/swell/internal/pki"
)

// kubernetesPeer starts Kubernetes under a directory of its own.
func kubernetesPeer(ctx context.Context, cfg kubeConfig) (*peer, error) {
	dir, err := os.MkdirTemp("", "swell-peer-")
	if err != nil {
		return nil, err
	}
	cfg.dir = dir
	k, err := startKube(ctx, cfg)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	p := &peer{
		rest: k.rest, client: k.client, marked: true,
		metrics: func(ctx context.Context) ([]byte, error) {
			return get(ctx, http.DefaultClient, "http://"+k.ports.etcd+"/metrics")
		},
		check: func(ctx context.Context, made []created) (int, error) { return notRunning(ctx, k.client, made) },
		close: func() error {
			k.close()
			return os.RemoveAll(dir)
		},
	}
	for _, d := range k.daemons {
		p.servers = append(p.servers, d.pid())
	}
	return p, nil
}

// notRunning counts the pods that were answered and don't stand in the store on a node and Running, and those
// that stand there and nobody was answered of. That a name stands there once is in the store's nature.
func notRunning(ctx context.Context, client kubernetes.Interface, made []created) (wrong int, err error) {
	answered := make(map[string]bool, len(made))
	for _, m := range made {
		answered[m.uid] = true
	}
	opts := metav1.ListOptions{Limit: 5000}
	for {
		list, err := client.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, opts)
		if err != nil {
			return 0, err
		}
		for i := range list.Items {
			p := &list.Items[i]
			if !answered[string(p.UID)] || p.Spec.NodeName == "" || p.Status.Phase != corev1.PodRunning {
				wrong++
			}
			delete(answered, string(p.UID))
		}
		if opts.Continue = list.Continue; opts.Continue == "" {
			return wrong + len(answered), nil
		}
	}
}

// swellPeer starts the control plane under a directory of its own, and simulated hosts in this process.
func (s *setting) swellPeer(ctx context.Context, nodes int) (_ *peer, err error) {
	dir, err := os.MkdirTemp("", "swell-peer-")
	if err != nil {
		return nil, err
	}
	var undo []func() error
	closeAll := func() error {
		var errs []error
		for i := len(undo) - 1; i >= 0; i-- {
			errs = append(errs, undo[i]())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll())
		}
	}()
	undo = append(undo, func() error { return os.RemoveAll(dir) })
	address, err := instance.FreeAddress()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	in, err := instance.New(instance.Config{
		Binary: filepath.Join(s.bin, "swell"), Role: "controlplane", DataDir: data, Args: []string{"--node-listen", address},
	})
	if err != nil {
		return nil, err
	}
	undo = append(undo, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute) // also after a Ctrl-C
		defer cancel()
		return in.Down(ctx)
	})
	if err := in.Start(ctx); err != nil {
		return nil, err
	}
	p := &peer{servers: []int{in.PID()}, close: closeAll}
	if p.rest, err = in.REST(); err != nil {
		return nil, err
	}
	client, err := in.Client()
	if err != nil {
		return nil, err
	}
	p.client = client
	p.metrics = func(ctx context.Context) ([]byte, error) {
		return client.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	}
	ca, err := pki.Open(filepath.Join(data, "pki"))
	if err != nil {
		return nil, err
	}
	f, err := startFleet(ctx, nodes, address, ca)
	if err != nil {
		return nil, err
	}
	undo = append(undo, f.close)
	p.check = func(ctx context.Context, made []created) (int, error) { return compare(ctx, client, f, made) }
	return p, awaitReady(ctx, client, nodes)
}
