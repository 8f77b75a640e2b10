package role

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/controlplane"
	"swell.dev/swell/controlplane/nodes"
	"swell.dev/swell/controlplane/scheduler"
)

// startScheduler makes the ledger of capacity from what the store holds: nodes, pods that have one, pods
// that wait for one. Nodes are taken in as they were last seen and are placed on once they reconnect.
func (c *controlPlane) startScheduler(ctx context.Context) (*scheduler.Scheduler, error) {
	s, err := scheduler.New(scheduler.Config{
		Bound: func(req controlplane.PlaceRequest, node string) {
			if err := c.api.Bound(ctx, req, node); err != nil && ctx.Err() == nil {
				c.log.Error("pod not bound", "pod", req.Key.String(), "node", node, "cause", err)
			}
		},
		ResizeAdmitted: func(uid string, d controlplane.Demand) {
			if err := c.api.AdmitResize(ctx, uid, d); err != nil && ctx.Err() == nil {
				c.log.Error("deferred resize not admitted", "pod", uid, "cause", err)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	pods, _ := c.store.List("pods", "")
	for _, o := range pods {
		pod := o.(*corev1.Pod)
		if ended(pod) {
			continue
		}
		req, err := controlplane.PodPlacement(pod)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("capacity: %w", err), s.Close())
		}
		if pod.Spec.NodeName != "" && scheduled(pod) {
			s.Restore(req)
			continue
		}
		s.Pend(req)
	}
	return s, nil
}

// scheduled tells a pod that has room on its node from one that only asks for that node.
func scheduled(pod *corev1.Pod) bool {
	for _, cond := range pod.Status.Conditions {
		if cond.Type == corev1.PodScheduled {
			return cond.Status == corev1.ConditionTrue
		}
	}
	return false
}

// followPods gives the room of pods back that ended or are gone, and takes over what operators change of
// nodes (labels, cordon).
func (c *controlPlane) followPods(ctx context.Context) error {
	for {
		err := c.followOnce(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if !errors.Is(err, controlplane.ErrExpired) {
			return err
		}
	}
}

func (c *controlPlane) followOnce(ctx context.Context) error {
	pods, version := c.store.List("pods", "")
	for _, o := range pods {
		if ended(o.(*corev1.Pod)) {
			c.sched.Release(string(o.GetUID()))
		}
	}
	podEvents, err := c.store.Watch("pods", "", version)
	if err != nil {
		return err
	}
	defer podEvents.Stop()
	nodeEvents, err := c.store.Watch("nodes", "", version)
	if err != nil {
		return err
	}
	defer nodeEvents.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev, ok := <-podEvents.Events:
			if !ok {
				return orExpired(podEvents.Err())
			}
			if ev.Type == controlplane.Deleted || ended(ev.Object.(*corev1.Pod)) {
				c.sched.Release(string(ev.Object.GetUID()))
			}
		case ev, ok := <-nodeEvents.Events:
			if !ok {
				return orExpired(nodeEvents.Err())
			}
			if ev.Type == controlplane.Deleted {
				c.sched.RemoveNode(ev.Key.Name)
			} else if node := ev.Object.(*corev1.Node); len(node.Status.Allocatable) > 0 {
				c.sched.SetNode(nodes.SchedulerNode(node))
			}
		}
	}
}

func orExpired(err error) error {
	if err == nil {
		return controlplane.ErrExpired
	}
	return err
}
