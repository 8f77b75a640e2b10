package nodelet

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
)

// Reasons of containers that wait and need nothing.
const (
	reasonCreating     = "ContainerCreating"
	reasonInitializing = "PodInitializing"
)

func terminal(p corev1.PodPhase) bool { return p == corev1.PodSucceeded || p == corev1.PodFailed }

// settling reports that the pod makes progress on its way to running, and nothing else: a container has not
// begun yet, and none has anything to complain of.
func (m *machine) settling() bool {
	if m.removed || m.stop != nil || m.outcome != nil || m.finished {
		return false
	}
	for i := range m.events {
		if m.events[i].Type != corev1.EventTypeNormal {
			return false
		}
	}
	some := false
	for _, c := range m.containers {
		if c.waitReason != "" || c.phase == phaseExited && c.term.ExitCode != 0 {
			return false
		}
		some = some || c.kind == kindMain && c.phase == phaseNone
	}
	return some
}

// steady answers the IDs of the pod's containers if all of them run and nothing is under way, else nil.
func (m *machine) steady() []string {
	ids := make([]string, 0, len(m.containers))
	for _, c := range m.containers {
		if c.phase != phaseRunning || c.op != opNone || c.attempt > 0 {
			return nil // also one whose former instance is kept
		}
		ids = append(ids, c.id)
	}
	return ids
}

// status computes the pod's status as a kubelet does. It changes nothing but the transition times that
// it remembers. What the status points to is shared with the machine, which doesn't change it in place.
func (m *machine) status() corev1.PodStatus {
	pod := m.a.Pod
	if m.outcome != nil && m.outcome.Kept {
		return pod.Status
	}
	start := metav1.NewTime(m.startTime)
	st := corev1.PodStatus{
		ObservedGeneration: pod.Generation,
		HostIP:             m.hostIP,
		HostIPs:            []corev1.HostIP{{IP: m.hostIP}},
		StartTime:          &start,
		QOSClass:           qosClass(pod),
		NominatedNodeName:  pod.Status.NominatedNodeName,
	}
	if m.sandbox.IP != "" {
		st.PodIP, st.PodIPs = m.sandbox.IP, []corev1.PodIP{{IP: m.sandbox.IP}}
	}
	for _, c := range m.containers {
		s := m.containerStatus(c)
		if c.kind == kindMain {
			st.ContainerStatuses = append(st.ContainerStatuses, s)
		} else {
			st.InitContainerStatuses = append(st.InitContainerStatuses, s)
		}
	}
	if whole, said := m.allocated[v1alpha1.WholePod]; said {
		st.AllocatedResources, st.Resources = whole.Requests, &whole
		if told, ok := m.actuated[v1alpha1.WholePod]; ok && m.setUp {
			st.Resources = actualResources(told, m.actual)
		}
	}
	st.Phase = m.phase(&st)
	if m.outcome != nil {
		st.Reason, st.Message = m.outcome.Reason, m.outcome.Message
		if m.allEnded() {
			st.Phase = m.outcome.Phase
		}
	}
	if terminal(st.Phase) && !m.metered {
		// An ended pod's object may be gone the moment that its end is known; the journal comes first.
		st.Phase = corev1.PodRunning
	}
	m.conditions = m.newConditions(&st)
	st.Conditions = slices.Clip(m.conditions) // they are made anew each time
	return st
}

func (m *machine) containerStatus(c *container) corev1.ContainerStatus {
	s := corev1.ContainerStatus{
		Name:         c.spec.Name,
		Image:        c.spec.Image,
		RestartCount: c.attempt,
	}
	if c.phase != phaseNone {
		s.ContainerID = containerdID(c.id)
		if c.specImage != "" {
			s.Image = c.specImage
		}
		s.ImageID = imageID(c.image)
	}
	started := c.phase == phaseRunning && c.started && !c.hooking
	s.Started = &started
	s.Ready = started && c.ready
	if c.kind == kindInit {
		s.Started = new(bool)
		s.Ready = c.phase == phaseExited && c.term.ExitCode == 0
	}
	waiting := &corev1.ContainerStateWaiting{Reason: m.waitReason(c), Message: c.waitMsg}
	s.State, s.LastTerminationState.Terminated = corev1.ContainerState{}, c.last
	switch {
	case m.awaitsRestart(c):
		s.State.Waiting = waiting
		s.LastTerminationState.Terminated = c.term
	case c.phase == phaseExited:
		s.State.Terminated = c.term
	case c.phase == phaseRunning && !c.hooking:
		s.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(c.startedAt)}
	default:
		s.State.Waiting = waiting
	}
	if allocated, ok := m.allocated[c.spec.Name]; ok {
		s.AllocatedResources, s.Resources = allocated.Requests, &allocated
	}
	if actuated, ok := m.actuated[c.spec.Name]; ok && c.phase == phaseRunning {
		s.Resources = actualResources(actuated, c.actual)
	}
	return s
}

// waitReason says why a container that should run doesn't.
func (m *machine) waitReason(c *container) string {
	switch {
	case c.waitReason != "":
		return c.waitReason
	case len(m.a.Pod.Spec.InitContainers) > 0:
		return reasonInitializing
	default:
		return reasonCreating
	}
}

// awaitsRestart reports whether an ended container is shown as one that waits, its end as its last state.
func (m *machine) awaitsRestart(c *container) bool {
	return c.phase == phaseExited && c.waitReason != "" && m.stop == nil && c.restarts(m.a.Pod.Spec.RestartPolicy)
}

func imageID(i Image) string {
	switch {
	case i.Digest == "":
		return i.ID
	case strings.Contains(i.Ref, "@"):
		return i.Ref
	default:
		return repository(i.Ref) + "@" + i.Digest
	}
}

// repository strips the tag of a normalised reference.
func repository(ref string) string {
	if colon := strings.LastIndexByte(ref, ':'); colon > strings.LastIndexByte(ref, '/') {
		return ref[:colon]
	}
	return ref
}

// phase follows a kubelet's: pending until each container began once, then running until they ended.
func (m *machine) phase(st *corev1.PodStatus) corev1.PodPhase {
	var pendingInit, failedInit, waiting, running, stopped, succeeded int
	for i := range st.InitContainerStatuses {
		c, s := m.container(st.InitContainerStatuses[i].Name), &st.InitContainerStatuses[i].State
		if c.kind == kindSidecar {
			switch {
			case s.Running != nil && c.started:
				running++
			case !m.initialized:
				pendingInit++
			}
			continue
		}
		switch {
		case s.Terminated != nil && s.Terminated.ExitCode != 0:
			failedInit++
		case s.Terminated == nil && !m.initialized:
			pendingInit++
		}
	}
	for i := range st.ContainerStatuses {
		s, last := &st.ContainerStatuses[i].State, st.ContainerStatuses[i].LastTerminationState.Terminated
		switch {
		case s.Running != nil:
			running++
		case s.Terminated != nil:
			stopped++
			if s.Terminated.ExitCode == 0 {
				succeeded++
			}
		case last != nil:
			stopped++
		default:
			waiting++
		}
	}
	switch {
	case m.allEnded():
		// Only now: a terminal phase says that nothing runs any more.
		if stopped > 0 && waiting == 0 && failedInit == 0 && stopped == succeeded {
			return corev1.PodSucceeded
		}
		return corev1.PodFailed
	case pendingInit > 0 || waiting > 0 || failedInit > 0 && !m.initialized:
		return corev1.PodPending
	case running > 0 || stopped > 0:
		return corev1.PodRunning
	default:
		return corev1.PodPending
	}
}

// newConditions computes the conditions that a kubelet owns and keeps those that it doesn't.
func (m *machine) newConditions(st *corev1.PodStatus) []corev1.PodCondition {
	pod := m.a.Pod
	own := []corev1.PodCondition{
		{Type: corev1.PodReadyToStartContainers, Status: condition((m.setUp || m.anyRunning()) && !m.tornDown)},
		m.initializedCondition(st),
	}
	ready := m.containersReady(st)
	pr := ready
	pr.Type = corev1.PodReady
	if ready.Status == corev1.ConditionTrue {
		if missing := missingGates(pod); missing != "" {
			pr.Status, pr.Reason, pr.Message = corev1.ConditionFalse, "ReadinessGatesNotReady", missing
		}
	}
	own = append(own, pr, ready)
	if m.outcome != nil && m.outcome.Disruption {
		own = append(own, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue,
			Reason: corev1.PodReasonTerminationByKubelet, Message: m.outcome.Message})
	}
	for i := range own {
		own[i].ObservedGeneration = pod.Generation
	}
	if m.resize.active {
		r := corev1.PodCondition{Type: corev1.PodResizeInProgress, Status: corev1.ConditionTrue, ObservedGeneration: m.resize.generation}
		if m.resize.err != "" {
			r.Reason, r.Message = corev1.PodReasonError, m.resize.err
		}
		own = append(own, r)
	}
	if m.bursting != nil {
		own = append(own, burstingCondition(m.bursting))
	} else if m.noBursts != "" {
		own = append(own, noBurstsCondition(m.noBursts))
	}
	if c := m.boostCondition(); c != nil {
		own = append(own, *c)
	}
	for i := range own {
		own[i].LastTransitionTime = metav1.NewTime(m.now)
		if old := findCondition(m.conditions, own[i].Type); old != nil && old.Status == own[i].Status {
			own[i].LastTransitionTime = old.LastTransitionTime
		}
	}
	for _, c := range pod.Status.Conditions {
		switch c.Type {
		case corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady, corev1.PodResizeInProgress,
			v1alpha1.ConditionBursting, v1alpha1.ConditionStartupBoost:
		default:
			if findCondition(own, c.Type) == nil {
				own = append(own, c)
			}
		}
	}
	return own
}

func (m *machine) anyRunning() bool {
	for _, c := range m.containers {
		if c.phase == phaseRunning {
			return true
		}
	}
	return false
}

func (m *machine) initializedCondition(st *corev1.PodStatus) corev1.PodCondition {
	c := corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionTrue}
	if st.Phase == corev1.PodSucceeded {
		c.Reason = "PodCompleted"
		return c
	}
	if m.initialized {
		return c
	}
	var incomplete []string
	for _, s := range st.InitContainerStatuses {
		sidecar := m.container(s.Name).kind == kindSidecar
		if !s.Ready && !sidecar || sidecar && !*s.Started {
			incomplete = append(incomplete, s.Name)
		}
	}
	if len(incomplete) > 0 {
		c.Status, c.Reason = corev1.ConditionFalse, "ContainersNotInitialized"
		c.Message = fmt.Sprintf("containers with incomplete status: %v", incomplete)
	}
	return c
}

func (m *machine) containersReady(st *corev1.PodStatus) corev1.PodCondition {
	c := corev1.PodCondition{Type: corev1.ContainersReady, Status: corev1.ConditionFalse}
	switch st.Phase {
	case corev1.PodSucceeded:
		c.Reason = "PodCompleted"
		return c
	case corev1.PodFailed:
		c.Reason = "PodFailed"
		return c
	}
	var unready []string
	for _, s := range st.InitContainerStatuses {
		if m.container(s.Name).kind == kindSidecar && !s.Ready {
			unready = append(unready, s.Name)
		}
	}
	for _, s := range st.ContainerStatuses {
		if !s.Ready {
			unready = append(unready, s.Name)
		}
	}
	if len(unready) > 0 {
		c.Reason, c.Message = "ContainersNotReady", fmt.Sprintf("containers with unready status: %v", unready)
		return c
	}
	c.Status = corev1.ConditionTrue
	return c
}

func missingGates(pod *corev1.Pod) string {
	var messages []string
	for _, gate := range pod.Spec.ReadinessGates {
		c := findCondition(pod.Status.Conditions, gate.ConditionType)
		switch {
		case c == nil:
			messages = append(messages, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", gate.ConditionType))
		case c.Status != corev1.ConditionTrue:
			messages = append(messages, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", gate.ConditionType, c.Status))
		}
	}
	return strings.Join(messages, ", ")
}

func condition(b bool) corev1.ConditionStatus {
	if b {
		return corev1.ConditionTrue
	}
	return corev1.ConditionFalse
}

func findCondition(list []corev1.PodCondition, t corev1.PodConditionType) *corev1.PodCondition {
	for i := range list {
		if list[i].Type == t {
			return &list[i]
		}
	}
	return nil
}
