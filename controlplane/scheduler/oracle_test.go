package scheduler

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"swell.dev/swell/controlplane"
)

// naive answers what is against a pod on a node, by a look at everything and from the rules as they are
// written; nothing where the node may have it. It knows nothing of indexes, plans, crowds and filters.
func naive(c *core, req *controlplane.PlaceRequest, n *node) string {
	free := n.free()
	switch {
	case !n.known || !n.spec.Ready || n.pods+n.claimedPods >= n.spec.MaxPods || !req.Demand.Fits(free):
		return "room"
	case req.NodeName != "" && req.NodeName != n.spec.Name, req.NodeName == "" && n.spec.Cordoned:
		return "name or cordon"
	case !n.hasPorts(req.HostPorts):
		return "ports"
	case !n.matches(req.NodeSelector) || !naiveAffinity(req, n):
		return "node affinity"
	case classOf(req)&controlplane.NodeClasses(n.spec.Labels) == 0:
		return "class"
	}
	for _, t := range n.spec.Taints {
		if (t.Effect == corev1.TaintEffectNoExecute || t.Effect == corev1.TaintEffectNoSchedule && req.NodeName == "") && !naiveTolerates(req, t) {
			return "taint " + t.Key
		}
	}
	if req.NodeName != "" {
		return ""
	}
	if req.Rules != nil {
		for _, s := range req.Rules.Spread {
			if s.WhenUnsatisfiable == corev1.DoNotSchedule && !naiveSpread(c, req, n, s) {
				return "spread"
			}
		}
		if a := req.Rules.Affinity; a != nil && a.PodAffinity != nil && !naiveTogether(c, req, n, a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution) {
			return "affinity"
		}
		for _, t := range antiTerms(req.Rules) {
			for _, r := range c.pods {
				if r.kin != nil && inDomain(n, r.node, t.TopologyKey) && naiveMatches(t, req.Key.Namespace, r.kin.namespace, r.kin.labels) {
					return "anti-affinity"
				}
			}
		}
	}
	for uid, r := range c.pods {
		for _, t := range antiTerms(rulesOf[uid]) {
			if r.kin != nil && inDomain(n, r.node, t.TopologyKey) && naiveMatches(t, r.kin.namespace, req.Key.Namespace, req.Labels) {
				return "existing anti-affinity"
			}
		}
	}
	return ""
}

// rulesOf are the rules with which pods were placed, which the core keeps in another form.
var rulesOf = map[string]*controlplane.Rules{}

func antiTerms(r *controlplane.Rules) []corev1.PodAffinityTerm {
	if r == nil || r.Affinity == nil || r.Affinity.PodAntiAffinity == nil {
		return nil
	}
	return r.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution
}

func inDomain(a, b *node, key string) bool {
	x, ok := a.spec.Labels[key]
	y, also := b.spec.Labels[key]
	return a.known && b.known && ok && also && x == y
}

func naiveMatches(t corev1.PodAffinityTerm, own, namespace string, pod map[string]string) bool {
	s, _ := metav1.LabelSelectorAsSelector(t.LabelSelector)
	in := t.NamespaceSelector != nil || slices.Contains(t.Namespaces, namespace) || len(t.Namespaces) == 0 && own == namespace
	return in && s.Matches(labels.Set(pod))
}

func naiveTolerates(req *controlplane.PlaceRequest, taint corev1.Taint) bool {
	if req.Rules == nil {
		return false
	}
	for _, t := range req.Rules.Tolerations {
		key := t.Key == "" || t.Key == taint.Key
		effect := t.Effect == "" || t.Effect == taint.Effect
		value := t.Operator == corev1.TolerationOpExists || t.Value == taint.Value
		if key && effect && value {
			return true
		}
	}
	return false
}

func naiveAffinity(req *controlplane.PlaceRequest, n *node) bool {
	if req.Rules == nil || req.Rules.Affinity == nil || req.Rules.Affinity.NodeAffinity == nil || req.Rules.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return true
	}
	for _, t := range req.Rules.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		all := true
		for _, e := range t.MatchExpressions {
			v, has := n.spec.Labels[e.Key]
			all = all && naiveExpr(e, v, has)
		}
		for _, e := range t.MatchFields {
			all = all && naiveExpr(e, n.spec.Name, true)
		}
		if all {
			return true
		}
	}
	return false
}

func naiveExpr(e corev1.NodeSelectorRequirement, v string, has bool) bool {
	number := func(s string) int { n, _ := strconv.Atoi(s); return n }
	switch e.Operator {
	case corev1.NodeSelectorOpIn:
		return has && slices.Contains(e.Values, v)
	case corev1.NodeSelectorOpNotIn:
		return !has || !slices.Contains(e.Values, v)
	case corev1.NodeSelectorOpExists:
		return has
	case corev1.NodeSelectorOpDoesNotExist:
		return !has
	case corev1.NodeSelectorOpGt:
		return has && number(v) > number(e.Values[0])
	}
	return has && number(v) < number(e.Values[0])
}

func naiveSpread(c *core, req *controlplane.PlaceRequest, n *node, s corev1.TopologySpreadConstraint) bool {
	here, ok := n.spec.Labels[s.TopologyKey]
	if !ok {
		return false
	}
	selector, _ := metav1.LabelSelectorAsSelector(s.LabelSelector)
	for _, k := range s.MatchLabelKeys {
		if v, ok := req.Labels[k]; ok {
			selector, _ = labels.Parse(selector.String() + "," + k + "=" + v)
		}
	}
	domains := map[string]int{}
	counts := func(o *node) bool {
		for _, other := range req.Rules.Spread {
			if _, ok := o.spec.Labels[other.TopologyKey]; !ok && other.WhenUnsatisfiable == corev1.DoNotSchedule {
				return false
			}
		}
		if s.NodeAffinityPolicy == nil || *s.NodeAffinityPolicy == corev1.NodeInclusionPolicyHonor {
			if !o.matches(req.NodeSelector) || !naiveAffinity(req, o) {
				return false
			}
		}
		if s.NodeTaintsPolicy != nil && *s.NodeTaintsPolicy == corev1.NodeInclusionPolicyHonor {
			for _, t := range o.spec.Taints {
				if t.Effect != corev1.TaintEffectPreferNoSchedule && !naiveTolerates(req, t) {
					return false
				}
			}
		}
		return o.known
	}
	for _, o := range c.fleet.nodes {
		if v := o.spec.Labels[s.TopologyKey]; counts(o) {
			domains[v] += 0
			for _, r := range o.held {
				if r.kin != nil && r.kin.namespace == req.Key.Namespace && selector.Matches(labels.Set(r.kin.labels)) {
					domains[v]++
				}
			}
		}
	}
	least := -1
	for _, pods := range domains {
		if least < 0 || pods < least {
			least = pods
		}
	}
	if least < 0 || s.MinDomains != nil && len(domains) < int(*s.MinDomains) {
		least = 0
	}
	self := 0
	if selector.Matches(labels.Set(req.Labels)) {
		self = 1
	}
	return domains[here]+self-least <= int(s.MaxSkew)
}

func naiveTogether(c *core, req *controlplane.PlaceRequest, n *node, terms []corev1.PodAffinityTerm) bool {
	all := func(namespace string, pod map[string]string) bool {
		for _, t := range terms {
			if !naiveMatches(t, req.Key.Namespace, namespace, pod) {
				return false
			}
		}
		return true
	}
	any, ok := false, true
	for _, t := range terms {
		if _, has := n.spec.Labels[t.TopologyKey]; !has {
			return false
		}
		here := false
		for _, r := range c.pods {
			if r.kin != nil && all(r.kin.namespace, r.kin.labels) {
				if _, has := r.node.spec.Labels[t.TopologyKey]; has && r.node.known {
					any = true
				}
				here = here || inDomain(n, r.node, t.TopologyKey)
			}
		}
		ok = ok && here
	}
	return ok || !any && all(req.Key.Namespace, req.Labels)
}
