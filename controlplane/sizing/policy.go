package sizing

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// policy is an Autosize, read.
type policy struct {
	object   *v1alpha1.Autosize
	selector labels.Selector
	workload v1alpha1.WorkloadReference // zero: by selector
	mode     v1alpha1.AutosizeMode
	aims     aims
	cooldown time.Duration
	history  time.Duration
	restart  bool // containers that a resize restarts are resized as well
	each     bounds
	named    map[string]bounds
}

// policies are those of each namespace, by name. A value isn't changed once it is shared.
type policies map[string][]*policy

// readPolicy takes over a policy, which was defaulted and validated.
func readPolicy(p *v1alpha1.Autosize) (*policy, error) {
	out := &policy{object: p, selector: labels.Everything(), mode: p.Spec.Mode, restart: p.Spec.AllowRestart, named: map[string]bounds{}}
	if p.Spec.Selector != nil {
		var err error
		if out.selector, err = metav1.LabelSelectorAsSelector(p.Spec.Selector); err != nil {
			return nil, err
		}
	}
	if p.Spec.Workload != nil {
		out.workload = *p.Spec.Workload
	}
	out.aims = aims{
		cpu:    aimOf(p.Spec.CPU, v1alpha1.DefaultCPUPercentile),
		memory: aimOf(p.Spec.Memory, v1alpha1.DefaultMemoryPercentile),
	}
	out.cooldown = secondsOf(p.Spec.CooldownSeconds, v1alpha1.DefaultCooldownSeconds)
	out.history = secondsOf(p.Spec.HistorySeconds, v1alpha1.DefaultHistorySeconds)
	out.each = bounds{
		cpu: true, memory: true,
		change: shareOf(p.Spec.ChangePercent, v1alpha1.DefaultChangePercent),
		up:     shareOf(p.Spec.UpPercent, v1alpha1.DefaultUpPercent),
		down:   shareOf(p.Spec.DownPercent, v1alpha1.DefaultDownPercent),
	}
	common := out.each
	for _, c := range p.Spec.Containers {
		b := common
		b.min, b.max = limitsOf(c.Min), limitsOf(c.Max)
		if len(c.Resources) > 0 {
			b.cpu, b.memory = slices.Contains(c.Resources, corev1.ResourceCPU), slices.Contains(c.Resources, corev1.ResourceMemory)
		}
		if c.Mode == v1alpha1.AutosizeContainerOff {
			b.cpu, b.memory = false, false
		}
		if c.Name == "*" {
			out.each = b
		} else {
			out.named[c.Name] = b
		}
	}
	return out, nil
}

func aimOf(t v1alpha1.AutosizeTarget, percentile int32) aim {
	if t.Percentile > 0 {
		percentile = t.Percentile
	}
	margin := int32(v1alpha1.DefaultMarginPercent)
	if t.MarginPercent != nil {
		margin = *t.MarginPercent
	}
	return aim{float64(percentile) / 100, float64(margin) / 100}
}

func secondsOf(s *int32, byDefault int32) time.Duration {
	if s != nil {
		byDefault = *s
	}
	return time.Duration(byDefault) * time.Second
}

func shareOf(p, byDefault int32) float64 {
	if p <= 0 {
		p = byDefault
	}
	return float64(p) / 100
}

func limitsOf(list corev1.ResourceList) amounts {
	return amounts{list.Cpu().MilliValue(), list.Memory().Value()}
}

// of answers what holds for a container.
func (p *policy) of(container string) bounds {
	if b, ok := p.named[container]; ok {
		return b
	}
	return p.each
}

// selects tells whether a pod is the policy's.
func (p *policy) selects(pod *corev1.Pod, owner controlplane.Owner) bool {
	if p.workload != (v1alpha1.WorkloadReference{}) && p.workload != (v1alpha1.WorkloadReference{Kind: owner.Kind, Name: owner.Name}) {
		return false
	}
	return p.selector.Matches(labels.Set(pod.Labels))
}

// holding answers the policy that holds for a pod, nil if none does.
func (ps policies) holding(pod *corev1.Pod, owner controlplane.Owner) *policy {
	for _, p := range ps[pod.Namespace] {
		if p.selects(pod, owner) {
			return p
		}
	}
	return nil
}

// with answers the policies with one more, or with another one of that name.
func (ps policies) with(p *policy) policies {
	out := ps.without(p.object.Namespace, p.object.Name)
	list := append(slices.Clone(out[p.object.Namespace]), p)
	slices.SortFunc(list, func(a, b *policy) int { return strings.Compare(a.object.Name, b.object.Name) })
	out[p.object.Namespace] = list
	return out
}

func (ps policies) without(namespace, name string) policies {
	out := make(policies, len(ps))
	for ns, list := range ps {
		if ns == namespace {
			list = slices.DeleteFunc(slices.Clone(list), func(p *policy) bool { return p.object.Name == name })
		}
		if len(list) > 0 {
			out[ns] = list
		}
	}
	return out
}
