package controlplane

import corev1 "k8s.io/api/core/v1"

// Rules are what a pod asks for in a node beyond room, a name, labels and ports. They are parts of the pod
// itself, which is never changed, so that they cost nothing to hand over. Most pods have none.
type Rules struct {
	Affinity    *corev1.Affinity
	Tolerations []corev1.Toleration
	Spread      []corev1.TopologySpreadConstraint
}

// PodRules answers a pod's rules, nil if it has none.
func PodRules(spec *corev1.PodSpec) *Rules {
	if spec.Affinity == nil && len(spec.Tolerations) == 0 && len(spec.TopologySpreadConstraints) == 0 {
		return nil
	}
	return &Rules{Affinity: spec.Affinity, Tolerations: spec.Tolerations, Spread: spec.TopologySpreadConstraints}
}

// Tolerates reports whether one of the tolerations covers the taint.
func Tolerates(tolerations []corev1.Toleration, taint *corev1.Taint) bool {
	for i := range tolerations {
		if Covers(&tolerations[i], taint) {
			return true
		}
	}
	return false
}

// Covers reports whether the toleration covers the taint. No key means any, no effect means any.
func Covers(t *corev1.Toleration, taint *corev1.Taint) bool {
	return (t.Effect == "" || t.Effect == taint.Effect) &&
		(t.Key == "" || t.Key == taint.Key) &&
		(t.Operator == corev1.TolerationOpExists || t.Value == taint.Value)
}

// Repels reports a taint that keeps pods away which don't tolerate it.
func Repels(taint *corev1.Taint) bool {
	return taint.Effect == corev1.TaintEffectNoSchedule || taint.Effect == corev1.TaintEffectNoExecute
}
