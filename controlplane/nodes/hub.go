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
	Items(resource, namespace string) (controlplane.Items, uint64)
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
	// Boost takes over what a pod wants and holds beyond its size while it starts, BoostOf answers what is granted.
	Boost(uid string, ask, want, held int64) (granted int64, known bool)
	BoostOf(uid string) (ask, granted int64, decided bool)
	// Pool tells of a node's reflex pool; connected: in a new session, before SetNode. Nil: it has none.
	Pool(node string, report *controlplane.PoolReport, connected bool)
}

// Config joins the hub to the rest of the control plane.
type Config struct {
	Store     store
	Ledger    ledger
	Scheduler scheduler
	// Redeem takes a one-time token; Sign answers a certificate for a node's own name.
	Redeem func(token string) error
	Sign   func(csrDER []byte, node string) (certPEM, caPEM []byte, err error)
	// Pods, if set, are those that are stored at PodsVersion: they needn't be listed. The hub takes them over.
	Pods        *Pods
	PodsVersion uint64
	// Silence is how long a nodelet may say nothing before it counts as gone, and how long after its last
	// word its pods count as ready. Default 40 s, four heartbeats.
	Silence time.Duration
	// SlotReported hears how far a slot has come; SlotNone: it is gone from its host. Message says why it
	// doesn't come further. Nil: nobody asks for slots.
	SlotReported func(uid string, depth controlplane.SlotDepth, message string)
	// Ended hears when a pod ran, once or more often, before its end is recorded. Nil: nobody wants to know.
	Ended func(context.Context, usagev1.Lifecycle) error
	// UsageTold hears what a container of an owner has used, each once. It is quick. Nil: nobody wants to know.
	UsageTold func(of controlplane.Owner, container *nodev1.ContainerHistory)
	Log       *slog.Logger
}

const defaultSilence = 40 * time.Second

// Hub serves the Fleet protocol and knows who is connected.
type Hub struct {
	nodev1.UnimplementedFleetServer
	cfg    Config
	events *recorder
	loaded chan struct{} // closed when the index holds every pod
	closed chan struct{} // closed when Run ends
	wg     sync.WaitGroup

	mu       sync.Mutex // guards what follows
	shut     bool       // no more sessions are let in
	sessions map[string]*session
	lost     map[string]time.Time // nodes without a session, and when their pods stop counting as ready
	pods     *podIndex
	slots    slotIndex
	streams  map[string]*relay // awaited or running, by id
	counted  map[string]told   // by node
}

// New answers a hub; Run makes it work.
func New(cfg Config) (*Hub, error) {
	if cfg.Store == nil || cfg.Ledger == nil || cfg.Scheduler == nil || cfg.Redeem == nil || cfg.Sign == nil {
		return nil, errors.New("nodes: store, ledger, scheduler, redeem and sign are required")
	}
	if cfg.Silence <= 0 {
		cfg.Silence = defaultSilence
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Hub{
		cfg:      cfg,
		events:   newRecorder(cfg.Store),
		loaded:   make(chan struct{}),
		closed:   make(chan struct{}),
		lost:     map[string]time.Time{},
		sessions: map[string]*session{},
		pods:     newPodIndex(),
		slots:    newSlotIndex(),
		streams:  map[string]*relay{},
		counted:  map[string]told{},
	}, nil
}

// Run follows the store and marks pods for the sessions of their nodes, until ctx ends; with it all
// sessions do. It is called once.
func (h *Hub) Run(ctx context.Context) error {
	defer h.close()
	for {
		err := h.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if !errors.Is(err, controlplane.ErrExpired) {
			return fmt.Errorf("nodes: %w", err)
		}
		// It fell behind: list again.
	}
}

var errClosed = fmt.Errorf("this control plane stops: %w", controlplane.ErrUnavailable)

// close ends the sessions and waits for their goroutines.
func (h *Hub) close() {
	h.mu.Lock()
	h.shut = true
	for _, s := range h.sessions {
		s.cancel(errClosed)
	}
	h.mu.Unlock()
	close(h.closed)
	h.wg.Wait()
}

// indexPods answers all pods and the version that they are the state of. At the start somebody else has
// looked at all of them already.
func (h *Hub) indexPods() (*podIndex, uint64) {
	if known := h.cfg.Pods; known != nil {
		h.cfg.Pods = nil
		return known.index, h.cfg.PodsVersion
	}
	out := newPodIndex()
	items, version := h.cfg.Store.Items("pods", "")
	for i := range items.Len() {
		out.put(items.Object(i).(*corev1.Pod))
	}
	return out, version
}

func (h *Hub) follow(ctx context.Context) error {
	// What pods refer to is followed from before the pods are listed, so that no change falls between.
	refs := make([]*controlplane.Subscription, 0, 2)
	for _, resource := range []string{"configmaps", "secrets"} {
		_, version := h.cfg.Store.Items(resource, "")
		sub, err := h.cfg.Store.Watch(resource, "", version)
		if err != nil {
			return err
		}
		defer sub.Stop()
		refs = append(refs, sub)
	}
	pods, version := h.indexPods()
	sub, err := h.cfg.Store.Watch("pods", "", version)
	if err != nil {
		return err
	}
	defer sub.Stop()

	h.mu.Lock()
	for uid, p := range h.pods.uids {
		if now := pods.uids[uid]; now != nil {
			now.usage = p.usage
		}
	}
	h.pods = pods
	for uid := range h.slots.uids {
		if pods.uids[uid] != nil {
			h.slots.remove(uid)
		}
	}
	for _, s := range h.sessions {
		s.resync()
	}
	h.mu.Unlock()
	select {
	case <-h.loaded:
	default:
		close(h.loaded)
	}

	overdue := time.NewTicker(max(h.cfg.Silence/8, time.Millisecond))
	defer overdue.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-overdue.C:
			h.podsLost(ctx, now)
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
		h.pods.remove(string(pod.UID))
	} else {
		h.pods.put(pod)
		h.slots.remove(string(pod.UID)) // it has its pod
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
		len(was.Finalizers) > 0 && len(is.Finalizers) == 0 || // told again that it is finished, it goes
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
	holders := h.pods.referring(ev.Key)
	for _, slot := range h.slots.byRef[ev.Key] {
		holders = append(holders, slot)
	}
	for _, p := range holders {
		if s := h.sessions[p.node]; s != nil {
			s.mark(p.uid, p.key)
		}
	}
}

// Connected reports whether a node has a session.
func (h *Hub) Connected(node string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[node] != nil
}
