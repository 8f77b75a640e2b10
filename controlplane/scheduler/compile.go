package scheduler

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"swell.dev/swell/controlplane"
)

// compile makes a pod's rules into a plan. Crowds that nobody has looked for yet are counted.
func (c *core) compile(req *controlplane.PlaceRequest) *plan {
	p := &plan{tolerations: req.Rules.Tolerations}
	if a := req.Rules.Affinity; a != nil {
		c.compileNodes(p, a.NodeAffinity)
		if a.PodAffinity != nil {
			c.compileTogether(p, a.PodAffinity, req)
		}
		if a.PodAntiAffinity != nil {
			c.compileApart(p, a.PodAntiAffinity, req)
		}
	}
	c.compileSpread(p, req)
	return p
}

func (c *core) compileNodes(p *plan, a *corev1.NodeAffinity) {
	if a == nil {
		return
	}
	if r := a.RequiredDuringSchedulingIgnoredDuringExecution; r != nil {
		p.needed = true
		for i := range r.NodeSelectorTerms {
			p.required = append(p.required, nodeTermOf(&r.NodeSelectorTerms[i]))
		}
	}
	for i := range a.PreferredDuringSchedulingIgnoredDuringExecution {
		t := &a.PreferredDuringSchedulingIgnoredDuringExecution[i]
		if len(t.Preference.MatchExpressions)+len(t.Preference.MatchFields) == 0 {
			continue // says nothing
		}
		p.likesNodes = append(p.likesNodes, likedNodes{[]nodeTerm{nodeTermOf(&t.Preference)}, int(t.Weight)})
	}
}

func (c *core) compileTogether(p *plan, a *corev1.PodAffinity, req *controlplane.PlaceRequest) {
	required := a.RequiredDuringSchedulingIgnoredDuringExecution
	if len(required) > 0 {
		// The pods to be with match all of the terms.
		var terms []crowdTerm
		for i := range required {
			terms = append(terms, crowdTermOf(&required[i], req))
		}
		p.mates = c.crowd(p, terms)
		for i := range required {
			p.together = append(p.together, c.census(p.mates, required[i].TopologyKey, nil))
		}
	}
	for i := range a.PreferredDuringSchedulingIgnoredDuringExecution {
		t := &a.PreferredDuringSchedulingIgnoredDuringExecution[i]
		x := c.crowd(p, []crowdTerm{crowdTermOf(&t.PodAffinityTerm, req)})
		p.likesPods = append(p.likesPods, likedPods{c.census(x, t.PodAffinityTerm.TopologyKey, nil), int(t.Weight)})
	}
}

func (c *core) compileApart(p *plan, a *corev1.PodAntiAffinity, req *controlplane.PlaceRequest) {
	for i := range a.RequiredDuringSchedulingIgnoredDuringExecution {
		t := &a.RequiredDuringSchedulingIgnoredDuringExecution[i]
		x := c.crowd(p, []crowdTerm{crowdTermOf(t, req)})
		p.apart = append(p.apart, c.census(x, t.TopologyKey, nil))
		p.keeps = append(p.keeps, c.holders(x, t.TopologyKey))
	}
	for i := range a.PreferredDuringSchedulingIgnoredDuringExecution {
		t := &a.PreferredDuringSchedulingIgnoredDuringExecution[i]
		x := c.crowd(p, []crowdTerm{crowdTermOf(&t.PodAffinityTerm, req)})
		p.likesPods = append(p.likesPods, likedPods{c.census(x, t.PodAffinityTerm.TopologyKey, nil), -int(t.Weight)})
	}
}

func crowdTermOf(t *corev1.PodAffinityTerm, req *controlplane.PlaceRequest) crowdTerm {
	out := crowdTerm{selector: withKeys(t.LabelSelector, t.MatchLabelKeys, t.MismatchLabelKeys, req.Labels)}
	out.everywhere = t.NamespaceSelector != nil
	if out.namespaces = slices.Compact(slices.Sorted(slices.Values(t.Namespaces))); len(out.namespaces) == 0 {
		out.namespaces = []string{req.Key.Namespace}
	}
	return out
}

// withKeys adds what a selector takes over from the pod's own labels.
func withKeys(s *metav1.LabelSelector, same, other []string, pod map[string]string) labels.Selector {
	out := selectorOf(s)
	for op, keys := range map[selection.Operator][]string{selection.In: same, selection.NotIn: other} {
		for _, k := range keys {
			if v, ok := pod[k]; ok && s != nil {
				if r, err := labels.NewRequirement(k, op, []string{v}); err == nil {
					out = out.Add(*r)
				}
			}
		}
	}
	return out
}

func (c *core) compileSpread(p *plan, req *controlplane.PlaceRequest) {
	hard := 0
	for i := range req.Rules.Spread {
		if req.Rules.Spread[i].WhenUnsatisfiable == corev1.DoNotSchedule {
			hard++
		}
	}
	for i := range req.Rules.Spread {
		t := &req.Rules.Spread[i]
		x := c.crowd(p, []crowdTerm{{namespaces: []string{req.Key.Namespace}, selector: withKeys(t.LabelSelector, t.MatchLabelKeys, nil, req.Labels)}})
		s := spread{crowd: x, skew: int(t.MaxSkew), hard: t.WhenUnsatisfiable == corev1.DoNotSchedule}
		if t.MinDomains != nil {
			s.domains = int(*t.MinDomains)
		}
		s.census = c.census(x, t.TopologyKey, c.filter(p, req, t, s.hard && hard > 1))
		p.spreads = append(p.spreads, s)
	}
}

// crowd answers the crowd of some terms.
func (c *core) crowd(p *plan, terms []crowdTerm) *crowd {
	var b strings.Builder
	for i := range terms {
		t := &terms[i]
		if t.everywhere {
			b.WriteByte('*')
		}
		b.WriteString(strings.Join(t.namespaces, ","))
		b.WriteByte('|')
		b.WriteString(t.selector.String())
		if _, possible := t.selector.Requirements(); !possible {
			b.WriteByte('!') // nothing, which is written like everything
		}
		b.WriteByte('\n')
	}
	x := c.crowds.all[b.String()]
	if x == nil {
		c.crowds.made++
		x = &crowd{id: c.crowds.made, key: b.String(), terms: terms, lines: map[*line]int{}}
		c.crowds.all[x.key] = x
		c.crowds.index(x, true)
	}
	if !slices.Contains(p.crowds, x) {
		p.crowds = append(p.crowds, x)
		x.uses++
	}
	return x
}

// census answers the crowd's census by a topology. A new one takes a look at all pods.
func (c *core) census(x *crowd, key string, only *filter) *census {
	for _, s := range x.censuses {
		if s.key == key && s.filter == only {
			return s
		}
	}
	s := newCensus(key, only)
	if len(x.censuses) > 0 {
		for n, pods := range x.censuses[0].nodes {
			s.add(n, pods)
		}
	} else {
		for _, n := range c.fleet.nodes {
			for _, r := range n.held {
				if r.kin != nil && x.matches(r.kin.namespace, r.kin.labels) {
					s.add(n, 1)
				}
			}
		}
	}
	x.censuses = append(x.censuses, s)
	return s
}

// holders answers the census of those who keep the crowd out. Pods that wait and are of the crowd depend on
// it from now on.
func (c *core) holders(x *crowd, key string) *census {
	for _, s := range x.holders {
		if s.key == key {
			return s
		}
	}
	if len(x.holders) == 0 {
		c.crowds.keeping++
	}
	s := newCensus(key, nil)
	x.holders = append(x.holders, s)
	c.relined = append(c.relined, x)
	return s
}

// filter answers the nodes that a spread rule counts, nil for all: those that the pod's selector and node
// affinity take, unless it says otherwise, those whose taints it tolerates, if it says so, and where several
// rules must hold those that have all their labels.
func (c *core) filter(p *plan, req *controlplane.PlaceRequest, t *corev1.TopologySpreadConstraint, allKeys bool) *filter {
	affinity := (t.NodeAffinityPolicy == nil || *t.NodeAffinityPolicy == corev1.NodeInclusionPolicyHonor) && (p.needed || len(req.NodeSelector) > 0)
	taints := t.NodeTaintsPolicy != nil && *t.NodeTaintsPolicy == corev1.NodeInclusionPolicyHonor
	if !affinity && !taints && !allKeys {
		return nil
	}
	var keys []string
	for i := range req.Rules.Spread {
		if req.Rules.Spread[i].WhenUnsatisfiable == corev1.DoNotSchedule {
			keys = append(keys, req.Rules.Spread[i].TopologyKey)
		}
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	id := []byte{'-', '-', '-'}
	if affinity {
		id[0] = 'a'
		id = appendMap(id, req.NodeSelector)
		if p.needed {
			id = appendMessage(id, req.Rules.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
		}
	}
	if taints {
		id[1] = 't'
		for i := range p.tolerations {
			id = appendMessage(id, &p.tolerations[i])
		}
	}
	if allKeys {
		id[2] = 'k'
	}
	for _, k := range keys {
		id = appendString(id, k)
	}
	id = appendString(id, t.TopologyKey)
	if l := c.filters[string(id)]; l != nil {
		p.use(l)
		return l
	}
	selector, required, needed, tolerations := maps.Clone(req.NodeSelector), p.required, p.needed, p.tolerations
	l := &filter{key: string(id), keys: []string{t.TopologyKey}, in: map[*node]bool{}, domains: map[string]map[string]int{t.TopologyKey: {}}}
	l.matches = func(n *node) bool {
		if affinity && (!n.matches(selector) || needed && !anyTerm(required, &n.spec)) {
			return false
		}
		for i := range n.spec.Taints {
			if x := &n.spec.Taints[i]; taints && controlplane.Repels(x) && !controlplane.Tolerates(tolerations, x) {
				return false
			}
		}
		for _, k := range keys {
			if _, ok := n.spec.Labels[k]; allKeys && !ok {
				return false
			}
		}
		return true
	}
	for _, n := range c.fleet.list {
		l.deposit(n)
	}
	c.filters[l.key] = l
	p.use(l)
	return l
}

// use counts the plan among the filter's users, once.
func (p *plan) use(l *filter) {
	if !slices.Contains(p.filters, l) {
		p.filters = append(p.filters, l)
		l.uses++
	}
}
