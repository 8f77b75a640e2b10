package apiserver

import (
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

var podTable = table{
	columns: []metav1.TableColumnDefinition{
		nameColumn(),
		column("Ready", "The containers that are ready, of all."),
		column("Status", "What the pod is doing, in one word."),
		column("Restarts", "How often containers were restarted, and when last."),
		ageColumn(),
		wide("IP", corev1.PodStatus{}.SwaggerDoc()["podIP"]),
		wide("Node", corev1.PodSpec{}.SwaggerDoc()["nodeName"]),
		wide("Nominated Node", corev1.PodStatus{}.SwaggerDoc()["nominatedNodeName"]),
		wide("Readiness Gates", corev1.PodSpec{}.SwaggerDoc()["readinessGates"]),
		wide("Per Hour", "What the pod costs for an hour at list."),
	},
	row: func(o controlplane.Object) metav1.TableRow {
		pod := o.(*corev1.Pod)
		sum := summarise(pod)
		restarts := strconv.Itoa(sum.restarts)
		if sum.restarts != 0 && !sum.lastRestart.IsZero() {
			restarts = fmt.Sprintf("%d (%s ago)", sum.restarts, since(sum.lastRestart))
		}
		return metav1.TableRow{
			Cells: []any{
				pod.Name, fmt.Sprintf("%d/%d", sum.ready, sum.total), sum.status, restarts, since(pod.CreationTimestamp),
				orNone(podIP(pod)), orNone(pod.Spec.NodeName), orNone(pod.Status.NominatedNodeName), readinessGates(pod),
				orNone(pod.Annotations[v1alpha1.AnnotationPrice]),
			},
			Conditions: rowConditions(pod),
		}
	},
}

// rowConditions let kubectl know rows of pods that are done.
func rowConditions(pod *corev1.Pod) []metav1.TableRowCondition {
	done := func(message string) []metav1.TableRowCondition {
		return []metav1.TableRowCondition{{Type: metav1.RowCompleted, Status: metav1.ConditionTrue, Reason: string(pod.Status.Phase), Message: message}}
	}
	switch pod.Status.Phase {
	case corev1.PodSucceeded:
		return done("The pod has completed successfully.")
	case corev1.PodFailed:
		return done("The pod failed.")
	}
	return nil
}

func podIP(pod *corev1.Pod) string {
	if len(pod.Status.PodIPs) > 0 {
		return pod.Status.PodIPs[0].IP
	}
	return pod.Status.PodIP
}

func readinessGates(pod *corev1.Pod) string {
	if len(pod.Spec.ReadinessGates) == 0 {
		return none
	}
	met := 0
	for _, gate := range pod.Spec.ReadinessGates {
		if conditionTrue(pod, gate.ConditionType) {
			met++
		}
	}
	return fmt.Sprintf("%d/%d", met, len(pod.Spec.ReadinessGates))
}

func conditionTrue(pod *corev1.Pod, t corev1.PodConditionType) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == t {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// podSummary is a pod in a line. Its rules are those of kubectl, which people have learned to read.
type podSummary struct {
	status       string
	ready, total int
	restarts     int
	lastRestart  metav1.Time
}

func (p *podSummary) restarted(st *corev1.ContainerStatus) {
	p.restarts += int(st.RestartCount)
	if t := st.LastTerminationState.Terminated; t != nil && p.lastRestart.Before(&t.FinishedAt) {
		p.lastRestart = t.FinishedAt
	}
}

func summarise(pod *corev1.Pod) podSummary {
	sum := podSummary{status: string(pod.Status.Phase), total: len(pod.Spec.Containers)}
	if pod.Status.Reason != "" {
		sum.status = pod.Status.Reason
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonSchedulingGated {
			sum.status = corev1.PodReasonSchedulingGated
		}
	}
	sidecars, initialising := sum.initContainers(pod)
	if !initialising || conditionTrue(pod, corev1.PodInitialized) {
		// Restarts before the pod began no longer count, those of sidecars do.
		sum.restarts, sum.lastRestart = sidecars.restarts, sidecars.lastRestart
		sum.containers(pod)
	}
	switch {
	case pod.DeletionTimestamp == nil:
	case pod.Status.Reason == "NodeLost":
		sum.status = "Unknown"
	case !terminal(pod):
		sum.status = "Terminating"
	}
	return sum
}

// initContainers takes account of the init containers. It answers the restarts of those that run on
// beside the pod, and whether one of the others is still to finish.
func (p *podSummary) initContainers(pod *corev1.Pod) (sidecars podSummary, initialising bool) {
	runsOn := map[string]bool{}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if v1alpha1.Sidecar(c) {
			runsOn[c.Name] = true
			p.total++
		}
	}
	for i := range pod.Status.InitContainerStatuses {
		st := &pod.Status.InitContainerStatuses[i]
		p.restarted(st)
		if runsOn[st.Name] {
			sidecars.restarted(st)
		}
		ended, waiting := st.State.Terminated, st.State.Waiting
		switch {
		case ended != nil && ended.ExitCode == 0:
			continue
		case runsOn[st.Name] && st.Started != nil && *st.Started:
			if st.Ready {
				p.ready++
			}
			continue
		case ended != nil:
			p.status = "Init:" + endReason(ended)
		case waiting != nil && waiting.Reason != "" && waiting.Reason != "PodInitializing":
			p.status = "Init:" + waiting.Reason
		default:
			p.status = fmt.Sprintf("Init:%d/%d", i, len(pod.Spec.InitContainers))
		}
		return sidecars, true
	}
	return sidecars, false
}

func (p *podSummary) containers(pod *corev1.Pod) {
	running := false
	for i := len(pod.Status.ContainerStatuses) - 1; i >= 0; i-- { // so that the first has the last word
		st := &pod.Status.ContainerStatuses[i]
		p.restarted(st)
		switch {
		case st.State.Waiting != nil && st.State.Waiting.Reason != "":
			p.status = st.State.Waiting.Reason
		case st.State.Terminated != nil:
			p.status = endReason(st.State.Terminated)
		case st.Ready && st.State.Running != nil:
			running = true
			p.ready++
		}
	}
	if p.status == "Completed" && running {
		p.status = "NotReady"
		if conditionTrue(pod, corev1.PodReady) {
			p.status = "Running"
		}
	}
}

func endReason(t *corev1.ContainerStateTerminated) string {
	switch {
	case t.Reason != "":
		return t.Reason
	case t.Signal != 0:
		return fmt.Sprintf("Signal:%d", t.Signal)
	}
	return fmt.Sprintf("ExitCode:%d", t.ExitCode)
}
