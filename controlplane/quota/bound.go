package quota

import (
	"fmt"
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
)

// bound is a ResourceQuota as it is counted.
type bound struct {
	name   string
	uid    types.UID
	hard   corev1.ResourceList
	lines  []line // by name
	scopes []corev1.ScopedResourceSelectorRequirement

	used map[string]*use // by resource
}

// line is one amount that a quota bounds.
type line struct {
	name     corev1.ResourceName
	resource string // whose objects count
	amount   amount
	hard     int64
}

var podLines = map[corev1.ResourceName]amount{
	corev1.ResourcePods: livePods,
	corev1.ResourceCPU:  requestsCPU, corev1.ResourceRequestsCPU: requestsCPU, corev1.ResourceLimitsCPU: limitsCPU,
	corev1.ResourceMemory: requestsMemory, corev1.ResourceRequestsMemory: requestsMemory, corev1.ResourceLimitsMemory: limitsMemory,
}

// countPrefix begins the names of counts of objects: count/configmaps, count/autosizes.swell.dev.
const countPrefix = "count/"

// lineOf answers false for a name that isn't counted.
func lineOf(name corev1.ResourceName, hard resource.Quantity) (line, bool) {
	l := line{name: name, resource: "pods"}
	if a, ok := podLines[name]; ok {
		l.amount = a
	} else if counted, ok := strings.CutPrefix(string(name), countPrefix); ok {
		l.resource, _, _ = strings.Cut(counted, ".") // in the store resources have no group
	} else if name == corev1.ResourceConfigMaps || name == corev1.ResourceSecrets || name == corev1.ResourceQuotas {
		l.resource = string(name)
	} else {
		return l, false
	}
	l.hard = floor(hard, l.amount)
	return l, true
}

// floor answers a quantity in the amount's unit, at most.
func floor(q resource.Quantity, a amount) int64 {
	unit, scale := int64(1), resource.Scale(0)
	if a == requestsCPU || a == limitsCPU {
		unit, scale = 1000, resource.Milli
	}
	if q.CmpInt64(math.MaxInt64/unit) > 0 {
		return math.MaxInt64
	}
	n := q.ScaledValue(scale) // rounded up
	if resource.NewScaledQuantity(n, scale).Cmp(q) > 0 {
		n--
	}
	return n
}

func quantity(n int64, a amount) resource.Quantity {
	switch a {
	case requestsCPU, limitsCPU:
		return *resource.NewMilliQuantity(n, resource.DecimalSI)
	case requestsMemory, limitsMemory:
		return *resource.NewQuantity(n, resource.BinarySI)
	}
	return *resource.NewQuantity(n, resource.DecimalSI)
}

// boundOf reads a quota. What isn't counted, which validation refuses, is left out.
func boundOf(q *corev1.ResourceQuota) *bound {
	b := &bound{name: q.Name, uid: q.UID, hard: q.Spec.Hard, used: map[string]*use{}}
	for name, hard := range q.Spec.Hard {
		if l, ok := lineOf(name, hard); ok {
			b.lines = append(b.lines, l)
			b.used[l.resource] = &use{}
		}
	}
	slices.SortFunc(b.lines, func(x, y line) int { return strings.Compare(string(x.name), string(y.name)) })
	for _, s := range q.Spec.Scopes {
		b.scopes = append(b.scopes, corev1.ScopedResourceSelectorRequirement{ScopeName: s, Operator: corev1.ScopeSelectorOpExists})
	}
	if q.Spec.ScopeSelector != nil {
		b.scopes = append(b.scopes, q.Spec.ScopeSelector.MatchExpressions...)
	}
	return b
}

// about reports whether all scopes are the claim's.
func (b *bound) about(c *claim) bool {
	for i := range b.scopes {
		if !within(&b.scopes[i], c) {
			return false
		}
	}
	return true
}

func within(s *corev1.ScopedResourceSelectorRequirement, c *claim) bool {
	switch s.ScopeName {
	case corev1.ResourceQuotaScopeTerminating:
		return c.terminating
	case corev1.ResourceQuotaScopeNotTerminating:
		return !c.terminating
	case corev1.ResourceQuotaScopeBestEffort:
		return c.bestEffort
	case corev1.ResourceQuotaScopeNotBestEffort:
		return !c.bestEffort
	case corev1.ResourceQuotaScopePriorityClass:
		switch s.Operator {
		case corev1.ScopeSelectorOpExists:
			return c.class != ""
		case corev1.ScopeSelectorOpDoesNotExist:
			return c.class == ""
		case corev1.ScopeSelectorOpIn:
			return c.class != "" && slices.Contains(s.Values, c.class)
		case corev1.ScopeSelectorOpNotIn:
			return !slices.Contains(s.Values, c.class)
		}
	}
	return false
}

// counts is what an object counts with for the quota.
func (b *bound) counts(o *object) use {
	var u use
	if o.stored != nil && b.about(o.stored) {
		u = o.stored.use
	}
	for _, c := range o.charged {
		if b.about(c) {
			u = u.max(c.use)
		}
	}
	return u
}

// refuse answers an error if it would be beyond the quota that an object of a resource counts with after instead of
// before. What doesn't grow isn't judged.
func (b *bound) refuse(res string, before, after use) error {
	used := b.used[res]
	if used == nil {
		return nil
	}
	var requested, was, limited []string
	for _, l := range b.lines {
		more := after[l.amount] - before[l.amount]
		if l.resource != res || more <= 0 || used[l.amount]+more <= l.hard {
			continue
		}
		add := func(list *[]string, q resource.Quantity) { *list = append(*list, string(l.name)+"="+q.String()) }
		add(&requested, quantity(more, l.amount))
		add(&was, quantity(used[l.amount], l.amount))
		add(&limited, b.hard[l.name])
	}
	if requested == nil {
		return nil
	}
	all := func(list []string) string { return strings.Join(list, ",") }
	return fmt.Errorf("exceeded quota: %s, requested: %s, used: %s, limited: %s", b.name, all(requested), all(was), all(limited))
}

func (b *bound) add(res string, before, after use) {
	if used := b.used[res]; used != nil {
		for i := range used {
			used[i] += after[i] - before[i]
		}
	}
}

// status is what the quota's object shows.
func (b *bound) status() corev1.ResourceQuotaStatus {
	st := corev1.ResourceQuotaStatus{Hard: corev1.ResourceList{}, Used: corev1.ResourceList{}}
	for _, l := range b.lines {
		st.Hard[l.name], st.Used[l.name] = b.hard[l.name].DeepCopy(), quantity(b.used[l.resource][l.amount], l.amount)
	}
	return st
}
