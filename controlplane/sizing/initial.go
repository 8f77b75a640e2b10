package sizing

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// Initial gives a new pod the recommended sizes where a policy of its namespace says so, and reports whether it
// changed anything. The containers may be shared with other pods: the pod gets its own. In a namespace without
// policies it costs a look into a map.
func (c *Controller) Initial(pod *corev1.Pod) bool {
	list := (*c.policies.Load())[pod.Namespace]
	if len(list) == 0 {
		return false
	}
	if v1alpha1.HasPodResources(&pod.Spec) {
		return false
	}
	owner := controlplane.OwnerOf(pod)
	p := policies{pod.Namespace: list}.holding(pod, owner)
	if p == nil || p.mode == v1alpha1.AutosizeOff {
		return false
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.core.workloads[owner]
	if w == nil {
		return false
	}
	var own []corev1.Container
	for i := range pod.Spec.Containers {
		ct := &pod.Spec.Containers[i]
		e, _, b := c.estimateLocked(w, p, ct.Name, now)
		if e == nil {
			continue
		}
		was := sizeOf(&ct.Resources)
		to, target := was, b.capped(e.target)
		if b.cpu && was.cpu > 0 {
			to.cpu = target.cpu
		}
		if b.memory && was.memory > 0 {
			to.memory = target.memory
		}
		if to == was {
			continue
		}
		if own == nil {
			own = slices.Clone(pod.Spec.Containers)
		}
		own[i].Resources = sized(&ct.Resources, to)
	}
	if own == nil {
		return false
	}
	pod.Spec.Containers = own
	if err := writeNote(pod, now); err != nil {
		return false
	}
	c.count(func(n *counts) { n.initial++ })
	return true
}
