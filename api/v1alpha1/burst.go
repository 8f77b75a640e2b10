package v1alpha1

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Annotations of a pod that lets its node give it more than its size for a while. Both may change while it
// runs.
const (
	// AnnotationBurst holds the bounds: cpu=4,memory=2Gi,budget=60s. Each may be left out.
	AnnotationBurst = "swell.dev/burst"
	// AnnotationLatency is who comes first where not all can burst: critical, or default.
	AnnotationLatency = "swell.dev/latency"
)

// ConditionReflex on a node tells whether it gives bursts, and how it knows that the kernel stopped a pod: its reason is
// Fentry, SchedSwitch or Poll where it does, Off or Unavailable where it doesn't, and its message says what the better
// ways lack.
const ConditionReflex corev1.NodeConditionType = "swell.dev/Reflex"

// LabelReflex on a node says the same for selectors: fentry, sched_switch, poll or off. The nodelet sets it.
const (
	LabelReflex = "swell.dev/reflex"
	ReflexOff   = "off"
)

// ConditionBursting stands on a pod that has, or a moment ago had, more than its size, and as False, with the reason
// Unavailable, on one whose node gives it nothing.
const ConditionBursting corev1.PodConditionType = "swell.dev/Bursting"

// Values of AnnotationLatency.
const (
	LatencyCritical = "critical"
	LatencyDefault  = "default"
)

// DefaultBurstBudget is a pod's where it names none.
const DefaultBurstBudget = time.Minute

// maxBurstBudget is a day of one CPU.
const maxBurstBudget = 24 * time.Hour

// Burst is how far a pod may go beyond its size.
type Burst struct {
	CPUMilli    int64         // the most in all, its size included; 0: no more than its size
	MemoryBytes int64         // likewise
	Budget      time.Duration // CPU time beyond its size that it may use in one go; what it leaves of its size fills it again
}

// ParseBurst reads the value of AnnotationBurst.
func ParseBurst(value string) (Burst, error) {
	b := Burst{Budget: DefaultBurstBudget}
	seen := map[string]bool{}
	for part := range strings.SplitSeq(value, ",") {
		key, text, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return Burst{}, fmt.Errorf("%q: must be key=value pairs with commas between them, like cpu=4,memory=2Gi,budget=60s", part)
		}
		if seen[key] {
			return Burst{}, fmt.Errorf("%s is there twice", key)
		}
		seen[key] = true
		switch key {
		case "cpu", "memory":
			q, err := resource.ParseQuantity(text)
			if err != nil || q.Sign() <= 0 {
				return Burst{}, fmt.Errorf("%s=%q: must be a positive quantity", key, text)
			}
			if key == "cpu" {
				b.CPUMilli = q.MilliValue()
			} else {
				b.MemoryBytes = q.Value()
			}
		case "budget":
			d, err := time.ParseDuration(text)
			if err != nil || d <= 0 || d > maxBurstBudget {
				return Burst{}, fmt.Errorf("budget=%q: must be CPU time of more than 0 and at most %s, like 60s", text, maxBurstBudget)
			}
			b.Budget = d
		default:
			return Burst{}, fmt.Errorf("%q: must be cpu, memory or budget", key)
		}
	}
	if b.CPUMilli == 0 && b.MemoryBytes == 0 {
		return Burst{}, fmt.Errorf("%q: must name cpu, memory or both", value)
	}
	return b, nil
}

// PodBurst answers how far a pod may go; nil: it has no such annotation.
func PodBurst(pod *corev1.Pod) (*Burst, error) {
	value, ok := pod.Annotations[AnnotationBurst]
	if !ok {
		return nil, nil
	}
	b, err := ParseBurst(value)
	if err != nil {
		return nil, fmt.Errorf("annotation %s: %w", AnnotationBurst, err)
	}
	return &b, nil
}
