package main

import (
	"context"
	"errors"
	"net/http"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
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
		metrics: func(ctx context.Context) (metrics, error) {
			raw, err := get(ctx, http.DefaultClient, "http://"+k.ports.etcd+"/metrics")
			if err != nil {
				return nil, err
			}
			return parseMetrics(raw)
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

// swellPeer starts the control plane, and simulated hosts in this process.
func (s *setting) swellPeer(ctx context.Context, nodes int) (*peer, error) {
	t, err := s.startTrial(ctx)
	if err != nil {
		return nil, err
	}
	if err := t.join(ctx, nodes); err != nil {
		return nil, errors.Join(err, t.close(ctx))
	}
	return &peer{
		rest: t.rest, client: t.client, servers: []int{t.in.PID()},
		metrics: func(ctx context.Context) (metrics, error) { return scrape(ctx, t.client) },
		check: func(ctx context.Context, made []created) (int, error) {
			found, _, err := t.check(ctx, answeredAs(made))
			return found.wrong(), err
		},
		close: func() error { return t.close(ctx) },
	}, nil
}
