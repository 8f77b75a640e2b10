package sizing

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
	"swell.dev/swell/internal/histogram"
)

const checkpointsResource = "usagecheckpoints"

// nameOf is what a workload's objects are called: deployment-web. A name that can't be one of an object is made
// one, and told apart by a hash.
func nameOf(o controlplane.Owner) string {
	plain := strings.ToLower(o.Kind) + "-" + o.Name
	if len(validation.IsDNS1123Subdomain(plain)) == 0 {
		return plain
	}
	h := fnv.New32a()
	h.Write([]byte(o.Kind + "/" + o.Name)) // it can't fail
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(plain))
	return fmt.Sprintf("%s-%08x", strings.Trim(clean[:min(len(clean), 200)], "-"), h.Sum32())
}

func keyOf(o controlplane.Owner) controlplane.Key {
	return controlplane.Key{Resource: checkpointsResource, Namespace: o.Namespace, Name: nameOf(o)}
}

// checkpoint is a workload as it is now.
func (w *workload) checkpoint(now time.Time) *v1alpha1.UsageCheckpoint {
	out := &v1alpha1.UsageCheckpoint{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.Group + "/" + v1alpha1.Version, Kind: "UsageCheckpoint"},
		ObjectMeta: metav1.ObjectMeta{Name: nameOf(w.owner), Namespace: w.owner.Namespace},
		Workload:   v1alpha1.WorkloadReference{Kind: w.owner.Kind, Name: w.owner.Name},
	}
	for _, name := range slices.Sorted(maps.Keys(w.containers)) {
		u := w.containers[name]
		out.Containers = append(out.Containers, v1alpha1.ContainerCheckpoint{
			Name: name, CPU: saved(u.cpu.Save(now)), Memory: saved(u.memory.Save(now)),
			Since: metav1.NewTime(u.since), Until: metav1.NewTime(u.until), ObservedMillis: u.observed.Milliseconds(),
			ThrottledMillis: u.throttled.Milliseconds(), Samples: u.samples, OOMKills: u.oomKills,
		})
	}
	return out
}

func saved(s histogram.Saved) v1alpha1.HistogramCheckpoint {
	if len(s.Weights) == 0 {
		return v1alpha1.HistogramCheckpoint{}
	}
	return v1alpha1.HistogramCheckpoint{Reference: metav1.NewMicroTime(s.Reference), Largest: s.Largest, Low: s.Low, Weights: s.Weights}
}

// restore adds what a checkpoint holds to what was heard of since. What can't be read of it is left out.
func (c *core) restore(p *v1alpha1.UsageCheckpoint, now time.Time) error {
	owner := controlplane.Owner{Namespace: p.Namespace, Kind: p.Workload.Kind, Name: p.Workload.Name}
	if owner.Kind == "" || owner.Name == "" || nameOf(owner) != p.Name {
		return fmt.Errorf("usage checkpoint %s/%s: it is of %s %q, which has another name", p.Namespace, p.Name, owner.Kind, owner.Name)
	}
	w := c.workloads[owner]
	if w == nil {
		if !c.makeRoom(owner, now) {
			return nil
		}
		w = &workload{owner: owner, containers: map[string]*usage{}}
		c.workloads[owner] = w
	}
	for i := range p.Containers {
		s := &p.Containers[i]
		u := newUsage(c.day)
		for _, h := range []struct {
			from v1alpha1.HistogramCheckpoint
			into *histogram.Decaying
		}{{s.CPU, u.cpu}, {s.Memory, u.memory}} {
			if err := h.into.Restore(histogram.Saved{Reference: h.from.Reference.Time, Largest: h.from.Largest, Low: h.from.Low, Weights: h.from.Weights}); err != nil {
				return fmt.Errorf("usage checkpoint %s/%s: container %s: %w", p.Namespace, p.Name, s.Name, err)
			}
		}
		u.since, u.until = s.Since.Time, s.Until.Time
		u.observed, u.throttled = time.Duration(s.ObservedMillis)*time.Millisecond, time.Duration(s.ThrottledMillis)*time.Millisecond
		u.samples, u.oomKills = s.Samples, s.OOMKills
		if there := w.containers[s.Name]; there != nil {
			there.merge(u)
		} else if len(w.containers) < maxContainers {
			w.containers[s.Name] = u
		}
		if u.until.After(w.heard) {
			w.heard = u.until
		}
	}
	return nil
}

// merge adds another history of the same container.
func (u *usage) merge(o *usage) {
	u.cpu.Merge(o.cpu)
	u.memory.Merge(o.memory)
	if u.since.IsZero() || !o.since.IsZero() && o.since.Before(u.since) {
		u.since = o.since
	}
	if o.until.After(u.until) {
		u.until = o.until
	}
	u.observed += o.observed
	u.throttled += o.throttled
	u.samples += o.samples
	u.oomKills += o.oomKills
}
