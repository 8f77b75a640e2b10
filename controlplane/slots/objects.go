package slots

import (
	"cmp"
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

const policiesResource = "slotpolicies"

// replace takes over all policies.
func (c *Controller) replace(list []controlplane.Object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.core.workloads {
		w.pinned = false
	}
	c.core.policies = policies{}
	for _, o := range list {
		c.setLocked(o.(*v1alpha1.SlotPolicy))
	}
}

func (c *Controller) policyChanged(ev controlplane.Event) {
	p := ev.Object.(*v1alpha1.SlotPolicy)
	c.mu.Lock()
	defer c.mu.Unlock()
	if before := c.core.policies.named(p.Namespace, p.Name); before != nil {
		if ev.Type == controlplane.Modified && before.object.UID == p.UID && before.object.Generation == p.Generation {
			before.object = p // its status, by us
			return
		}
		c.unpinLocked(before)
		c.core.policies.remove(p.Namespace, p.Name)
	}
	if ev.Type != controlplane.Deleted {
		c.setLocked(p)
	}
}

func (c *Controller) setLocked(p *v1alpha1.SlotPolicy) {
	read, err := c.core.policies.set(p)
	if err != nil { // it was validated; another version may have been laxer
		c.cfg.Log.Error("slot policy not used", "policy", p.Namespace+"/"+p.Name, "cause", err)
		return
	}
	if p.Spec.Template == nil {
		return
	}
	pod := &corev1.Pod{ObjectMeta: *p.Spec.Template.ObjectMeta.DeepCopy(), Spec: *p.Spec.Template.Spec.DeepCopy()}
	pod.Namespace = p.Namespace
	c.cfg.Default(pod)
	read.template = controlplane.Workload{Namespace: p.Namespace, Template: controlplane.PodTemplate(pod)}
	w := c.core.workloads[read.template]
	if w == nil {
		w = c.core.track(read.template, time.Time{})
		w.template = pod
	}
	w.pinned = true
}

func (c *Controller) unpinLocked(p *policy) {
	if w := c.core.workloads[p.template]; w != nil {
		if w.pinned = false; w.total == 0 {
			c.core.forget(w) // nothing but the policy spoke of it
		}
	}
}

func (ps policies) named(namespace, name string) *policy {
	for _, p := range ps[namespace] {
		if p.object.Name == name {
			return p
		}
	}
	return nil
}

const (
	publishEvery  = time.Second     // a policy's status is written at most that often …
	forecastEvery = 5 * time.Second // … and for nothing but another forecast only that often
	publishMost   = 500             // statuses at one look; the others wait for the next
)

// publish writes what there is into the policies' status, in memory; those that have waited longest first.
func (c *Controller) publish(now time.Time) {
	c.mu.Lock()
	statuses := c.core.statuses()
	c.mu.Unlock()
	maps.DeleteFunc(c.published, func(k controlplane.Key, _ time.Time) bool { _, ok := statuses[k]; return !ok })
	due := make([]controlplane.Key, 0, len(statuses))
	for key := range statuses {
		if now.Sub(c.published[key]) >= publishEvery-c.cfg.Interval/2 {
			due = append(due, key)
		}
	}
	slices.SortFunc(due, func(a, b controlplane.Key) int {
		return cmp.Or(c.published[a].Compare(c.published[b]), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	written := 0
	for _, key := range due {
		if written == publishMost {
			return
		}
		if c.publishOne(key, statuses[key], now) {
			written++
		}
	}
}

// publishOne reports whether there was something to write.
func (c *Controller) publishOne(key controlplane.Key, st v1alpha1.SlotPolicyStatus, now time.Time) bool {
	recently := now.Sub(c.published[key]) < forecastEvery-c.cfg.Interval/2
	wrote := false
	_, err := c.cfg.Store.Observe(key, func(current controlplane.Object) controlplane.Object {
		old := current.(*v1alpha1.SlotPolicy)
		sameBut := st
		if recently {
			sameBut.Forecast = old.Status.Forecast
		}
		if old.Status == sameBut {
			return old
		}
		next := *old // shallow: nothing but the status differs
		next.Status, wrote = st, true
		return &next
	})
	if wrote {
		c.published[key] = now
	}
	if err != nil && !errors.Is(err, controlplane.ErrNotFound) && !errors.Is(err, controlplane.ErrUnavailable) && !errors.Is(err, controlplane.ErrNotLeader) {
		c.cfg.Log.Error("status of slot policy", "policy", key.String(), "cause", err)
	}
	return wrote
}

// statuses are those of all policies.
func (c *core) statuses() map[controlplane.Key]v1alpha1.SlotPolicyStatus {
	if len(c.policies) == 0 {
		return nil
	}
	type sum struct {
		status    v1alpha1.SlotPolicyStatus
		rate, off float64 // pods a second
	}
	sums := map[*policy]*sum{}
	for _, list := range c.policies {
		for _, p := range list {
			sums[p] = &sum{}
		}
	}
	for _, w := range c.workloads {
		s := sums[w.policy]
		if s == nil {
			continue
		}
		st := &s.status
		st.Workloads++
		st.Hits += w.hits
		st.Misses += w.misses
		st.Slots.Wanted += int32(w.wanted)
		for _, slot := range w.slots {
			switch slot.depth {
			case controlplane.SlotCapacity:
				st.Slots.Capacity++
			case controlplane.SlotSandbox:
				st.Slots.Sandbox++
			case controlplane.SlotContainer:
				st.Slots.Container++
			}
		}
		if w.trouble != "" && (st.Message == "" || w.trouble < st.Message) {
			st.Message = w.trouble
		}
		if w.expects != nil {
			rate := w.expects.Level() / c.interval.Seconds()
			share, _ := w.expects.Error()
			s.rate += rate
			s.off += rate * share
		}
	}
	out := make(map[controlplane.Key]v1alpha1.SlotPolicyStatus, len(sums))
	for p, s := range sums {
		s.status.Forecast.PodsPerHour = int64(math.Round(s.rate * 3600))
		if s.rate > 0 {
			s.status.Forecast.ErrorPercent = int32(math.Round(100 * s.off / s.rate))
		}
		out[controlplane.Key{Resource: policiesResource, Namespace: p.object.Namespace, Name: p.object.Name}] = s.status
	}
	return out
}
