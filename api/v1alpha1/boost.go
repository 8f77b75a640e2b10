package v1alpha1

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// AnnotationStartupBoost gives a pod's containers more CPU while they start: clauses that are divided by
// semicolons, each [container:]cpu=CPU[,for=DURATION][,required]. CPU is a quantity (2, 1500m) or a multiple of the
// container's size (3x). A clause without a container is for all that have none of their own. With required, in any
// clause, the pod isn't placed and none of its boosted containers is started without.
const AnnotationStartupBoost = "swell.dev/startup-boost"

// ConditionStartupBoost is the pod's condition while it has more CPU than its size, or asks for it.
const ConditionStartupBoost corev1.PodConditionType = "swell.dev/StartupBoost"

// How long a boost lasts where it doesn't say: at most, of a container whose probes tell when it has started,
// and of one that has no such probe.
const (
	DefaultBoostLimit = 5 * time.Minute
	DefaultBoostTime  = 30 * time.Second
)

// Bounds of what a boost may say.
const (
	maxBoostMilli  = 1_000_000 // 1000 CPUs
	maxBoostFactor = 100
	maxBoostTime   = time.Hour
	minBoostTime   = 100 * time.Millisecond
)

// Boost is what a container has while it starts.
type Boost struct {
	Container string        // empty: each that has none of its own
	CPUMilli  int64         // that it has; 0: Factor tells
	Factor    float64       // of its size
	For       time.Duration // 0: the default
	Required  bool          // see Boosts.Required
}

// Boosts are the clauses of an annotation.
type Boosts []Boost

// ParseBoosts reads an annotation. The error names the part that is wrong, and what would be right.
func ParseBoosts(s string) (Boosts, error) {
	var out Boosts
	for text := range strings.SplitSeq(s, ";") {
		b, err := parseBoost(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		for _, other := range out {
			if other.Container == b.Container {
				return nil, fmt.Errorf("%q: there is a clause %q already", text, other.String())
			}
		}
		out = append(out, b)
	}
	return out, nil
}

func parseBoost(text string) (Boost, error) {
	var b Boost
	pairs := text
	if name, rest, ok := strings.Cut(text, ":"); ok {
		if b.Container, pairs = strings.TrimSpace(name), rest; b.Container == "" {
			return b, fmt.Errorf("%q: a container's name is missing before the colon", text)
		}
	}
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(pairs, ",") {
		key, value, valued := strings.Cut(strings.TrimSpace(pair), "=")
		if seen[key] {
			return b, fmt.Errorf("%q: %s is there twice", text, key)
		}
		seen[key] = true
		var err error
		switch {
		case key == "cpu":
			err = b.setCPU(value)
		case key == "for":
			err = b.setFor(value)
		case key == "required" && !valued:
			b.Required = true
		default:
			err = fmt.Errorf("%q: must be cpu=CPU, for=DURATION or required, such as cpu=2,for=90s", strings.TrimSpace(pair))
		}
		if err != nil {
			return b, err
		}
	}
	if !seen["cpu"] {
		return b, fmt.Errorf("%q: cpu is missing, such as cpu=2 or cpu=3x", text)
	}
	return b, nil
}

func (b *Boost) setCPU(value string) error {
	if factor, ok := strings.CutSuffix(value, "x"); ok {
		f, err := strconv.ParseFloat(factor, 64)
		if err != nil || !(f > 1 && f <= maxBoostFactor) {
			return fmt.Errorf("cpu=%s: must be more than 1x and at most %dx", value, maxBoostFactor)
		}
		b.Factor = f
		return nil
	}
	q, err := resource.ParseQuantity(value)
	if err != nil {
		return fmt.Errorf("cpu=%s: must be a quantity such as 2 or 1500m, or a multiple such as 3x", value)
	}
	if q.Sign() <= 0 || q.CmpInt64(maxBoostMilli/1000) > 0 {
		return fmt.Errorf("cpu=%s: must be more than 0 and at most %d", value, maxBoostMilli/1000)
	}
	b.CPUMilli = q.MilliValue() // rounded up
	return nil
}

func (b *Boost) setFor(value string) error {
	d, err := time.ParseDuration(value)
	if err != nil || d < minBoostTime || d > maxBoostTime {
		return fmt.Errorf("for=%s: must be a duration such as 90s, from %s to %s", value, minBoostTime, maxBoostTime)
	}
	b.For = d
	return nil
}

// ValidateBoost answers what is wrong with the parts of a clause that come by themselves; limit may be empty.
func ValidateBoost(cpu BoostCPU, limit string) (cpuErr, limitErr error) {
	var b Boost
	if cpu == "" {
		cpuErr = errors.New("must be a quantity such as 2 or 1500m, or a multiple such as 3x")
	} else {
		cpuErr = b.setCPU(string(cpu))
	}
	if limit != "" {
		limitErr = b.setFor(limit)
	}
	return cpuErr, limitErr
}

func (b Boost) String() string {
	var s strings.Builder
	if b.Container != "" {
		s.WriteString(b.Container + ":")
	}
	if b.CPUMilli > 0 {
		s.WriteString("cpu=" + resource.NewMilliQuantity(b.CPUMilli, resource.DecimalSI).String())
	} else {
		s.WriteString("cpu=" + strconv.FormatFloat(b.Factor, 'g', -1, 64) + "x")
	}
	if b.For > 0 {
		s.WriteString(",for=" + b.For.String())
	}
	if b.Required {
		s.WriteString(",required")
	}
	return s.String()
}

// String is the annotation.
func (b Boosts) String() string {
	parts := make([]string, len(b))
	for i := range b {
		parts[i] = b[i].String()
	}
	return strings.Join(parts, ";")
}

// Of answers the boost of a container, nil if it has none.
func (b Boosts) Of(container string) *Boost {
	var all *Boost
	for i := range b {
		switch b[i].Container {
		case container:
			return &b[i]
		case "":
			all = &b[i]
		}
	}
	return all
}

// Required tells that the pod neither gets a node nor has a container started without.
func (b Boosts) Required() bool {
	return slices.ContainsFunc(b, func(one Boost) bool { return one.Required })
}

// CPU is what a container of that size has while it starts, in milli-CPU; 0: no more than its size.
func (b *Boost) CPU(res corev1.ResourceRequirements) int64 {
	size, _ := SizeOf(res)
	cpu := b.CPUMilli
	if cpu == 0 {
		cpu = int64(math.Ceil(b.Factor*float64(size) - 1e-6))
	}
	if cpu <= size {
		return 0
	}
	return cpu
}

// Limit is how long it lasts at most. Probed tells that probes say when the container has started.
func (b *Boost) Limit(probed bool) time.Duration {
	switch {
	case b.For > 0:
		return b.For
	case probed:
		return DefaultBoostLimit
	default:
		return DefaultBoostTime
	}
}

// BoostsOf answers the pod's boosts. An annotation that can't be read, which admission refuses, is none.
func BoostsOf(pod *corev1.Pod) Boosts {
	text, ok := pod.Annotations[AnnotationStartupBoost]
	if !ok {
		return nil
	}
	b, err := ParseBoosts(text)
	if err != nil {
		return nil
	}
	return b
}

// boostable reports a container that is started once for the time that the pod runs: an init container that is
// done before the others begin has the size that it says.
func boostable(pod *corev1.Pod, name string) bool {
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == name {
			return true
		}
	}
	for i := range pod.Spec.InitContainers {
		if c := &pod.Spec.InitContainers[i]; c.Name == name {
			return Sidecar(c)
		}
	}
	return false
}

// Boosted answers the resources with their CPU raised to a boost, or as they are if that is 0 or less. What isn't
// limited stays so.
func Boosted(res corev1.ResourceRequirements, cpuMilli int64) corev1.ResourceRequirements {
	raise := func(list corev1.ResourceList, always bool) corev1.ResourceList {
		now, there := list[corev1.ResourceCPU]
		if !there && !always || now.MilliValue() >= cpuMilli {
			return list
		}
		out := make(corev1.ResourceList, len(list)+1)
		for name, q := range list {
			out[name] = q
		}
		out[corev1.ResourceCPU] = *resource.NewMilliQuantity(cpuMilli, resource.DecimalSI)
		return out
	}
	if cpuMilli > 0 {
		res.Requests, res.Limits = raise(res.Requests, true), raise(res.Limits, false)
	}
	return res
}

// BoostOf is what the pod takes beyond its size while all of its containers start, in milli-CPU.
func BoostOf(pod *corev1.Pod) (int64, error) {
	boosts := BoostsOf(pod)
	if len(boosts) == 0 {
		return 0, nil
	}
	allocated, err := Allocated(pod)
	if err != nil {
		return 0, err
	}
	cpu := map[string]int64{}
	for name := range allocated {
		if b := boosts.Of(name); b != nil && boostable(pod, name) {
			cpu[name] = b.CPU(allocated.Of(name))
		}
	}
	return BoostedCPU(pod, allocated, cpu), nil
}

// BoostedCPU is what a pod of those sizes takes beyond them while containers have that CPU.
func BoostedCPU(pod *corev1.Pod, sizes Sizes, cpu map[string]int64) int64 {
	plain, _ := sizes.Total(pod)
	boosted, _ := sizes.Boosted(cpu).Total(pod)
	return boosted - plain
}

// CheckBoosts answers what is wrong with the pod's annotation, nil if there is none or it is right.
func CheckBoosts(pod *corev1.Pod) error {
	text, ok := pod.Annotations[AnnotationStartupBoost]
	if !ok {
		return nil
	}
	boosts, err := ParseBoosts(text)
	if err != nil {
		return err
	}
	for _, b := range boosts {
		if b.Container != "" && !boostable(pod, b.Container) {
			return fmt.Errorf("%s: must name a container of the pod, or an init container that restarts always", b.Container)
		}
	}
	return nil
}
