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
		Containers []struct {
			Name      string `json:"name"`
			Resources struct {
				Requests map[corev1.ResourceName]*quantity.Quantity `json:"requests"`
				Limits   map[corev1.ResourceName]*quantity.Quantity `json:"limits"`
			} `json:"resources"`
		} `json:"containers"`
	} `json:"spec"`
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
	seen := map[string]bool{}
	for i := range s.Spec.Containers {
		c := &s.Spec.Containers[i]
		if c.Name == "" || seen[c.Name] {
			return nil
		}
		seen[c.Name] = true
		for _, list := range []map[corev1.ResourceName]*quantity.Quantity{c.Resources.Requests, c.Resources.Limits} {
			for _, q := range list {
				if q == nil { // which deletes it
					return nil
				}
			}
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
		res := &to.Spec.Containers[at].Resources
		res.Requests, res.Limits = merged(res.Requests, c.Resources.Requests), merged(res.Limits, c.Resources.Limits)
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
