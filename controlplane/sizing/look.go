package sizing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// seenPod is what is remembered of a pod that a policy selects.
type seenPod struct {
	sizes  string    // of its containers, as its spec says
	since  time.Time // when it got them
	told   string    // why it isn't resized, as it was told
	looked bool
}

// look goes over the pods that policies select: their statuses, and what is to be resized.
func (c *Controller) look(ctx context.Context, now time.Time) {
	all := *c.policies.Load()
	for _, s := range c.seen {
		s.looked = false
	}
	var working map[string]map[string]int64
	for namespace, list := range all {
		if ctx.Err() != nil {
			return
		}
		if working == nil {
			working = c.workingSets()
		}
		c.lookIn(ctx, namespace, list, working, now)
	}
	for uid, s := range c.seen {
		if !s.looked {
			delete(c.seen, uid)
		}
	}
	for key := range c.published {
		if !slices.ContainsFunc(all[key.Namespace], func(p *policy) bool { return p.object.Name == key.Name }) {
			delete(c.published, key)
		}
	}
}

// workingSets are the bytes that containers hold now, by pod and name.
func (c *Controller) workingSets() map[string]map[string]int64 {
	out := map[string]map[string]int64{}
	for _, p := range c.cfg.Usage() {
		m := make(map[string]int64, len(p.Containers))
		for _, u := range p.Containers {
			m[u.Name] = u.MemoryWorkingSetBytes
		}
		out[p.Uid] = m
	}
	return out
}

func (c *Controller) lookIn(ctx context.Context, namespace string, list []*policy, working map[string]map[string]int64, now time.Time) {
	ps := policies{namespace: list}
	type found struct {
		owners  map[controlplane.Owner]bool
		pods    int32
		message string
	}
	by := map[*policy]*found{}
	for _, p := range list {
		by[p] = &found{owners: map[controlplane.Owner]bool{}}
	}
	items, _ := c.cfg.Store.Items("pods", namespace)
	for i := range items.Len() {
		pod := items.Object(i).(*corev1.Pod)
		owner := controlplane.OwnerOf(pod)
		p := ps.holding(pod, owner)
		if p == nil || ended(pod) {
			continue
		}
		f := by[p]
		f.owners[owner] = true
		f.pods++
		s := c.see(pod, now)
		if p.mode != v1alpha1.AutosizeAuto || pod.DeletionTimestamp != nil || pod.Spec.NodeName == "" {
			continue
		}
		if now.Sub(s.since) < p.cooldown {
			continue
		}
		if why := c.resize(ctx, p, pod, owner, working[string(pod.UID)], s, now); why != "" && f.message == "" {
			f.message = "pod " + pod.Name + ": " + why
		}
	}
	for p, f := range by {
		c.publish(p, f.owners, f.pods, f.message, now)
	}
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// see finds out since when a pod has the size that it has. Whoever changed it: the cooldown counts from there. So a
// user's resize isn't undone at once, and where we don't know when it was made, because it was before we started,
// it is taken to be new.
func (c *Controller) see(pod *corev1.Pod, now time.Time) *seenPod {
	sizes := sizesOf(pod)
	s := c.seen[string(pod.UID)]
	switch {
	case s == nil:
		s = &seenPod{sizes: sizes, since: now}
		c.seen[string(pod.UID)] = s
		if note, ok := noteOf(pod); ok && note.Sizes == sizes {
			s.since = note.At.Time
		} else if !ok && pod.Generation <= 1 { // nobody has resized it
			s.since = pod.CreationTimestamp.Time
		}
	case s.sizes != sizes:
		s.sizes, s.since = sizes, now
	}
	s.looked = true
	return s
}

// sizesOf is what a pod's containers ask for, in one string.
func sizesOf(pod *corev1.Pod) string {
	var out strings.Builder
	for i := range pod.Spec.Containers {
		r := &pod.Spec.Containers[i].Resources
		fmt.Fprintf(&out, "%s=%d/%d,%d/%d ", pod.Spec.Containers[i].Name,
			r.Requests.Cpu().MilliValue(), r.Limits.Cpu().MilliValue(), r.Requests.Memory().Value(), r.Limits.Memory().Value())
	}
	return strings.TrimSpace(out.String())
}

// note stands on a pod that we have resized, so that the cooldown outlives us.
type note struct {
	At    metav1.Time `json:"at"`
	Sizes string      `json:"sizes"`
}

func noteOf(pod *corev1.Pod) (note, bool) {
	var n note
	raw, ok := pod.Annotations[v1alpha1.AnnotationAutosized]
	return n, ok && json.Unmarshal([]byte(raw), &n) == nil
}

func writeNote(pod *corev1.Pod, now time.Time) error {
	raw, err := json.Marshal(note{At: metav1.NewTime(now.UTC()), Sizes: sizesOf(pod)})
	if err != nil {
		return err
	}
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[v1alpha1.AnnotationAutosized] = string(raw)
	return nil
}

// errUnchanged abandons a resize that has become unnecessary.
var errUnchanged = errors.New("the pod's size is right")

// resize brings a pod to its recommended size, or a step closer. It answers why that couldn't be, or nothing.
func (c *Controller) resize(ctx context.Context, p *policy, pod *corev1.Pod, owner controlplane.Owner, working map[string]int64, s *seenPod, now time.Time) string {
	plan := c.plan(p, pod, owner, working, now)
	if len(plan) == 0 {
		return ""
	}
	var text []string
	next, err := c.cfg.Resize(ctx, controlplane.Key{Resource: "pods", Namespace: pod.Namespace, Name: pod.Name}, string(pod.UID), func(current *corev1.Pod) error {
		if sizesOf(current) != s.sizes {
			return errUnchanged // somebody was quicker
		}
		text = text[:0]
		for i := range current.Spec.Containers {
			ct := &current.Spec.Containers[i]
			if change, ok := plan[ct.Name]; ok {
				ct.Resources = sized(&ct.Resources, change.to)
				line := change.text
				if len(current.Spec.Containers) > 1 {
					line = ct.Name + ": " + line
				}
				text = append(text, line)
			}
		}
		return writeNote(current, now)
	})
	switch {
	case err == nil:
		s.sizes, s.since, s.told = sizesOf(next), now, ""
		message := strings.Join(text, "; ")
		c.cfg.Record(ctx, next, corev1.EventTypeNormal, "Autosized", message)
		c.resized(p, plan, message, now)
		return ""
	case errors.Is(err, errUnchanged), errors.Is(err, controlplane.ErrNotFound), ctx.Err() != nil:
		return ""
	}
	// It is tried again after a cooldown: whatever forbids it won't have changed before.
	s.since = now
	why := err.Error()
	c.count(func(n *counts) { n.refused++ })
	if s.told != why {
		s.told = why
		c.cfg.Record(ctx, pod, corev1.EventTypeWarning, "AutosizeRefused", strings.Join(planText(plan), "; ")+": "+why)
	}
	return why
}

// change is what becomes of a container.
type change struct {
	was, to amounts
	text    string
}

func planText(plan map[string]change) []string {
	var out []string
	for name, ch := range plan {
		out = append(out, name+": "+ch.text)
	}
	slices.Sort(out)
	return out
}

// plan answers the containers of a pod that should have another size. What counts is what is admitted; a resize
// that waits for room is asked for anew only when it would be another one.
func (c *Controller) plan(p *policy, pod *corev1.Pod, owner controlplane.Owner, working map[string]int64, now time.Time) map[string]change {
	held, err := v1alpha1.Allocated(pod)
	if err != nil || v1alpha1.HasPodResources(&pod.Spec) {
		return nil // a size as a whole is its owner's to share out
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.core.workloads[owner]
	if w == nil {
		return nil
	}
	out := map[string]change{}
	for i := range pod.Spec.Containers {
		ct := &pod.Spec.Containers[i]
		e, u, b := c.estimateLocked(w, p, ct.Name, now)
		if e == nil {
			continue
		}
		if cpu, memory := restarts(ct); !p.restart {
			b.cpu, b.memory = b.cpu && !cpu, b.memory && !memory
		}
		admitted := held[ct.Name]
		was, asked := sizeOf(&admitted), sizeOf(&ct.Resources)
		needed := int64(float64(working[ct.Name]) * (1 + p.aims.memory.margin))
		to := b.step(was, e, needed)
		if to == asked || to == was && was == asked {
			continue
		}
		cpu, memory := e.basis(p.aims, u)
		out[ct.Name] = change{was: was, to: to, text: changeText(was, to, e, &b, needed, cpu, memory)}
	}
	return out
}

// estimateLocked answers nil for a container that isn't to be resized, or of which too little is known.
func (c *Controller) estimateLocked(w *workload, p *policy, container string, now time.Time) (*estimate, *usage, bounds) {
	b := p.of(container)
	u := w.containers[container]
	if u == nil || !b.cpu && !b.memory {
		return nil, nil, b
	}
	// A container that was killed for want of memory tells enough by that.
	if min(u.until.Sub(u.since), u.observed) < p.history && u.oomKills == 0 {
		return nil, nil, b
	}
	e, ok := u.estimate(p.aims, c.cfg.Day, now)
	if !ok {
		return nil, nil, b
	}
	return &e, u, b
}

// maxStatusWorkloads bounds what a policy's status tells.
const maxStatusWorkloads = 100

// publish writes what a policy sees into its status, in memory.
func (c *Controller) publish(p *policy, owners map[controlplane.Owner]bool, pods int32, message string, now time.Time) {
	key := controlplane.Key{Resource: policiesResource, Namespace: p.object.Namespace, Name: p.object.Name}
	st := c.published[key]
	if st == nil {
		st = &v1alpha1.AutosizeStatus{}
		c.published[key] = st
	}
	sorted := make([]controlplane.Owner, 0, len(owners))
	for o := range owners {
		sorted = append(sorted, o)
	}
	slices.SortFunc(sorted, func(a, b controlplane.Owner) int { return strings.Compare(a.Kind+"/"+a.Name, b.Kind+"/"+b.Name) })
	next := *st
	next.Pods, next.WorkloadsInAll, next.Message, next.Workloads = pods, int32(len(sorted)), message, nil
	c.mu.Lock()
	for _, o := range sorted[:min(len(sorted), maxStatusWorkloads)] {
		if w := c.core.workloads[o]; w != nil {
			next.Workloads = append(next.Workloads, c.core.recommendation(w, p, now))
		}
	}
	c.mu.Unlock()
	*st = next
	_, err := c.cfg.Store.Observe(key, func(current controlplane.Object) controlplane.Object {
		old := current.(*v1alpha1.Autosize)
		if old.UID != p.object.UID || equality.Semantic.DeepEqual(old.Status, next) {
			return old
		}
		changed := *old // shallow: nothing but the status differs
		changed.Status = next
		return &changed
	})
	if err != nil && !errors.Is(err, controlplane.ErrNotFound) && !errors.Is(err, controlplane.ErrUnavailable) && !errors.Is(err, controlplane.ErrNotLeader) {
		c.cfg.Log.Error("status of autosize policy", "policy", key.String(), "cause", err)
	}
}

// resized counts a resize, and notes it for the policy's status.
func (c *Controller) resized(p *policy, plan map[string]change, message string, now time.Time) {
	c.count(func(n *counts) {
		for _, ch := range plan {
			n.cpuUp += toInt(ch.to.cpu > ch.was.cpu)
			n.cpuDown += toInt(ch.to.cpu < ch.was.cpu)
			n.memoryUp += toInt(ch.to.memory > ch.was.memory)
			n.memoryDown += toInt(ch.to.memory < ch.was.memory)
		}
	})
	key := controlplane.Key{Resource: policiesResource, Namespace: p.object.Namespace, Name: p.object.Name}
	st := c.published[key]
	if st == nil {
		st = &v1alpha1.AutosizeStatus{}
		c.published[key] = st
	}
	st.Resizes++
	st.LastResizeTime, st.LastExplanation = metav1.NewTime(now.UTC().Truncate(time.Second)), message
}

func toInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
