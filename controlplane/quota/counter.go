package quota

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/controlplane"
)

const (
	podsResource   = "pods"
	quotasResource = "resourcequotas"
)

type store interface {
	List(resource, namespace string) ([]controlplane.Object, uint64)
	Items(resource, namespace string) (controlplane.Items, uint64)
	Watch(resource, namespace string, after uint64) (*controlplane.Subscription, error)
	Observe(controlplane.Key, func(controlplane.Object) controlplane.Object) (controlplane.Object, error)
	Version() uint64
}

// Config joins the counter to the rest of the control plane.
type Config struct {
	Store store
	// Publish is the least time between two looks at what statuses have to say; default 100 ms.
	Publish time.Duration
	Log     *slog.Logger
}

// Counter counts for all namespaces that have quotas.
type Counter struct {
	cfg Config

	loading    sync.Mutex // makes sure that the last who looks has the last word
	publishing sync.Mutex // likewise

	mu       sync.RWMutex // guards what follows
	tallies  map[string]*tally
	followed map[string]bool // resources that any quota has counted

	more chan struct{} // holds a token when followed has grown

	dirtyMu sync.Mutex    // guards dirty; nothing is locked while it is held
	dirty   []string      // namespaces whose statuses are to be written, each once
	wake    chan struct{} // holds a token when there are any
}

// New answers a counter that knows the stored quotas and what there is of what they count. Run keeps it up to date.
func New(cfg Config) (*Counter, error) {
	if cfg.Store == nil {
		return nil, errors.New("quota: store is required")
	}
	if cfg.Publish <= 0 {
		cfg.Publish = 100 * time.Millisecond
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	c := &Counter{cfg: cfg, tallies: map[string]*tally{}, followed: map[string]bool{}, more: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
	quotas, _ := cfg.Store.List(quotasResource, "")
	for i, q := range quotas { // sorted by namespace
		if ns := q.GetNamespace(); i == 0 || ns != quotas[i-1].GetNamespace() {
			c.load(ns)
		}
	}
	return c, nil
}

func (c *Counter) tally(namespace string) *tally {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.tallies[namespace]
}

func settled(controlplane.Object) {}

var errDropped = errors.New("the namespace has other quotas now")

// Charge counts an object that is about to be stored, new or in place of the one of its name; the error says which
// quota it exceeds and how. Settle has to be called once: with what was stored, or nil if nothing was.
func (c *Counter) Charge(key controlplane.Key, next controlplane.Object) (settle func(stored controlplane.Object), err error) {
	var as *claim
	for {
		t := c.tally(key.Namespace)
		if t == nil {
			return settled, nil
		}
		if as == nil {
			as = claimOf(next, time.Now())
		}
		charged, err := t.charge(key, as)
		switch {
		case errors.Is(err, errDropped):
			continue // by one who has taken it out of the map
		case err != nil:
			return nil, err
		case charged == nil:
			return settled, nil
		}
		return charged.settle, nil
	}
}

// Removed tells of an object that was removed just now, before its event does. Last is its last state.
func (c *Counter) Removed(key controlplane.Key, last controlplane.Object) {
	if t := c.tally(key.Namespace); t != nil {
		t.told(key, nil, versionOf(last), true)
	}
}

// Reload looks at a namespace's quotas, of which one has changed. They hold, and show it, when it returns.
func (c *Counter) Reload(namespace string) {
	c.load(namespace)
	c.publish(namespace)
}

func (c *Counter) load(namespace string) {
	c.loading.Lock()
	defer c.loading.Unlock()
	list, _ := c.cfg.Store.List(quotasResource, namespace)
	bounds := make([]*bound, 0, len(list))
	counted := map[string]bool{}
	for _, o := range list {
		b := boundOf(o.(*corev1.ResourceQuota))
		bounds = append(bounds, b)
		for res := range b.used {
			counted[res] = true
		}
	}
	t := c.tally(namespace)
	if len(bounds) == 0 {
		c.drop(namespace, t)
		return
	}
	if t == nil {
		t = newTally(func() { c.mark(namespace) })
	}
	t.mu.Lock() // creates in the namespace wait until all is counted
	defer t.mu.Unlock()
	c.put(namespace, t, counted)
	for res := range t.objects {
		if !counted[res] {
			delete(t.objects, res)
			delete(t.known, res)
		}
	}
	for res := range counted {
		if t.objects[res] == nil {
			items, version := c.cfg.Store.Items(res, namespace)
			t.replaceLocked(res, items, version)
		}
	}
	t.boundsLocked(bounds)
}

func (c *Counter) drop(namespace string, t *tally) {
	if t == nil {
		return
	}
	c.mu.Lock()
	delete(c.tallies, namespace)
	c.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropped = true
}

func (c *Counter) put(namespace string, t *tally, counted map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tallies[namespace] = t
	for res := range counted {
		if !c.followed[res] {
			c.followed[res] = true
			signal(c.more)
		}
	}
}

func (c *Counter) mark(namespace string) {
	c.dirtyMu.Lock()
	defer c.dirtyMu.Unlock()
	c.dirty = append(c.dirty, namespace)
	signal(c.wake)
}

func (c *Counter) marked() []string {
	c.dirtyMu.Lock()
	defer c.dirtyMu.Unlock()
	out := c.dirty
	c.dirty = nil
	return out
}

func signal(token chan struct{}) {
	select {
	case token <- struct{}{}:
	default:
	}
}

// Run follows what is counted and keeps the statuses of quotas, until ctx ends. It is called once.
func (c *Counter) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	failed := make(chan error, 1)
	wg.Go(func() { c.publishAll(ctx) })
	followed := map[string]bool{}
	expire := time.NewTicker(time.Second)
	defer expire.Stop()
	for {
		for _, res := range c.unfollowed(followed) {
			followed[res] = true
			wg.Go(func() {
				if err := c.follow(ctx, res); err != nil && ctx.Err() == nil {
					select {
					case failed <- err:
					default: // the first one is told
					}
				}
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-c.more:
		case now := <-expire.C:
			for _, t := range c.all() {
				t.expire(now)
			}
		}
	}
}
