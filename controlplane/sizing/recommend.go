package sizing

import (
	"maps"
	"math"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
)

// recommendation is what is recommended for a workload under a policy, or nil where none holds.
func (c *core) recommendation(w *workload, p *policy, now time.Time) v1alpha1.WorkloadRecommendation {
	out := v1alpha1.WorkloadRecommendation{Workload: v1alpha1.WorkloadReference{Kind: w.owner.Kind, Name: w.owner.Name}}
	for _, name := range slices.Sorted(maps.Keys(w.containers)) {
		a, b := defaultAims, bounds{}
		if p != nil {
			a, b = p.aims, p.of(name)
		}
		u := w.containers[name]
		if e, ok := u.estimate(a, c.day, now); ok {
			out.Containers = append(out.Containers, containerRecommendation(name, u, &e, a, &b))
		}
	}
	return out
}

func containerRecommendation(name string, u *usage, e *estimate, a aims, b *bounds) v1alpha1.ContainerRecommendation {
	cpu, memory := e.basis(a, u)
	out := v1alpha1.ContainerRecommendation{
		Name: name, Target: listOf(b.capped(e.target)), LowerBound: listOf(b.capped(e.lower)), UpperBound: listOf(b.capped(e.upper)),
		Since: metav1.NewTime(u.since.UTC().Truncate(time.Second)), ObservedSeconds: int64(u.observed.Seconds()), Samples: u.samples, OOMKills: u.oomKills,
		ThrottledPercent: int32(math.Round(100 * u.lately)),
		Explanation:      "cpu: " + cpu + "; memory: " + memory,
		CPU:              summary(e.cpu, func(v float64) resource.Quantity { return quantity("cpu", milli(v)) }),
		Memory:           summary(e.memory, func(v float64) resource.Quantity { return quantity("memory", mebibytes(v)) }),
	}
	if capped := b.capped(e.target); capped != e.target {
		out.Uncapped = listOf(e.target)
	}
	return out
}

func summary(p points, of func(float64) resource.Quantity) v1alpha1.UsageSummary {
	return v1alpha1.UsageSummary{P50: of(p.p50), P90: of(p.p90), P95: of(p.p95), Max: of(p.max)}
}
