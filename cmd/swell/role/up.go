package role

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/controlplane"
)

// localIdentity gives the nodelet of this process a certificate, as a join with a token would.
func (c *controlPlane) localIdentity(node string, log *slog.Logger) (*identity, error) {
	id := &identity{dir: c.dir.join("nodelet", "pki"), node: node, address: c.nodeAddr, log: log}
	if err := os.MkdirAll(id.dir, 0o700); err != nil {
		return nil, fmt.Errorf("node certificate: %w", err)
	}
	return id, id.request(func(csr []byte) (*nodev1.JoinResponse, error) {
		cert, ca, err := c.ca.SignNode(csr, node)
		return &nodev1.JoinResponse{CertificatePem: cert, CaPem: ca}, err
	})
}

// nodeWithin bounds how long the nodelet of this process may take to connect.
const nodeWithin = 30 * time.Second

// awaitNode returns when a node is ready for pods.
func (c *controlPlane) awaitNode(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, nodeWithin)
	defer cancel()
	version := c.store.Version()
	sub, err := c.store.Watch("nodes", "", version)
	if err != nil {
		return err
	}
	defer sub.Stop()
	if o, ok := c.store.Get(controlplane.Key{Resource: "nodes", Name: name}); ok && nodeReady(o.(*corev1.Node)) {
		return nil
	}
	for {
		select {
		case ev, ok := <-sub.Events:
			if !ok {
				return fmt.Errorf("node %s: %w", name, orExpired(sub.Err()))
			}
			if ev.Key.Name == name && ev.Type != controlplane.Deleted && nodeReady(ev.Object.(*corev1.Node)) {
				return nil
			}
		case err := <-c.failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("node %s hasn't connected within %s: see %s", name, nodeWithin, c.dir.join("swell.log"))
		}
	}
}

func nodeReady(n *corev1.Node) bool {
	for _, cond := range n.Status.Conditions {
		if cond.Type == corev1.NodeReady {
			return cond.Status == corev1.ConditionTrue
		}
	}
	return false
}

// wait returns when the role is told to end, or can't go on.
func (c *controlPlane) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-c.failed:
		return err
	}
}
