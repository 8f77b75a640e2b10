package nodes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/controlplane"
)

type store interface {
	Get(controlplane.Key) (controlplane.Object, bool)
	List(resource, namespace string) ([]controlplane.Object, uint64)
	Commit(context.Context, controlplane.Mutation) (controlplane.Object, error)
	Observe(controlplane.Key, func(controlplane.Object) controlplane.Object) (controlplane.Object, error)
	Watch(resource, namespace string, after uint64) (*controlplane.Subscription, error)
}

type ledger interface {
	// Record makes closed segments durable, each once.
	Record(context.Context, []usagev1.Segment) error
	// SetOpen replaces what is known of a node's open segments.
	SetOpen(ctx context.Context, node string, segments []usagev1.Segment) error
}

type scheduler interface {
	SetNode(controlplane.Node)
	RemoveNode(name string)
	Actuated(uid string, d controlplane.Demand)
}

// Config joins the hub to the rest of the control plane.
type Config struct {
	Store     store
	Ledger    ledger
	Scheduler scheduler
	// Redeem takes a one-time token; Sign answers a certificate for a node's own name.
	Redeem func(token string) error
	Sign   func(csrDER []byte, node string) (certPEM, caPEM []byte, err error)
	Log    *slog.Logger
}

// Hub serves the Fleet protocol and knows who is connected.
type Hub struct {
	nodev1.UnimplementedFleetServer
	cfg    Config
	events *recorder
	loaded chan struct{} // closed when the index holds every pod
	wg     sync.WaitGroup

	mu       sync.Mutex // guards what follows
	sessions map[string]*session
	pods     *podIndex
	streams  map[string]*relay // awaited or running, by id
	usage    map[string]*nodev1.PodUsage
}

// New answers a hub; Run makes it work.
func New(cfg Config) (*Hub, error) {
	if cfg.Store == nil || cfg.Ledger == nil || cfg.Scheduler == nil || cfg.Redeem == nil || cfg.Sign == nil {
		return nil, errors.New("nodes: store, ledger, scheduler, redeem and sign are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Hub{
		cfg:      cfg,
		events:   newRecorder(cfg.Store),
		loaded:   make(chan struct{}),
		sessions: map[string]*session{},
		pods:     newPodIndex(),
		streams:  map[string]*relay{},
		usage:    map[string]*nodev1.PodUsage{},
	}, nil
}

// Run follows the store and marks pods for the sessions of their nodes, until ctx ends.
// It is called once.
func (h *Hub) Run(ctx context.Context) error {
	first := true
	for {
		err := h.follow(ctx, first)
		if ctx.Err() != nil {
			h.wg.Wait()
			return nil
		}
		if !errors.Is(err, controlplane.ErrExpired) {
			return fmt.Errorf("nodes: %w", err)
		}
		first = false // fell behind: list again
	}
}

func (h *Hub) follow(ctx context.Context, first bool) error {
	// What pods refer to is followed from before the pods are listed, so that no change falls between.
	refs := make([]*controlplane.Subscription, 0, 2)
	for _, resource := range []string{"configmaps", "secrets"} {
		_, version := h.cfg.Store.List(resource, "")
		sub, err := h.cfg.Store.Watch(resource, "", version)
		if err != nil {
			return err
		}
		defer sub.Stop()
		refs = append(refs, sub)
	}
	pods, version := h.cfg.Store.List("pods", "")
	sub, err := h.cfg.Store.Watch("pods", "", version)
	if err != nil {
		return err
	}
	defer sub.Stop()

	h.mu.Lock()
	h.pods = newPodIndex()
	for _, o := range pods {
		h.pods.put(o.(*corev1.Pod))
	}
	for _, s := range h.sessions {
		s.resync()
	}
	h.mu.Unlock()
	if first {
		close(h.loaded)
	}

	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case ev, ok := <-sub.Events:
			if !ok {
				return orExpired(sub.Err())
			}
			h.podChanged(ev)
		case ev, ok := <-refs[0].Events:
			if !ok {
				return orExpired(refs[0].Err())
			}
			h.referenceChanged(ev)
		case ev, ok := <-refs[1].Events:
			if !ok {
				return orExpired(refs[1].Err())
			}
			h.referenceChanged(ev)
		}
	}
}

func orExpired(err error) error {
	if err == nil {
		return controlplane.ErrExpired
	}
	return err
}

func (h *Hub) podChanged(ev controlplane.Event) {
	pod := ev.Object.(*corev1.Pod)
	h.mu.Lock()
	defer h.mu.Unlock()
	if ev.Type == controlplane.Deleted {
		h.pods.remove(pod)
		delete(h.usage, string(pod.UID))
	} else {
		h.pods.put(pod)
	}
	if pod.Spec.NodeName == "" || !concernsNode(ev) {
		return
	}
	if s := h.sessions[pod.Spec.NodeName]; s != nil {
		s.mark(string(pod.UID), ev.Key)
	}
}

// concernsNode tells changes that a nodelet has to see from those that it reported itself.
func concernsNode(ev controlplane.Event) bool {
	if ev.Type != controlplane.Modified || ev.Previous == nil {
		return true
	}
	was, is := ev.Previous.(*corev1.Pod), ev.Object.(*corev1.Pod)
	return was.UID != is.UID ||
		was.Generation != is.Generation ||
		was.Spec.NodeName != is.Spec.NodeName ||
		!was.DeletionTimestamp.Equal(is.DeletionTimestamp) ||
		gracePeriod(was) != gracePeriod(is) ||
		!equalMaps(was.Labels, is.Labels) ||
		!equalMaps(was.Annotations, is.Annotations)
}

func gracePeriod(p *corev1.Pod) int64 {
	if p.DeletionGracePeriodSeconds == nil {
		return -1
	}
	return *p.DeletionGracePeriodSeconds
}

func equalMaps(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || w != v {
			return false
		}
	}
	return true
}

func (h *Hub) referenceChanged(ev controlplane.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.pods.referring(ev.Key) {
		if s := h.sessions[p.node]; s != nil {
			s.mark(p.uid, p.key)
		}
	}
}

// Usage answers the last known usage of every pod on a connected node.
func (h *Hub) Usage() []*nodev1.PodUsage {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]*nodev1.PodUsage, 0, len(h.usage))
	for _, u := range h.usage {
		if time.Since(time.Unix(0, u.TimeUnixNano)) < usageValid {
			out = append(out, u)
		}
	}
	return out
}

// usageValid is how long a reading stands when its node no longer reports.
const usageValid = 2 * time.Minute

// Connected reports whether a node has a session.
func (h *Hub) Connected(node string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[node] != nil
}
