package sizing

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// current is what there is of a workload's pods now.
type current struct {
	pods   int32
	names  []string // of containers, init containers included
	least  map[string]amounts
	most   map[string]amounts
	policy *policy
}

// Recommendations answers those of a namespace (empty: all), or the one of a name.
func (c *Controller) Recommendations(namespace, name string) []v1alpha1.Recommendation {
	now, all := time.Now(), *c.policies.Load()
	there := c.currentIn(namespace, all)
	c.mu.Lock()
	var owners []controlplane.Owner
	for owner := range c.core.workloads {
		if namespace == "" || owner.Namespace == namespace {
			owners = append(owners, owner)
		}
	}
	c.mu.Unlock()
	var out []v1alpha1.Recommendation
	for _, owner := range owners {
		if name != "" && nameOf(owner) != name {
			continue
		}
		at := there[owner]
		if at == nil {
			at = &current{}
		}
		r := v1alpha1.Recommendation{
			TypeMeta:               metav1.TypeMeta{APIVersion: v1alpha1.Group + "/" + v1alpha1.Version, Kind: "Recommendation"},
			ObjectMeta:             metav1.ObjectMeta{Namespace: owner.Namespace, Name: nameOf(owner)},
			WorkloadRecommendation: c.recommendation(owner, at.policy, now), Pods: at.pods,
		}
		if len(r.Containers) == 0 {
			continue // nothing is known yet
		}
		if p := at.policy; p != nil {
			r.Autosize = fmt.Sprintf("%s (%s)", p.object.Name, p.mode)
		}
		for _, ct := range at.names {
			size := v1alpha1.CurrentContainerSize{Name: ct, Size: listOf(at.least[ct])}
			if at.most[ct] != at.least[ct] {
				size.Largest = listOf(at.most[ct])
			}
			r.Current = append(r.Current, size)
		}
		out = append(out, r)
	}
	return out
}

// recommendation takes the lock for one workload only: there may be many, and nodes and creates wait for it.
func (c *Controller) recommendation(owner controlplane.Owner, p *policy, now time.Time) v1alpha1.WorkloadRecommendation {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.core.workloads[owner]
	if w == nil {
		return v1alpha1.WorkloadRecommendation{}
	}
	return c.core.recommendation(w, p, now)
}

// containersOf are a pod's containers with its init containers and sidecars.
func containersOf(pod *corev1.Pod) []*corev1.Container {
	out := make([]*corev1.Container, 0, len(pod.Spec.InitContainers)+len(pod.Spec.Containers))
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			out = append(out, &list[i])
		}
	}
	return out
}

func (c *Controller) currentIn(namespace string, all policies) map[controlplane.Owner]*current {
	out := map[controlplane.Owner]*current{}
	items, _ := c.cfg.Store.Items("pods", namespace)
	for i := range items.Len() {
		pod := items.Object(i).(*corev1.Pod)
		if ended(pod) || pod.DeletionTimestamp != nil {
			continue
		}
		owner := controlplane.OwnerOf(pod)
		at := out[owner]
		if at == nil {
			at = &current{least: map[string]amounts{}, most: map[string]amounts{}, policy: all.holding(pod, owner)}
			out[owner] = at
		}
		at.pods++
		for _, ct := range containersOf(pod) {
			size := sizeOf(&ct.Resources)
			least, known := at.least[ct.Name]
			if !known {
				at.names = append(at.names, ct.Name)
				least = size
			}
			at.least[ct.Name] = amounts{min(least.cpu, size.cpu), min(least.memory, size.memory)}
			most := at.most[ct.Name]
			at.most[ct.Name] = amounts{max(most.cpu, size.cpu), max(most.memory, size.memory)}
		}
	}
	for _, at := range out {
		slices.Sort(at.names)
	}
	return out
}
