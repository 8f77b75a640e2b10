package nodes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
	"swell.dev/swell/internal/quantities"
)

// commitsAtOnce bounds the durable writes that one message of reports has in flight.
const commitsAtOnce = 64

// reports applies what a nodelet has observed. Those of one message are of different pods; the next
// message is taken when this one's durable writes are done, so that a pod's reports stay in order.
func (h *Hub) reports(ctx context.Context, s *session, in []*nodev1.PodReport) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(commitsAtOnce)
	for _, r := range in {
		if err := h.report(ctx, s, r, group); err != nil {
			return errors.Join(err, group.Wait())
		}
	}
	return group.Wait()
}

func (h *Hub) report(ctx context.Context, s *session, r *nodev1.PodReport, group *errgroup.Group) error {
	var st corev1.PodStatus
	if err := st.Unmarshal(r.Status); err != nil {
		return status.Errorf(codes.InvalidArgument, "report of pod %s/%s: status: %v", r.Namespace, r.Name, err)
	}
	key := podKey(r.Namespace, r.Name)
	var pod *corev1.Pod // looked up only where more than its status is needed: a stored pod may have to be decoded
	if !h.indexed(s.node, key, r.Uid) || terminal(&st) || r.Finished || len(r.Events) > 0 {
		pod = h.pod(key, r.Uid)
		if pod != nil && pod.Spec.NodeName != s.node {
			h.cfg.Log.Warn("report refused", "node", s.node, "pod", key.String(), "cause", "the pod is on node "+pod.Spec.NodeName)
			pod = nil
		}
		if pod == nil {
			if !r.Finished {
				s.mark(r.Uid, key) // answered with Remove
			}
			return nil
		}
	}
	h.events.record(ctx, pod, byNodelet, s.node, r.Events)
	if d, ok := actuated(&st); ok {
		h.cfg.Scheduler.Actuated(r.Uid, d)
	}
	h.boostReport(s, r)
	if terminal(&st) || (r.Finished && pod.DeletionTimestamp != nil) {
		group.Go(func() error {
			if err := h.ended(ctx, key, r.Uid, s.node, &st); err != nil {
				return err
			}
			return h.settle(ctx, key, r.Uid, &st, r.Finished)
		})
		return nil
	}
	_, err := h.cfg.Store.Observe(key, func(current controlplane.Object) controlplane.Object {
		return observed(current.(*corev1.Pod), r.Uid, &st)
	})
	if errors.Is(err, controlplane.ErrNotFound) {
		return nil
	}
	return err
}

// indexed tells whether a pod is known to be on a node. One that isn't may be there all the same.
func (h *Hub) indexed(node string, key controlplane.Key, uid string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.pods.uids[uid]
	return p != nil && p.node.node == node && p.key() == key
}

// pod answers the stored pod of that name if it is the one with that UID, else nil.
func (h *Hub) pod(key controlplane.Key, uid string) *corev1.Pod {
	o, ok := h.cfg.Store.Get(key)
	if !ok || string(o.GetUID()) != uid {
		return nil
	}
	return o.(*corev1.Pod)
}

// ended tells of a pod that has ended, if it ever ran.
func (h *Hub) ended(ctx context.Context, key controlplane.Key, uid, node string, st *corev1.PodStatus) error {
	if h.cfg.Ended == nil {
		return nil
	}
	l, ran := lifecycle(key, uid, node, st)
	if !ran {
		return nil
	}
	if err := h.cfg.Ended(ctx, l); err != nil {
		return fmt.Errorf("%s: its end: %w", key, err)
	}
	return nil
}

// settle makes durable what must outlive the node: that a pod ended, and that a deleted one is gone.
func (h *Hub) settle(ctx context.Context, key controlplane.Key, uid string, st *corev1.PodStatus, finished bool) error {
	_, err := h.cfg.Store.Commit(ctx, controlplane.Mutation{Key: key, Change: func(current controlplane.Object) (controlplane.Object, error) {
		if current == nil || string(current.GetUID()) != uid {
			return nil, controlplane.ErrNotFound
		}
		pod := current.(*corev1.Pod)
		if finished && pod.DeletionTimestamp != nil && len(pod.Finalizers) == 0 {
			return nil, nil
		}
		return observed(pod, uid, st), nil
	}})
	if errors.Is(err, controlplane.ErrNotFound) {
		return nil
	}
	return err
}

// observed answers the pod with a reported status, or the same pod if that says nothing new. What the
// control plane decided (placement, a resize that waits) isn't the nodelet's to say.
func observed(pod *corev1.Pod, uid string, st *corev1.PodStatus) *corev1.Pod {
	if string(pod.UID) != uid || terminal(&pod.Status) {
		return pod // another pod of that name, or one whose end is already recorded
	}
	quantities.Share(&pod.Spec, st)
	next := *st
	next.Conditions = mergeConditions(pod.Status.Conditions, st.Conditions)
	if next.QOSClass == "" {
		next.QOSClass = pod.Status.QOSClass
	}
	next.ObservedGeneration = max(st.ObservedGeneration, pod.Status.ObservedGeneration)
	if equality.Semantic.DeepEqual(&next, &pod.Status) {
		return pod
	}
	out := *pod // shallow: nothing but the status differs, and stored objects are never changed
	out.Status = next
	return &out
}

func ownCondition(t corev1.PodConditionType) bool {
	return t == corev1.PodScheduled || t == corev1.PodResizePending
}

// mergeConditions takes over what was reported, but for what is the control plane's own to say. That a pod has to
// go both say: the control plane of one that gives way, the nodelet of one that it evicts.
func mergeConditions(current, reported []corev1.PodCondition) []corev1.PodCondition {
	out := make([]corev1.PodCondition, 0, len(current)+len(reported))
	disrupted := false
	for _, c := range reported {
		if !ownCondition(c.Type) {
			out = append(out, c)
			disrupted = disrupted || c.Type == corev1.DisruptionTarget
		}
	}
	for _, c := range current {
		if ownCondition(c.Type) || c.Type == corev1.DisruptionTarget && !disrupted {
			out = append(out, c)
		}
	}
	return out
}

func terminal(st *corev1.PodStatus) bool {
	return st.Phase == corev1.PodSucceeded || st.Phase == corev1.PodFailed
}

// actuated is the size that the kernel holds for the containers and, once the pod is initialized, for its sidecars:
// of init containers those that haven't ended. It is false if not all report one.
func actuated(st *corev1.PodStatus) (controlplane.Demand, bool) {
	var d controlplane.Demand
	if len(st.ContainerStatuses) == 0 {
		return d, false
	}
	all := st.ContainerStatuses
	if slices.ContainsFunc(st.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodInitialized && c.Status == corev1.ConditionTrue
	}) {
		for i := range st.InitContainerStatuses {
			if s := &st.InitContainerStatuses[i]; s.State.Terminated == nil {
				all = append(slices.Clip(all), *s)
			}
		}
	}
	for i := range all {
		res := all[i].Resources
		if res == nil {
			return d, false
		}
		cpu, memory := v1alpha1.SizeOf(*res)
		d = d.Add(controlplane.Demand{CPUMilli: cpu, MemoryBytes: memory})
	}
	if whole := st.Resources; whole != nil { // what the pod says as a whole counts in place of its containers
		cpu, memory := v1alpha1.SizeOf(*whole)
		if cpu > 0 {
			d.CPUMilli = cpu
		}
		if memory > 0 {
			d.MemoryBytes = memory
		}
	}
	return d, true
}

func (h *Hub) heartbeat(s *session, hb *nodev1.Heartbeat) {
	h.mu.Lock()
	for _, u := range hb.Usage {
		p := h.pods.uids[u.Uid]
		switch {
		case p == nil:
		case p.node.node == s.node:
			p.read(u)
		default:
			h.cfg.Log.Warn("usage refused", "node", s.node, "pod", p.key().String(), "cause", "the pod is on node "+p.node.node)
		}
	}
	h.mu.Unlock()
	h.nodeHeard(s.node, hb.Conditions, s.describePool(), time.Now())
}
