package nodelet

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// forcedGrace is what a pod gets that is no longer desired at all; a kubelet gives the same.
const forcedGrace = time.Second

// grace answers a container's termination grace period, where a probe's own overrides the pod's.
func (m *machine) grace(probe *corev1.Probe) time.Duration {
	seconds := int64(30)
	if s := m.a.Pod.Spec.TerminationGracePeriodSeconds; s != nil {
		seconds = *s
	}
	if probe != nil && probe.TerminationGracePeriodSeconds != nil {
		seconds = *probe.TerminationGracePeriodSeconds
	}
	return time.Duration(seconds) * time.Second
}

// decideEnd finds out whether the pod is to end, and by when.
func (m *machine) decideEnd() {
	pod := m.a.Pod
	if m.removed && !m.rushed {
		m.rushed = true
		m.terminate(forcedGrace)
	}
	if g := deletionGrace(pod); g != nil && (m.graceSeen == nil || *m.graceSeen != *g) {
		m.graceSeen = g
		m.terminate(max(time.Duration(*g)*time.Second, forcedGrace))
	}
	if m.stop != nil || m.isSlot() {
		return
	}
	if limit := pod.Spec.ActiveDeadlineSeconds; limit != nil && m.due(m.startTime.Add(time.Duration(*limit)*time.Second)) {
		m.outcome = &outcome{Phase: corev1.PodFailed, Reason: "DeadlineExceeded", Message: "Pod was active on the node longer than the specified deadline"}
		m.event(corev1.EventTypeNormal, m.outcome.Reason, m.outcome.Message, nil)
		m.terminate(m.grace(nil))
		return
	}
	if m.ran() {
		m.terminate(m.grace(nil))
	}
}

// deletionGrace answers the grace period in seconds of a pod that is being deleted.
func deletionGrace(pod *corev1.Pod) *int64 {
	if pod.DeletionTimestamp == nil {
		return nil
	}
	if pod.DeletionGracePeriodSeconds != nil {
		return pod.DeletionGracePeriodSeconds
	}
	seconds := int64(30)
	return &seconds
}

// terminate ends the pod within grace. Of several orders the earliest deadline counts.
func (m *machine) terminate(grace time.Duration) {
	deadline := m.now.Add(grace)
	if m.stop == nil {
		m.stop = &podStop{Deadline: deadline}
	} else if deadline.Before(m.stop.Deadline) {
		m.stop.Deadline = deadline
	}
	for _, c := range m.containers {
		if c.stop != nil {
			c.stop.hasten(m.stop.Deadline)
		}
	}
}

func (s *containerStop) hasten(deadline time.Time) {
	if !deadline.Before(s.deadline) {
		return
	}
	s.deadline = deadline
	if s.termSent && deadline.Before(s.killAt) {
		s.killAt = deadline
	}
}

// ran reports whether the containers came to their own end: an init container failed for good, or every
// main container ended and none is to run again. What an earlier nodelet reported as the end stays it.
func (m *machine) ran() bool {
	policy := m.a.Pod.Spec.RestartPolicy
	never := true
	for _, c := range m.containers {
		never = never && c.phase == phaseNone && c.op == opNone
		if c.kind == kindInit && c.phase == phaseExited && c.term.ExitCode != 0 && !m.initialized && !c.restarts(policy) {
			return true
		}
	}
	if p := m.a.Pod.Status.Phase; never && m.adopted && terminal(p) {
		m.outcome = &outcome{Phase: p, Reason: m.a.Pod.Status.Reason, Message: m.a.Pod.Status.Message, Kept: true}
		return true
	}
	for _, c := range m.containers {
		if c.kind == kindMain && (c.phase != phaseExited || c.op != opNone || c.restarts(policy)) {
			return false
		}
	}
	return true
}

// decideStop stops main containers together, then sidecars from the last to the first.
func (m *machine) decideStop() {
	var waiting bool
	for _, c := range m.containers {
		if c.kind != kindSidecar && c.isRunning() {
			waiting = true
			m.stopWithPod(c)
		}
	}
	for i := len(m.containers) - 1; i >= 0 && !(waiting && m.stop.Deadline.After(m.now)); i-- {
		if c := m.containers[i]; c.kind == kindSidecar && c.isRunning() {
			waiting = true
			m.stopWithPod(c)
		}
	}
	if waiting {
		m.due(m.stop.Deadline)
	}
}

func (m *machine) stopWithPod(c *container) {
	if c.phase == phaseRunning && c.stop == nil {
		m.stopContainer(c, m.stop.Deadline.Sub(m.now), "Stopping container "+c.spec.Name)
	}
}

// stopContainer begins a termination; decideStops carries it through.
func (m *machine) stopContainer(c *container, grace time.Duration, message string) {
	if c.phase != phaseRunning || c.stop != nil {
		return
	}
	c.stop = &containerStop{deadline: m.now.Add(grace)}
	m.event(corev1.EventTypeNormal, "Killing", message, c)
}

// decideStops takes every termination that is under way its next step.
func (m *machine) decideStops() {
	for _, c := range m.containers {
		s := c.stop
		if s == nil || c.phase != phaseRunning {
			continue
		}
		if s.hook == hookNone {
			s.hook = hookDone
			if lc := c.spec.Lifecycle; lc != nil && lc.PreStop != nil && s.deadline.After(m.now) {
				s.hook = hookRunning
				m.emit(actHook{Container: c.spec.Name, Attempt: c.attempt, Stop: true, Handler: lc.PreStop, IP: m.sandbox.IP, Timeout: s.deadline.Sub(m.now)})
			}
		}
		if s.hook == hookRunning && m.due(s.deadline) {
			s.hook = hookDone
		}
		if s.hook == hookDone && !s.termSent && m.due(s.termAt) {
			s.termSent = true
			s.killAt = s.deadline
			if least := m.now.Add(minShutdown); s.killAt.Before(least) {
				s.killAt = least
			}
			m.emit(actKill{Container: c.spec.Name, Attempt: c.attempt, Signal: stopSignal(c)})
		}
		if s.termSent && m.due(s.killAt) {
			// Sent again until the end is heard: a signal to a process in an uninterruptible sleep is kept
			// by the kernel, but one that the runtime lost is not.
			s.killAt = m.now.Add(10 * time.Second)
			m.wake(s.killAt)
			m.emit(actKill{Container: c.spec.Name, Attempt: c.attempt, Signal: syscall.SIGKILL})
		}
	}
}

func (m *machine) killedDone(in inKilled) {
	c := m.container(in.Container)
	if in.Err == nil || c == nil || c.phase != phaseRunning || c.attempt != in.Attempt {
		return
	}
	if errors.Is(in.Err, ErrNotFound) {
		m.ended(c, inExit{ID: c.id, ExitCode: 137, At: m.now, Message: lostMessage}, "ContainerStatusUnknown")
		return
	}
	s := c.stop
	switch again := m.now.Add(time.Second); {
	case s == nil:
	case again.Before(s.deadline):
		s.termSent, s.termAt = false, again
	case again.Before(s.killAt):
		s.killAt = again
	}
}

const lostMessage = "The container could not be located when the pod was terminated"

// usageDone evicts a pod whose emptyDir volumes outgrew their limits.
func (m *machine) usageDone(in inUsage) {
	m.usageBusy = false
	if in.Err != nil || len(in.Over) == 0 || m.stop != nil {
		return
	}
	var messages []string
	for _, over := range in.Over {
		name, detail, _ := strings.Cut(over, ":")
		if limit := emptyDirLimit(m.a.Pod, name); limit != "" {
			detail = limit
		}
		messages = append(messages, fmt.Sprintf("Usage of EmptyDir volume %q exceeds the limit %q. ", name, strings.TrimSpace(detail)))
	}
	m.outcome = &outcome{Phase: corev1.PodFailed, Reason: "Evicted", Message: strings.Join(messages, ""), Disruption: true}
	m.event(corev1.EventTypeWarning, m.outcome.Reason, m.outcome.Message, nil)
	m.terminate(forcedGrace)
}

func emptyDirLimit(pod *corev1.Pod, volume string) string {
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.Name == volume && v.EmptyDir != nil && v.EmptyDir.SizeLimit != nil {
			return v.EmptyDir.SizeLimit.String()
		}
	}
	return ""
}

// allEnded reports whether no process of the pod is left or about to begin.
func (m *machine) allEnded() bool {
	if m.stop == nil || m.settingUp {
		return false
	}
	for _, c := range m.containers {
		if c.isRunning() {
			return false
		}
	}
	return true
}

// lastExit answers the latest end of a container; zero if none ran.
func (m *machine) lastExit() time.Time {
	var at metav1.Time
	for _, c := range m.containers {
		if c.term != nil && at.Before(&c.term.FinishedAt) {
			at = c.term.FinishedAt
		}
	}
	return at.Time
}

// decideMeter closes the journal once nothing runs any more, and repairs what it missed.
func (m *machine) decideMeter() {
	if m.metering || !m.due(m.meterRetry.at) {
		return
	}
	switch {
	case m.allEnded() && !m.metered:
		m.metering = true
		m.emit(actMeter{Stop: true, At: m.lastExit()})
	case m.stop == nil && m.meterDirty && !m.isSlot():
		m.metering = true
		m.emit(actMeter{Resources: m.actuated, Boosts: m.boost.told})
	}
}

func (m *machine) meteredDone(in inMetered) {
	m.metering = false
	if in.Err != nil {
		m.event(corev1.EventTypeWarning, "FailedMetering", in.Err.Error(), nil)
		m.meterRetry.fail(m.now, retryLimit)
		return
	}
	m.meterRetry = retry{}
	if in.Stop {
		m.metered = true
	} else {
		m.meterDirty = false
	}
}

// decideTearDown gives the host's resources back once the journal has the end: all of them where the
// pod is to vanish; otherwise the containers and their logs stay readable.
func (m *machine) decideTearDown() {
	if !m.allEnded() || !m.metered || m.tearing || m.resize.busy || m.preparing || m.usageBusy || !m.due(m.tearRetry.at) {
		return
	}
	full := m.removed || m.a.Pod.DeletionTimestamp != nil
	if m.tornDown && !full {
		return
	}
	m.tearing = true
	act := actTearDown{Full: full}
	for _, c := range m.containers {
		if !full {
			break
		}
		for _, attempt := range c.kept {
			act.Containers = append(act.Containers, ContainerID(m.uid(), c.spec.Name, attempt))
		}
		for attempt := max(0, c.next-2); attempt <= c.next; attempt++ {
			act.Containers = append(act.Containers, ContainerID(m.uid(), c.spec.Name, attempt))
		}
	}
	m.emit(act)
}

func (m *machine) tornDownDone(in inTornDown) {
	m.tearing = false
	if in.Err != nil {
		m.event(corev1.EventTypeWarning, "FailedKillPod", "error killing pod: "+in.Err.Error(), nil)
		m.tearRetry.fail(m.now, retryLimit)
		return
	}
	m.tearRetry, m.tornDown, m.setUp = retry{}, true, false
	m.finished = in.Full
}

// stopSignal answers what a container is asked to end with.
func stopSignal(c *container) syscall.Signal {
	if lc := c.spec.Lifecycle; lc != nil && lc.StopSignal != nil {
		if sig, ok := parseSignal(string(*lc.StopSignal)); ok {
			return sig
		}
	}
	if sig, ok := parseSignal(c.image.StopSignal); ok {
		return sig
	}
	return syscall.SIGTERM
}
