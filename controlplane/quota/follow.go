package quota

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"swell.dev/swell/controlplane"
)

// unfollowed are resources that quotas count and that nobody follows yet.
func (c *Counter) unfollowed(followed map[string]bool) []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var out []string
	for res := range c.followed {
		if !followed[res] {
			out = append(out, res)
		}
	}
	return out
}

func (c *Counter) all() map[string]*tally {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return maps.Clone(c.tallies)
}

// follow takes over what becomes of a resource's objects in namespaces that have quotas.
func (c *Counter) follow(ctx context.Context, res string) error {
	for {
		err := c.followOnce(ctx, res)
		if ctx.Err() != nil {
			return nil
		}
		if !errors.Is(err, controlplane.ErrExpired) {
			return fmt.Errorf("quota: %s: %w", res, err)
		}
	}
}

func (c *Counter) followOnce(ctx context.Context, res string) error {
	sub, err := c.cfg.Store.Watch(res, "", c.cfg.Store.Version())
	if err != nil {
		return err
	}
	defer sub.Stop()
	c.relist(res)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case ev, ok := <-sub.Events:
			if !ok {
				if err := sub.Err(); err != nil {
					return err
				}
				return controlplane.ErrExpired
			}
			c.take(ev)
		}
	}
}

// relist finds what was missed until now.
func (c *Counter) relist(res string) {
	for ns, t := range c.all() {
		t.mu.Lock()
		if t.objects[res] != nil {
			items, version := c.cfg.Store.Items(res, ns)
			t.replaceLocked(res, items, version)
		}
		t.mu.Unlock()
	}
}

func (c *Counter) take(ev controlplane.Event) {
	t := c.tally(ev.Key.Namespace)
	if t == nil {
		return
	}
	o := ev.Object
	if ev.Type == controlplane.Deleted {
		o = nil
	}
	t.told(ev.Key, o, ev.Version, false)
}

// publishAll writes statuses when they may have changed, with a pause after each look.
func (c *Counter) publishAll(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		for _, ns := range c.marked() {
			c.publish(ns)
		}
		pause.Reset(c.cfg.Publish)
	}
}

// publish writes the statuses of a namespace's quotas, if anything has changed. They are in memory only.
func (c *Counter) publish(namespace string) {
	c.publishing.Lock()
	defer c.publishing.Unlock()
	t := c.tally(namespace)
	if t == nil {
		return
	}
	t.mu.Lock()
	changed := t.changed
	t.changed = false
	type written struct {
		of     *bound
		status corev1.ResourceQuotaStatus
	}
	var list []written
	if changed {
		for _, b := range t.bounds {
			list = append(list, written{b, b.status()})
		}
	}
	t.mu.Unlock()
	for _, w := range list {
		key := controlplane.Key{Resource: quotasResource, Namespace: namespace, Name: w.of.name}
		_, err := c.cfg.Store.Observe(key, func(current controlplane.Object) controlplane.Object {
			q := current.(*corev1.ResourceQuota)
			if q.UID != w.of.uid || equality.Semantic.DeepEqual(q.Status, w.status) {
				return current
			}
			next := *q // shallow: nothing but the status differs, and stored objects are never changed
			next.Status = w.status
			return &next
		})
		if err != nil && !errors.Is(err, controlplane.ErrNotFound) {
			c.cfg.Log.Warn("status of a quota not written", "quota", namespace+"/"+w.of.name, "cause", err)
		}
	}
}
