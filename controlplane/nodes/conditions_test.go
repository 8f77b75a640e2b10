package nodes

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestConditionsAreMerged(t *testing.T) {
	cond := func(kind corev1.PodConditionType, reason string) corev1.PodCondition {
		return corev1.PodCondition{Type: kind, Reason: reason}
	}
	ours := []corev1.PodCondition{cond(corev1.PodScheduled, "ours"), cond(corev1.PodReady, "old")}
	for name, c := range map[string]struct {
		current, reported []corev1.PodCondition
		want              map[corev1.PodConditionType]string
	}{
		"the nodelet's replace its own": {ours, []corev1.PodCondition{cond(corev1.PodReady, "new")},
			map[corev1.PodConditionType]string{corev1.PodScheduled: "ours", corev1.PodReady: "new"}},
		"it has no say in placement": {ours, []corev1.PodCondition{cond(corev1.PodScheduled, "its")},
			map[corev1.PodConditionType]string{corev1.PodScheduled: "ours"}},
		"an eviction by the nodelet": {ours, []corev1.PodCondition{cond(corev1.DisruptionTarget, "TerminationByKubelet")},
			map[corev1.PodConditionType]string{corev1.PodScheduled: "ours", corev1.DisruptionTarget: "TerminationByKubelet"}},
		"an eviction by the control plane": {append(ours, cond(corev1.DisruptionTarget, "PreemptionByScheduler")), nil,
			map[corev1.PodConditionType]string{corev1.PodScheduled: "ours", corev1.DisruptionTarget: "PreemptionByScheduler"}},
	} {
		got := mergeConditions(c.current, c.reported)
		if len(got) != len(c.want) {
			t.Errorf("%s: %v", name, got)
		}
		for _, g := range got {
			if c.want[g.Type] != g.Reason {
				t.Errorf("%s: %s is %q, want %q", name, g.Type, g.Reason, c.want[g.Type])
			}
		}
	}
}
