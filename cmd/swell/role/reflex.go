package role

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/cgroups/throttle"
	"swell.dev/swell/nodelet"
	"swell.dev/swell/nodelet/reflex"
)

// Values of --reflex besides the rungs of package throttle.
const (
	reflexAuto = "auto" // the best rung that the host has
	reflexOff  = v1alpha1.ReflexOff
)

func reflexValues() []string {
	out := []string{reflexAuto, reflexOff}
	for _, rung := range throttle.Ladder() {
		out = append(out, string(rung))
	}
	return out
}

// reflexRungs reads --reflex.
func reflexRungs(value string) (rungs []throttle.Rung, on bool, err error) {
	switch {
	case value == reflexAuto, value == "": // swell down has no such flag
		return nil, true, nil
	case value == reflexOff:
		return nil, false, nil
	case slices.Contains(throttle.Ladder(), throttle.Rung(value)):
		return []throttle.Rung{throttle.Rung(value)}, true, nil
	}
	return nil, false, fmt.Errorf("--reflex: %q: must be one of %v", value, reflexValues())
}

// newReflex makes what gives bursts to the pods of a host. bursting tells their owners.
func newReflex(h *host, rungs []throttle.Rung, bursting func(podUID string, s *nodelet.BurstState), log *slog.Logger) *reflex.Reflex {
	return reflex.New(reflex.Config{Tree: h.cgroups, Meter: h.journal.Burst, Tell: bursting, Rungs: rungs, Log: log})
}

// reflexReasons are the node's condition's, by rung.
var reflexReasons = map[throttle.Rung]string{throttle.Fentry: "Fentry", throttle.SchedSwitch: "SchedSwitch", throttle.Poll: "Poll"}

// reflexCondition says on the node how its pods' throttling is seen, and why not in a better way; x is nil where the
// reflex is off.
func reflexCondition(x *reflex.Reflex) corev1.NodeCondition {
	c := corev1.NodeCondition{Type: v1alpha1.ConditionReflex, Status: corev1.ConditionFalse}
	if x == nil {
		c.Reason, c.Message = "Off", "Pods stay at their sizes: the nodelet was started with --reflex=off"
		return c
	}
	d := x.Detection()
	var lacks []string
	for _, err := range d.Refused {
		var unavailable *throttle.UnavailableError
		if errors.As(err, &unavailable) && unavailable.Rung != "" && d.Rung != "" {
			lacks = append(lacks, fmt.Sprintf("%s: %v", unavailable.Rung, unavailable.Cause))
		} else {
			lacks = append(lacks, strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	switch d.Rung {
	case "":
		c.Reason, c.Message = "Unavailable", "Pods stay at their sizes: that the kernel stops one isn't seen"
	case throttle.Poll:
		c.Message = "That the kernel stops a pod is seen at the end of the period, by polling"
	default:
		c.Message = fmt.Sprintf("That the kernel stops a pod is seen at once, by %s", d.Rung)
	}
	if d.Rung != "" {
		c.Status, c.Reason = corev1.ConditionTrue, reflexReasons[d.Rung]
	}
	if len(lacks) > 0 {
		c.Message += "; " + strings.Join(lacks, "; ")
	}
	return c
}

// describeReflex puts it on the node as it connects, with the label that pods can choose by.
func describeReflex(n *corev1.Node, x *reflex.Reflex) *corev1.Node {
	n = n.DeepCopy()
	c := reflexCondition(x)
	c.LastHeartbeatTime, c.LastTransitionTime = metav1.NewTime(time.Now()), metav1.NewTime(time.Now())
	n.Status.Conditions = append(n.Status.Conditions, c)
	n.Labels[v1alpha1.LabelReflex] = reflexOff
	if c.Status == corev1.ConditionTrue {
		n.Labels[v1alpha1.LabelReflex] = string(x.Detection().Rung)
	}
	return n
}
