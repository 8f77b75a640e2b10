package role

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/cgroups/throttle"
	"swell.dev/swell/nodelet/reflex"
)

// TestReflexCondition: a node says on which rung its reflex is, and what the better ones lack.
func TestReflexCondition(t *testing.T) {
	on := func(rungs ...throttle.Rung) *reflex.Reflex {
		x := reflex.New(reflex.Config{Rungs: rungs})
		t.Cleanup(x.Close)
		x.Detect()
		return x
	}
	for name, tt := range map[string]struct {
		reflex  *reflex.Reflex
		status  corev1.ConditionStatus
		reason  string
		message []string
		label   string
	}{
		"off":         {nil, corev1.ConditionFalse, "Off", []string{"stay at their sizes", "--reflex=off"}, "off"},
		"polling":     {on(throttle.Poll), corev1.ConditionTrue, "Poll", []string{"at the end of the period"}, "poll"},
		"second best": {on("kprobe", throttle.Poll), corev1.ConditionTrue, "Poll", []string{"kprobe: there is no such rung"}, "poll"},
		"unavailable": {on("kprobe"), corev1.ConditionFalse, "Unavailable", []string{"stay at their sizes", "throttling by kprobe: there is no such rung"}, "off"},
	} {
		t.Run(name, func(t *testing.T) {
			described := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}}}
			n := describeReflex(described, tt.reflex)
			c := n.Status.Conditions[0]
			if len(described.Status.Conditions) != 0 || len(described.Labels) != 1 {
				t.Errorf("what is described each time is changed: %+v", described)
			}
			if c.Type != v1alpha1.ConditionReflex || c.Status != tt.status || c.Reason != tt.reason || c.LastHeartbeatTime.IsZero() {
				t.Errorf("%+v", c)
			}
			for _, part := range tt.message {
				if !strings.Contains(c.Message, part) || strings.Contains(c.Message, "\n") {
					t.Errorf("it says %q, want %q in it", c.Message, part)
				}
			}
			if got := n.Labels[v1alpha1.LabelReflex]; got != tt.label {
				t.Errorf("its label is %q, want %q", got, tt.label)
			}
		})
	}
}
