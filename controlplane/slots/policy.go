package slots

import (
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// rule is what holds for a workload at one time.
type rule struct {
	off       bool
	depth     controlplane.SlotDepth
	min, max  int // max below 0: the control plane's own bound
	certainty float64
}

// policy is a SlotPolicy, read.
type policy struct {
	object   *v1alpha1.SlotPolicy
	selector labels.Selector
	rule     rule
	windows  []window
	template controlplane.Workload // that it brings itself; the zero Workload: none

	now    rule      // with the windows that are open
	latest *workload // that came last, of those it held for at the last look
}

// policies are those of each namespace, by name.
type policies map[string][]*policy

var byDefault = rule{depth: controlplane.SlotContainer, max: -1, certainty: certainty(v1alpha1.DefaultIdleCost, v1alpha1.DefaultColdStartCost)}

// certainty is the newsvendor's quantile: the share of all leads in which slots should be enough.
func certainty(idle, cold int32) float64 { return float64(cold) / float64(cold+idle) }

// set takes over a policy, which was validated and defaulted.
func (ps policies) set(p *v1alpha1.SlotPolicy) (*policy, error) {
	selector := labels.Everything()
	if p.Spec.Selector != nil {
		var err error
		if selector, err = metav1.LabelSelectorAsSelector(p.Spec.Selector); err != nil {
			return nil, err
		}
	}
	out := &policy{object: p, selector: selector, rule: rule{
		off: p.Spec.Mode == v1alpha1.SlotModeOff, depth: depthOf(p.Spec.Depth), min: int(p.Spec.Min), max: -1,
		certainty: certainty(orOne(p.Spec.IdleCost, v1alpha1.DefaultIdleCost), orOne(p.Spec.ColdStartCost, v1alpha1.DefaultColdStartCost)),
	}}
	if p.Spec.Max != nil {
		out.rule.max = int(*p.Spec.Max)
	}
	for _, w := range p.Spec.Schedule {
		read, err := readWindow(w)
		if err != nil {
			return nil, err
		}
		out.windows = append(out.windows, read)
	}
	out.now = out.rule
	ps.remove(p.Namespace, p.Name)
	list := append(ps[p.Namespace], out)
	slices.SortFunc(list, func(a, b *policy) int { return strings.Compare(a.object.Name, b.object.Name) })
	ps[p.Namespace] = list
	return out, nil
}

func orOne(n, byDefault int32) int32 {
	if n <= 0 {
		return byDefault
	}
	return n
}

func depthOf(d v1alpha1.SlotDepth) controlplane.SlotDepth {
	switch d {
	case v1alpha1.SlotDepthCapacity:
		return controlplane.SlotCapacity
	case v1alpha1.SlotDepthSandbox:
		return controlplane.SlotSandbox
	}
	return controlplane.SlotContainer
}

func (ps policies) remove(namespace, name string) {
	ps[namespace] = slices.DeleteFunc(ps[namespace], func(p *policy) bool { return p.object.Name == name })
	if len(ps[namespace]) == 0 {
		delete(ps, namespace)
	}
}

// of answers the policy that holds for a workload, nil if none does.
func (ps policies) of(w *workload) *policy {
	list := ps[w.key.Namespace]
	if len(list) == 0 || w.template == nil {
		return nil
	}
	set := labels.Set(w.template.Labels)
	for _, p := range list {
		if p.template == w.key || p.selector.Matches(set) {
			return p
		}
	}
	return nil
}

// ruleOf answers what holds for a workload since the last look.
func (ps policies) ruleOf(w *workload) rule {
	if w.policy == nil {
		return byDefault
	}
	return w.policy.now
}

// look opens and closes windows.
func (ps policies) look(now time.Time) {
	for _, list := range ps {
		for _, p := range list {
			p.now = p.rule
			for _, w := range p.windows {
				if w.open(now) {
					p.now.min = max(p.now.min, w.min)
				}
			}
			p.latest = nil
		}
	}
}

// retire finds the workload of each policy that came last. Others have been replaced once they haven't come
// for a while, and aren't kept at the policy's minimum.
func (ps policies) retire(c *core, _ time.Time) {
	for _, w := range c.workloads {
		p := w.policy
		if p == nil || p.latest != nil && p.template == p.latest.key {
			continue
		}
		if p.latest == nil || p.template == w.key || w.seen.After(p.latest.seen) ||
			w.seen.Equal(p.latest.seen) && w.key.Template < p.latest.key.Template {
			p.latest = w
		}
	}
}
