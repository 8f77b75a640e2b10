package sizing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

type store interface {
	Get(controlplane.Key) (controlplane.Object, bool)
	List(resource, namespace string) ([]controlplane.Object, uint64)
	Items(resource, namespace string) (controlplane.Items, uint64)
	Watch(resource, namespace string, after uint64) (*controlplane.Subscription, error)
	Observe(controlplane.Key, func(controlplane.Object) controlplane.Object) (controlplane.Object, error)
	Commit(context.Context, controlplane.Mutation) (controlplane.Object, error)
}

// Config joins the controller to the rest of the control plane. Zero values mean defaults.
type Config struct {
	Store store
	// Resize changes the sizes of a pod's containers, as a user's resize does. Change gets a copy of the pod as it
	// is; it may be called several times, and abandons the resize by an error.
	Resize func(ctx context.Context, key controlplane.Key, uid string, change func(*corev1.Pod) error) (*corev1.Pod, error)
	// Record tells of a pod by an event.
	Record func(ctx context.Context, pod *corev1.Pod, kind, reason, message string)
	// Usage answers the latest reading of every running pod.
	Usage func() []*nodev1.PodUsage

	Interval   time.Duration // between two looks at the pods that policies select; default 15 s
	Checkpoint time.Duration // between two checkpoints of a workload; default 10 min
	Day        time.Duration // half-life of histograms, and unit of confidence; default 24 h
	Workloads  int           // that are kept; default 20,000
	Log        *slog.Logger
}

// Controller learns what workloads use, and resizes pods where policies say so.
type Controller struct {
	cfg      Config
	policies atomic.Pointer[policies] // shared with the creates of pods

	mu   sync.Mutex // guards core
	core *core

	statsMu sync.Mutex // guards stats
	stats   counts

	// What follows is Run's.
	seen      map[string]*seenPod // pods that policies select, by UID
	published map[controlplane.Key]*v1alpha1.AutosizeStatus
	saveAt    time.Time
}

// New answers a controller; Run makes it work.
func New(cfg Config) (*Controller, error) {
	if cfg.Store == nil || cfg.Resize == nil || cfg.Record == nil || cfg.Usage == nil {
		return nil, errors.New("sizing: store, resize, record and usage are required")
	}
	positive(&cfg.Interval, 15*time.Second)
	positive(&cfg.Checkpoint, 10*time.Minute)
	positive(&cfg.Day, 24*time.Hour)
	positive(&cfg.Workloads, 20_000)
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	c := &Controller{cfg: cfg, core: newCore(cfg.Day, cfg.Workloads), seen: map[string]*seenPod{}, published: map[controlplane.Key]*v1alpha1.AutosizeStatus{}}
	// Before the first pod is created: it may be one that a policy sizes.
	c.restore()
	c.loadPolicies()
	return c, nil
}

func positive[T int | time.Duration](v *T, byDefault T) {
	if *v <= 0 {
		*v = byDefault
	}
}

// Told counts what a node tells of a container. It is quick, and each history is told once.
func (c *Controller) Told(of controlplane.Owner, h *nodev1.ContainerHistory) {
	c.mu.Lock()
	err := c.core.told(of, h, time.Now())
	c.mu.Unlock()
	if err != nil {
		c.cfg.Log.Warn("history of usage refused", "namespace", of.Namespace, "workload", of.Kind+"/"+of.Name, "container", h.Name, "cause", err)
	}
}

const policiesResource = "autosizes"

// Run follows the policies and looks after the pods that they select, until ctx ends. It is called once.
func (c *Controller) Run(ctx context.Context) error {
	c.saveAt = time.Now().Add(c.cfg.Checkpoint)
	for {
		err := c.follow(ctx)
		if ctx.Err() != nil {
			c.save(context.WithoutCancel(ctx), time.Now())
			return nil
		}
		if !errors.Is(err, controlplane.ErrExpired) {
			return fmt.Errorf("sizing: %w", err)
		}
	}
}

func (c *Controller) follow(ctx context.Context) error {
	version := c.loadPolicies()
	sub, err := c.cfg.Store.Watch(policiesResource, "", version)
	if err != nil {
		return err
	}
	defer sub.Stop()
	tick := time.NewTicker(c.cfg.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-tick.C:
			c.look(ctx, now)
			if now.After(c.saveAt) {
				c.save(ctx, now)
				c.saveAt = now.Add(c.cfg.Checkpoint)
			}
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

// loadPolicies takes over all policies, and answers the version that they are the state of.
func (c *Controller) loadPolicies() uint64 {
	list, version := c.cfg.Store.List(policiesResource, "")
	all := policies{}
	for _, o := range list {
		all = c.put(all, o.(*v1alpha1.Autosize))
	}
	c.policies.Store(&all)
	return version
}

func (c *Controller) policyChanged(ev controlplane.Event) {
	p, all := ev.Object.(*v1alpha1.Autosize), *c.policies.Load()
	if ev.Type == controlplane.Deleted {
		all = all.without(p.Namespace, p.Name)
	} else if before, ok := ev.Previous.(*v1alpha1.Autosize); ok && before.UID == p.UID && before.Generation == p.Generation {
		return // its status, by us, or its labels
	} else {
		all = c.put(all, p)
	}
	c.policies.Store(&all)
}

func (c *Controller) put(all policies, p *v1alpha1.Autosize) policies {
	read, err := readPolicy(p)
	if err != nil { // it was validated; another version may have been laxer
		c.cfg.Log.Error("autosize policy not used", "policy", p.Namespace+"/"+p.Name, "cause", err)
		return all
	}
	return all.with(read)
}

// restore takes over the checkpoints.
func (c *Controller) restore() {
	items, _ := c.cfg.Store.Items(checkpointsResource, "")
	for i := range items.Len() {
		p := items.Object(i).(*v1alpha1.UsageCheckpoint)
		c.mu.Lock()
		err := c.core.restore(p, time.Now())
		c.mu.Unlock()
		if err != nil {
			c.cfg.Log.Error("history of usage not restored", "cause", err)
		}
	}
}

// savesAtOnce bounds the writes under way: others come first.
const savesAtOnce = 8

// save writes the checkpoints of workloads that were heard of, and removes those of what is forgotten.
func (c *Controller) save(ctx context.Context, now time.Time) {
	c.mu.Lock()
	c.core.expire(now, func(namespace string) bool {
		ns, ok := c.cfg.Store.Get(controlplane.Key{Resource: "namespaces", Name: namespace})
		return ok && ns.GetDeletionTimestamp() == nil
	})
	gone := c.core.dropped
	c.core.dropped = nil
	var due []*workload
	for _, w := range c.core.workloads {
		if w.unsaved {
			due = append(due, w)
		}
	}
	c.mu.Unlock()
	// The first failure ends it: whatever it is, the others would meet it as well.
	group, writing := errgroup.WithContext(ctx)
	group.SetLimit(savesAtOnce)
	for _, owner := range gone {
		group.Go(func() error { return c.removeCheckpoint(writing, owner) })
	}
	for _, w := range due {
		group.Go(func() error { return c.saveOne(writing, w, now) })
	}
	if err := group.Wait(); err != nil && ctx.Err() == nil {
		c.cfg.Log.Warn("histories of usage not all saved; they are tried again", "cause", err)
	}
}

func (c *Controller) saveOne(ctx context.Context, w *workload, now time.Time) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.mu.Lock()
	if c.core.workloads[w.owner] != w { // forgotten meanwhile
		c.mu.Unlock()
		return nil
	}
	next := w.checkpoint(now)
	w.unsaved = false
	c.mu.Unlock()
	_, err := c.cfg.Store.Commit(ctx, controlplane.Mutation{Key: keyOf(w.owner), Change: func(controlplane.Object) (controlplane.Object, error) { return next, nil }})
	if err != nil {
		c.mu.Lock()
		w.unsaved = true
		c.mu.Unlock()
	}
	return err
}

func (c *Controller) removeCheckpoint(ctx context.Context, owner controlplane.Owner) error {
	_, err := c.cfg.Store.Commit(ctx, controlplane.Mutation{Key: keyOf(owner), Change: func(current controlplane.Object) (controlplane.Object, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.core.workloads[owner] != nil {
			return current, nil // it is back
		}
		return nil, nil
	}})
	if errors.Is(err, controlplane.ErrNotFound) {
		return nil
	}
	return err
}
