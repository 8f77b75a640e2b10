package scheduler

import (
	"encoding/binary"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/controlplane"
)

// plan is a pod's rules, made ready. Pods with the same rules share one.
type plan struct {
	key  string
	uses int // by reservations and by pods that wait

	tolerations []corev1.Toleration
	required    []nodeTerm // one of them, if needed
	needed      bool
	filters     []*filter // of its spread rules
	spreads     []spread
	together    []*census // domains that must have pods of the crowd
	mates       *crowd    // of together
	apart       []*census // domains that must have none
	keeps       []*census // where the pod is counted in turn: it keeps others out

	likesNodes []likedNodes
	likesPods  []likedPods

	crowds []*crowd // of all the above

	pools pools // that the tolerations open
	asOf  uint64
}

type spread struct {
	census  *census
	crowd   *crowd
	skew    int
	domains int // fewer than these count as if there were one without pods
	hard    bool
}

type likedNodes struct {
	term   []nodeTerm
	weight int
}

type likedPods struct {
	census *census
	weight int // negative: to keep away from
}

// prefers tells whether there is more to a choice than that it is allowed.
func (p *plan) prefers() bool {
	if len(p.likesNodes)+len(p.likesPods) > 0 {
		return true
	}
	return slices.ContainsFunc(p.spreads, func(s spread) bool { return !s.hard })
}

// social tells whether other pods matter.
func (p *plan) social() bool { return p != nil && len(p.crowds) > 0 }

// plans keeps what pods' rules were made into.
type plans struct {
	byKey map[string]*plan
	limit int // sweep when there are more
	buf   []byte
}

// minPlans are kept whether they are in use or not.
const minPlans = 1024

func newPlans() plans { return plans{byKey: map[string]*plan{}, limit: minPlans} }

// planOf answers the plan of a pod's rules, nil if it has none.
func (c *core) planOf(req *controlplane.PlaceRequest) *plan {
	if req.Rules == nil {
		return nil
	}
	c.plans.buf = appendRules(c.plans.buf[:0], req)
	if p := c.plans.byKey[string(c.plans.buf)]; p != nil {
		return p
	}
	if len(c.plans.byKey) >= c.plans.limit {
		c.sweep()
	}
	p := c.compile(req)
	p.key = string(c.plans.buf)
	c.plans.byKey[p.key] = p
	return p
}

// sweep forgets the plans that nobody uses, and the crowds that nobody looks for.
func (c *core) sweep() {
	for k, p := range c.plans.byKey {
		if p.uses > 0 {
			continue
		}
		delete(c.plans.byKey, k)
		for _, x := range p.crowds {
			if x.uses--; x.uses == 0 {
				c.crowds.index(x, false)
				delete(c.crowds.all, x.key)
				if len(x.holders) > 0 {
					c.crowds.keeping--
				}
			}
		}
		for _, l := range p.filters {
			if l.uses--; l.uses == 0 {
				delete(c.filters, l.key)
			}
		}
	}
	c.reasons.stale()
	c.plans.limit = max(minPlans, 2*len(c.plans.byKey))
}

// message is what Kubernetes' generated types have: a form that says all there is, the same for the same.
type message interface {
	Size() int
	MarshalToSizedBuffer([]byte) (int, error)
}

func appendMessage(b []byte, m message) []byte {
	n := m.Size()
	b = binary.AppendUvarint(b, uint64(n))
	at := len(b)
	b = slices.Grow(b, n)[:at+n]
	_, _ = m.MarshalToSizedBuffer(b[at:]) // can't fail with the size that it said
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendMap(b []byte, m map[string]string) []byte {
	b = binary.AppendUvarint(b, uint64(len(m)))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		b = appendString(appendString(b, k), m[k])
	}
	return b
}

// appendRules writes all that a plan is made of.
func appendRules(b []byte, req *controlplane.PlaceRequest) []byte {
	r := req.Rules
	b = binary.AppendUvarint(b, uint64(len(r.Tolerations)))
	for i := range r.Tolerations {
		b = appendMessage(b, &r.Tolerations[i])
	}
	a := r.Affinity
	if a != nil {
		b = appendMessage(b, a)
	}
	if len(r.Spread) == 0 && (a == nil || a.PodAffinity == nil && a.PodAntiAffinity == nil) {
		return b
	}
	b = appendString(b, req.Key.Namespace)
	b = binary.AppendUvarint(b, uint64(len(r.Spread)))
	for i := range r.Spread {
		b = appendMessage(b, &r.Spread[i])
		b = appendValues(b, r.Spread[i].MatchLabelKeys, req.Labels)
	}
	if len(r.Spread) > 0 {
		b = appendMap(b, req.NodeSelector)
	}
	if a == nil {
		return b
	}
	for _, t := range podTerms(a) {
		b = appendValues(b, t.MatchLabelKeys, req.Labels)
		b = appendValues(b, t.MismatchLabelKeys, req.Labels)
	}
	return b
}

// appendValues writes the pod's values of labels that a rule takes over from it.
func appendValues(b []byte, keys []string, pod map[string]string) []byte {
	for _, k := range keys {
		v, ok := pod[k]
		if ok {
			b = append(b, 1)
		}
		b = appendString(b, v)
	}
	return b
}

// podTerms are all terms that look at other pods.
func podTerms(a *corev1.Affinity) []*corev1.PodAffinityTerm {
	var out []*corev1.PodAffinityTerm
	if p := a.PodAffinity; p != nil {
		for i := range p.RequiredDuringSchedulingIgnoredDuringExecution {
			out = append(out, &p.RequiredDuringSchedulingIgnoredDuringExecution[i])
		}
		for i := range p.PreferredDuringSchedulingIgnoredDuringExecution {
			out = append(out, &p.PreferredDuringSchedulingIgnoredDuringExecution[i].PodAffinityTerm)
		}
	}
	if p := a.PodAntiAffinity; p != nil {
		for i := range p.RequiredDuringSchedulingIgnoredDuringExecution {
			out = append(out, &p.RequiredDuringSchedulingIgnoredDuringExecution[i])
		}
		for i := range p.PreferredDuringSchedulingIgnoredDuringExecution {
			out = append(out, &p.PreferredDuringSchedulingIgnoredDuringExecution[i].PodAffinityTerm)
		}
	}
	return out
}
