package role

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
	"swell.dev/swell/controlplane/nodes"
	"swell.dev/swell/controlplane/scheduler"
)

// startScheduler makes the ledger of capacity from what the store holds: nodes, pods that have one, pods
// that wait for one. Nodes are taken in as they were last seen and are placed on once they reconnect.
func (c *controlPlane) startScheduler(ctx context.Context, pods *loadedPods) (*scheduler.Scheduler, error) {
	if pods.err != nil {
		return nil, pods.err
	}
	s, err := scheduler.New(scheduler.Config{
		Bound: func(req controlplane.PlaceRequest, node string) {
			if err := c.api.Bound(ctx, req, node); err != nil && ctx.Err() == nil {
				c.log.Error("pod not bound", "pod", req.Key.String(), "node", node, "cause", err)
			}
		},
		Resized: func(d controlplane.ResizeDecision) {
			c.persist(ctx, "resize", d.Key, func() error { return c.api.Resized(ctx, d) })
		},
		Boosted:     func(uid, node string, _, _ int64) { c.hub.Boosted(uid, node) },
		Granted:     c.granted,
		SlotGivenUp: func(uid, node string) { c.slots.GivenUp(uid, node) }, // only those that it added are
		Evict: func(e controlplane.Eviction) {
			c.persist(ctx, "eviction", e.Key, func() error { return c.api.Evict(ctx, e) })
		},
		Nominated: func(req controlplane.PlaceRequest, node string) { c.api.Nominated(req, node) },
		// The only one that doesn't wait for a node, which nobody has before the API is there.
		Waits: func(req controlplane.PlaceRequest, why string) {
			select {
			case <-c.apiMade:
				c.api.Waits(ctx, req, why)
			case <-ctx.Done():
			}
		},
	})
	if err != nil {
		return nil, err
	}
	s.RestoreAll(pods.placed)
	slices.SortFunc(pods.waiting, func(a, b controlplane.PlaceRequest) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.UID, b.UID))
	})
	for _, req := range pods.waiting {
		s.Pend(req)
	}
	return s, nil
}

// loadedPods is what other parts have to know of the pods that the store found at its start, gathered while
// it reads them: nobody needs to decode them all again.
type loadedPods struct {
	index *nodes.Pods

	mu      sync.Mutex // guards what follows
	placed  []controlplane.PlaceRequest
	waiting []controlplane.PlaceRequest
	err     error
}

func (l *loadedPods) add(o controlplane.Object) {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return
	}
	l.index.Add(pod)
	if ended(pod) {
		return
	}
	req, err := controlplane.PodPlacement(pod)
	req.Resize = controlplane.WaitingResize(pod)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		l.err = fmt.Errorf("capacity: %w", err)
	case pod.Spec.NodeName != "" && scheduled(pod):
		l.placed = append(l.placed, req)
	default:
		l.waiting = append(l.waiting, req)
	}
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

// followPods gives the room of pods back that ended or are gone, and takes over what users change of pods
// (labels, tolerations) and operators of nodes (labels, taints, cordon).
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
	version := c.loadedAt
	if version != 0 {
		c.loadedAt = 0 // the scheduler was started with what there was then
	} else {
		var pods controlplane.Items
		pods, version = c.store.Items("pods", "")
		for i := range pods.Len() {
			if pod := pods.Object(i).(*corev1.Pod); ended(pod) {
				c.sched.Release(string(pod.UID))
			}
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
			c.podChanged(ev)
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

// podChanged tells the scheduler what matters to it of a pod: that it is gone or going, and its labels and
// tolerations, which users may change.
func (c *controlPlane) podChanged(ev controlplane.Event) {
	pod := ev.Object.(*corev1.Pod)
	if ev.Type == controlplane.Deleted || ended(pod) {
		c.sched.Release(string(pod.UID))
		return
	}
	was, ok := ev.Previous.(*corev1.Pod)
	if !ok || was.UID != pod.UID {
		return
	}
	if pod.DeletionTimestamp != nil && was.DeletionTimestamp == nil && pod.Spec.NodeName != "" {
		c.sched.Leaving(string(pod.UID))
	}
	if policy := v1alpha1.ResizePolicy(pod); policy != v1alpha1.ResizePolicy(was) {
		c.sched.SetPatience(string(pod.UID), policy == v1alpha1.ResizeWait)
	}
	if maps.Equal(was.Labels, pod.Labels) && (was.Generation == pod.Generation || equality.Semantic.DeepEqual(was.Spec.Tolerations, pod.Spec.Tolerations)) {
		return
	}
	if req, err := controlplane.PodPlacement(pod); err == nil {
		c.sched.Update(req)
	}
}

// persistAgain is when a decision is tried again that couldn't be stored.
const persistAgain = time.Second

// persist stores what the ledger decided by itself: it counts on it.
func (c *controlPlane) persist(ctx context.Context, what string, pod controlplane.Key, store func() error) {
	for {
		err := store()
		if err == nil || ctx.Err() != nil {
			return
		}
		c.log.Error(what+" not stored yet", "pod", pod.String(), "cause", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(persistAgain):
		}
	}
}

// granted passes on how much a node's reflex pool has. Until there is a hub no node is connected.
func (c *controlPlane) granted(g controlplane.PoolGrant) {
	if hub := c.hubMade.Load(); hub != nil {
		hub.Grant(g)
	}
}

func orExpired(err error) error {
	if err == nil {
		return controlplane.ErrExpired
	}
	return err
}
