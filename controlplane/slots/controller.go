package slots

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

type scheduler interface {
	AddSlot(context.Context, controlplane.PlaceRequest) (node string, err error)
	DeepenSlot(uid string, depth controlplane.SlotDepth)
	RemoveSlot(uid string) bool
	Room() (free, slots controlplane.Demand)
}

type hub interface {
	PushSlot(template *corev1.Pod, depth controlplane.SlotDepth)
	DropSlot(uid string)
}

type store interface {
	Get(controlplane.Key) (controlplane.Object, bool)
	List(resource, namespace string) ([]controlplane.Object, uint64)
	Watch(resource, namespace string, after uint64) (*controlplane.Subscription, error)
	Observe(controlplane.Key, func(controlplane.Object) controlplane.Object) (controlplane.Object, error)
}

// Config joins the controller to the rest of the control plane. Zero values mean defaults.
type Config struct {
	Store     store
	Scheduler scheduler
	Hub       hub
	Default   func(*corev1.Pod) // defaults the templates of policies, as it does pods
	// Closed reports namespaces that get no slots, since their pods would be refused. It is quick. Nil: none is.
	Closed func(namespace string) bool

	PolicyOnly bool          // workloads that no policy selects have no slots
	Interval   time.Duration // between two looks; default 1 s
	Day        time.Duration // default 24 h
	Workloads  int           // that are tracked; default 1000
	Each       int           // slots of a workload that no policy bounds; default 1000
	Share      float64       // of the room that pods leave, that all slots may hold; default 0.25
	Log        *slog.Logger
}

// Controller keeps slots ready.
type Controller struct {
	cfg Config

	mu   sync.Mutex // guards core, and keeps calls to the hub in the order of what they tell
	core *core

	// What follows is Run's.
	published map[controlplane.Key]time.Time // when each policy's status was written last
	room      controlplane.Demand            // that pods leave, slots' included
	counted   time.Time                      // when that was
}

// New answers a controller; Run makes it work.
func New(cfg Config) (*Controller, error) {
	if cfg.Store == nil || cfg.Scheduler == nil || cfg.Hub == nil || cfg.Default == nil {
		return nil, errors.New("slots: store, scheduler, hub and default are required")
	}
	positive(&cfg.Interval, time.Second)
	positive(&cfg.Day, 24*time.Hour)
	positive(&cfg.Workloads, 1000)
	positive(&cfg.Each, 1000)
	positive(&cfg.Share, 0.25)
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Controller{cfg: cfg, published: map[controlplane.Key]time.Time{}, core: newCore(limits{
		automatic: !cfg.PolicyOnly, interval: cfg.Interval, day: cfg.Day, workloads: cfg.Workloads, each: cfg.Each, share: cfg.Share,
	})}, nil
}

func positive[T int | float64 | time.Duration](v *T, byDefault T) {
	if *v <= 0 {
		*v = byDefault
	}
}

// Created learns from a pod that was stored.
func (c *Controller) Created(pod *corev1.Pod, of controlplane.Workload, at controlplane.Placement) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.core.created(pod, of, at, now)
}

// Spoilt drops a slot that was taken by a pod which couldn't be stored: nobody else gets it.
func (c *Controller) Spoilt(uid string) { c.gone(uid) }

// GivenUp drops a slot whose room the scheduler needed, or whose node is gone.
func (c *Controller) GivenUp(uid, _ string) { c.gone(uid) }

func (c *Controller) gone(uid string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.core.drop(uid)
	c.cfg.Hub.DropSlot(uid)
}

// Reported hears from the hub how far a slot has come.
func (c *Controller) Reported(uid string, depth controlplane.SlotDepth, message string) {
	c.mu.Lock()
	there := c.core.reported(uid, depth, message, time.Now())
	c.mu.Unlock()
	if depth == controlplane.SlotNone {
		if !there {
			c.cfg.Log.Debug("slot failed", "slot", uid, "cause", message)
		}
		c.cfg.Scheduler.RemoveSlot(uid)
		return
	}
	c.cfg.Scheduler.DeepenSlot(uid, depth)
}

// Stats answers what has happened.
func (c *Controller) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.stats()
}

// Run follows the policies and looks after the slots until ctx ends. It is called once.
func (c *Controller) Run(ctx context.Context) error {
	for {
		err := c.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if !errors.Is(err, controlplane.ErrExpired) {
			return fmt.Errorf("slots: %w", err)
		}
	}
}

func (c *Controller) follow(ctx context.Context) error {
	list, version := c.cfg.Store.List(policiesResource, "")
	sub, err := c.cfg.Store.Watch(policiesResource, "", version)
	if err != nil {
		return err
	}
	defer sub.Stop()
	c.replace(list)
	tick := time.NewTicker(c.cfg.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-tick.C:
			c.step(ctx, now)
			c.publish(now)
		case ev, ok := <-sub.Events:
			if !ok {
				if err := sub.Err(); err != nil {
					return err
				}
				return controlplane.ErrExpired
			}
			c.policyChanged(ev)
		}
	}
}

// countEvery is how often the fleet's room is counted.
const countEvery = 5 * time.Second

// step ends an interval.
func (c *Controller) step(ctx context.Context, now time.Time) {
	// To count the room takes a look at every node, and it changes slowly.
	if now.Sub(c.counted) >= countEvery || c.room == (controlplane.Demand{}) {
		free, held := c.cfg.Scheduler.Room()
		c.room, c.counted = free.Add(held), now
	}
	c.mu.Lock()
	closed := c.closedLocked()
	orders := c.core.look(now, c.room, closed)
	leavings := c.core.takeLeavings()
	c.mu.Unlock()
	for _, uid := range leavings {
		c.remove(uid)
	}
	for _, o := range orders { // room first
		for _, uid := range o.drop {
			c.remove(uid)
		}
	}
	c.addAll(ctx, orders, now)
}

// addAll adds one slot for each workload in turn, so that nobody waits for another's thousands. What isn't done
// when half of the interval is over is for the next look: policies and statuses don't wait for it.
func (c *Controller) addAll(ctx context.Context, orders []order, now time.Time) {
	begun := time.Now()
	orders = slices.DeleteFunc(orders, func(o order) bool { return o.add <= 0 })
	for round := 0; len(orders) > 0; round++ {
		over := false
		orders = slices.DeleteFunc(orders, func(o order) bool {
			over = over || time.Since(begun) >= c.cfg.Interval/2
			return over || round >= o.add || !c.add(ctx, o.of, now)
		})
	}
}

// closedLocked are the namespaces that are being deleted, are gone, or may have no more pods.
func (c *Controller) closedLocked() map[string]bool {
	seen := map[string]bool{}
	for key := range c.core.workloads {
		if _, known := seen[key.Namespace]; known {
			continue
		}
		ns, ok := c.cfg.Store.Get(controlplane.Key{Resource: "namespaces", Name: key.Namespace})
		seen[key.Namespace] = !ok || ns.GetDeletionTimestamp() != nil || c.cfg.Closed != nil && c.cfg.Closed(key.Namespace)
	}
	return seen
}

// remove drops a slot, unless a pod has it by now.
func (c *Controller) remove(uid string) {
	if c.cfg.Scheduler.RemoveSlot(uid) {
		c.gone(uid)
	}
}

// add asks for one slot. It answers false if there is no room now.
func (c *Controller) add(ctx context.Context, w *workload, now time.Time) bool {
	uid := uuid.NewString()
	c.mu.Lock()
	if c.core.workloads[w.key] != w { // forgotten meanwhile
		c.mu.Unlock()
		return false
	}
	pod, depth := slotPod(w.template, uid), c.core.policies.ruleOf(w).depth
	c.core.ask(w, uid, now) // before it can be taken
	c.mu.Unlock()
	req, err := controlplane.PodPlacement(pod)
	if err == nil {
		req.Template = w.key.Template
		pod.Spec.NodeName, err = c.cfg.Scheduler.AddSlot(ctx, req)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.core.drop(uid)
		if !errors.Is(err, controlplane.ErrNoCapacity) && ctx.Err() == nil {
			c.cfg.Log.Error("slot not placed", "namespace", w.key.Namespace, "cause", err)
		}
		return false
	case c.core.slots[uid] != nil: // else a pod was quicker
		c.cfg.Hub.PushSlot(pod, depth)
	}
	return true
}

// placeholder begins the name of what isn't a pod yet. No pod can be called so: names have no upper case.
const placeholder = "Slot-"

// slotPod is the template of a workload under a slot's UID. It says nothing of the pod that it was learned from
// but what its host needs to make the slot; the spec's parts are shared.
func slotPod(template *corev1.Pod, uid string) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: template.Namespace, Name: placeholder + uid, UID: types.UID(uid), Generation: 1, Labels: template.Labels},
		Spec:       template.Spec,
		Status:     corev1.PodStatus{Phase: corev1.PodPending, QOSClass: v1alpha1.PodQOS(&template.Spec)},
	}
	pod.Spec.NodeName, pod.Spec.Hostname = "", ""
	for _, name := range []string{v1alpha1.AnnotationComputeClass, v1alpha1.AnnotationQoS} {
		if v, ok := template.Annotations[name]; ok {
			if pod.Annotations == nil {
				pod.Annotations = map[string]string{}
			}
			pod.Annotations[name] = v
		}
	}
	return pod
}
