package apiserver

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	kjson "sigs.k8s.io/json"

	"swell.dev/swell/controlplane"
)

// sizePatch is a strategic merge patch that names nothing but sizes of containers, as most resizes are. It is
// applied as it is: going through the whole pod's JSON twice costs more than all the rest of a resize.
type sizePatch struct {
	Spec struct {
		Resources  *patchedSize `json:"resources"`
		Containers []struct {
			Name      string      `json:"name"`
			Resources patchedSize `json:"resources"`
		} `json:"containers"`
	} `json:"spec"`
}

type patchedSize struct {
	Requests map[corev1.ResourceName]*quantity.Quantity `json:"requests"`
	Limits   map[corev1.ResourceName]*quantity.Quantity `json:"limits"`
}

// deletes reports a null, which takes a quantity away.
func (p *patchedSize) deletes() bool {
	for _, list := range []map[corev1.ResourceName]*quantity.Quantity{p.Requests, p.Limits} {
		for _, q := range list {
			if q == nil {
				return true
			}
		}
	}
	return false
}

func (p *patchedSize) apply(to *corev1.ResourceRequirements) {
	to.Requests, to.Limits = merged(to.Requests, p.Requests), merged(to.Limits, p.Limits)
}

// readSizePatch answers nil for any other patch, also one that is wrong: the way of all patches says how.
func readSizePatch(p patchBody) *sizePatch {
	if p.kind != types.StrategicMergePatchType {
		return nil
	}
	s := &sizePatch{}
	if strict, err := kjson.UnmarshalStrict(p.data, s); err != nil || len(strict) > 0 {
		return nil
	}
	if s.Spec.Resources != nil && s.Spec.Resources.deletes() {
		return nil
	}
	seen := map[string]bool{}
	for i := range s.Spec.Containers {
		c := &s.Spec.Containers[i]
		if c.Name == "" || seen[c.Name] {
			return nil
		}
		seen[c.Name] = true
		if c.Resources.deletes() {
			return nil
		}
	}
	return s
}

// apply makes next what old becomes; false where the patch names a container that isn't there, or would put them
// into another order.
func (s *sizePatch) apply(old, next controlplane.Object) bool {
	from, to := old.(*corev1.Pod), next.(*corev1.Pod)
	*to = *from.DeepCopy()
	last := -1
	for i := range s.Spec.Containers {
		c := &s.Spec.Containers[i]
		at := slices.IndexFunc(to.Spec.Containers, func(x corev1.Container) bool { return x.Name == c.Name })
		if at <= last {
			*to = corev1.Pod{}
			return false
		}
		last = at
		c.Resources.apply(&to.Spec.Containers[at].Resources)
	}
	if p := s.Spec.Resources; p != nil {
		if to.Spec.Resources == nil {
			to.Spec.Resources = &corev1.ResourceRequirements{}
		}
		p.apply(to.Spec.Resources)
	}
	return true
}

func merged(list corev1.ResourceList, patch map[corev1.ResourceName]*quantity.Quantity) corev1.ResourceList {
	if list == nil && len(patch) > 0 {
		list = corev1.ResourceList{}
	}
	for name, q := range patch {
		list[name] = q.DeepCopy()
	}
	return list
}
