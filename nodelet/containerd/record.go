package containerd

import (
	"context"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	corev1 "k8s.io/api/core/v1"
)

// UpdateRecord makes containerd's record of a container follow a new size. It returns at once; of
// several sizes for one container the last is written. Only the record changes: the kernel has the
// values already, and runc, if it wrote them again now, could undo a resize that came after this one.
func (r *Runtime) UpdateRecord(id string, resources corev1.ResourceRequirements) {
	r.mu.Lock()
	_, busy := r.records[id]
	r.records[id] = resources.DeepCopy()
	r.mu.Unlock()
	if busy {
		return
	}
	r.background(recordWithin, func(ctx context.Context) {
		for {
			r.mu.Lock()
			next := r.records[id]
			if next == nil {
				delete(r.records, id)
				r.mu.Unlock()
				return
			}
			r.records[id] = nil
			r.mu.Unlock()
			if err := r.writeRecord(ctx, id, *next); err != nil && !errdefs.IsNotFound(err) {
				r.cfg.Log.Warn("containerd's record of a size is behind", "container", id, "cause", err)
			}
		}
	})
}

func (r *Runtime) writeRecord(ctx context.Context, id string, resources corev1.ResourceRequirements) error {
	container, err := r.client.LoadContainer(ctx, id)
	if err != nil {
		return err
	}
	return container.Update(ctx, func(_ context.Context, _ *client.Client, c *containers.Container) error {
		var s specs.Spec
		if err := typeurl.UnmarshalTo(c.Spec, &s); err != nil {
			return err
		}
		s.Linux.Resources.CPU, s.Linux.Resources.Memory = limits(resources, r.swapCounted)
		any, err := typeurl.MarshalAny(&s)
		c.Spec = any
		return err
	})
}
