package nodelet

import (
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// decideSetUp gives the pod its cgroup, network, volumes and files.
func (m *machine) decideSetUp() {
	if m.setUp || m.settingUp || m.holding() {
		return
	}
	version := m.configVersion()
	if version != m.setUpWith {
		m.setUpRetry = retry{} // what was missing may have come
	}
	if !m.due(m.setUpRetry.at) {
		return
	}
	m.settingUp, m.setUpWith = true, version
	sizes := m.actuated
	if sizes == nil {
		sizes = m.allocated
	}
	// With init containers before them the others get their boosts when they start.
	boosts := m.boost.told
	if m.initialized {
		boosts = m.grantedBoosts(m.boostsWanted())
	}
	m.boost.telling = boosts
	m.emit(actSetUp{Resources: sizes, Boosts: boosts, Version: version, Void: m.found && m.fresh(), Slot: m.isSlot()})
}

// fresh reports that no container of the pod has ever run.
func (m *machine) fresh() bool {
	for _, c := range m.containers {
		if c.phase != phaseNone || c.last != nil {
			return false
		}
	}
	return true
}

func (m *machine) setUpDone(in inSetUp) {
	m.settingUp, m.setUpErr, m.boost.telling = false, "", nil
	if in.Slot && !m.isSlot() {
		return // it is to be gone through once more
	}
	if in.Err != nil {
		m.setUpErr = in.Err.Error()
		m.event(corev1.EventTypeWarning, in.Reason, in.Err.Error(), nil)
		m.setUpRetry.fail(m.now, retryLimit)
		return
	}
	m.setUp, m.setUpRetry = true, retry{}
	m.sandbox, m.prepared = in.Sandbox, in.Version
	m.toldBoosts(in.Boosts)
	if m.actuated == nil {
		m.actuated = in.Resources
		m.resized++
	}
	looksAfter := m.mayBurst && m.burst() != nil && burstsMemory(m.a.Pod)
	m.resize.kept = (in.Kept || in.Guarded) && !looksAfter
}

// decideRun starts what may run now: init containers one after the other, sidecars among them as soon
// as the one before has started, then the rest.
func (m *machine) decideRun() {
	for i, c := range m.containers {
		switch c.kind {
		case kindInit:
			if m.initialized || c.phase == phaseExited && c.term.ExitCode == 0 {
				continue
			}
			m.ensure(c)
			return
		case kindSidecar:
			m.ensure(c)
			if !m.initialized && !(c.phase == phaseRunning && c.started && !c.hooking) {
				return
			}
		case kindMain:
			m.initialized = true
			m.redefine(c)
			if !m.hookBefore(i) {
				m.ensure(c)
			}
		}
	}
}

// hookBefore reports whether an earlier container's postStart hook still holds the i-th one back.
func (m *machine) hookBefore(i int) bool {
	for _, c := range m.containers[:i] {
		if c.kind == kindMain && c.spec.Lifecycle != nil && c.spec.Lifecycle.PostStart != nil &&
			(c.hooking || c.op == opRun || c.op == opPull && c.phase == phaseNone) {
			return true
		}
	}
	return false
}

// redefine restarts a running container whose image was changed in the spec.
func (m *machine) redefine(c *container) {
	if c.phase != phaseRunning || c.stop != nil || c.specImage == "" || c.specImage == c.spec.Image {
		return
	}
	c.forced, c.noBackoff = true, true
	m.stopContainer(c, m.grace(nil), fmt.Sprintf("Container %s definition changed, will be restarted", c.spec.Name))
}

// ensure brings a container that should run one step nearer to running.
func (m *machine) ensure(c *container) {
	c.unroomy = false
	if c.op != opNone || c.phase == phaseRunning || !c.restarts(m.a.Pod.Spec.RestartPolicy) || m.resizeHolds(c) {
		return
	}
	if c.phase == phaseExited && !c.noBackoff && !m.due(c.crash.until(m.now, c.term.FinishedAt.Time)) {
		if !c.inCrash {
			c.inCrash = true
			c.waiting("CrashLoopBackOff", fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)",
				c.crash.Delay, c.spec.Name, m.a.Pod.Name, m.a.Pod.Namespace, m.uid()))
			m.event(corev1.EventTypeWarning, "BackOff", fmt.Sprintf("Back-off restarting failed container %s in pod %s_%s(%s)",
				c.spec.Name, m.a.Pod.Name, m.a.Pod.Namespace, m.uid()), c)
		}
		return
	}
	if c.waitReason == reasonConfig && c.runWith != configHash(m.a) {
		c.retryAt = time.Time{} // what was missing may have come
	}
	if !m.due(c.retryAt) {
		if c.waitReason == "ErrImagePull" && m.due(c.flipAt) {
			c.waiting("ImagePullBackOff", fmt.Sprintf("Back-off pulling image %q: ErrImagePull: %s", c.spec.Image, c.waitMsg))
			m.event(corev1.EventTypeNormal, "BackOff", fmt.Sprintf("Back-off pulling image %q", c.spec.Image), c)
			m.event(corev1.EventTypeWarning, "Failed", "Error: ImagePullBackOff", c)
		}
		return
	}
	if !c.fetched() {
		m.pull(c)
		return
	}
	if !m.setUp || m.boostHolds(c) {
		return
	}
	c.op, c.runWith = opRun, configHash(m.a)
	m.emit(actRun{Container: c.spec, Attempt: c.next, Image: c.nextImage, Sizes: m.actuated, Boost: m.boost.told[c.spec.Name], Sandbox: m.sandbox, Held: c.held})
}

func (m *machine) pull(c *container) {
	c.op = opPull
	m.emit(actPull{Container: c.spec.Name, Ref: c.spec.Image, Policy: pullPolicy(c.spec)})
}

func (m *machine) pulling(in inPulling) {
	if c := m.container(in.Container); c != nil {
		m.event(corev1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", in.Ref), c)
	}
}

func (m *machine) pulledDone(in inPulled) {
	c := m.container(in.Container)
	if c == nil || c.op != opPull {
		return
	}
	c.op = opNone
	if in.Ref != c.spec.Image {
		return
	}
	if in.Err == nil {
		c.pulled, c.pulledRef, c.nextImage, c.pull, c.retryAt = true, in.Ref, in.Image, backoff{}, time.Time{}
		if c.waitReason != "CrashLoopBackOff" {
			c.waiting("", "")
		}
		message := fmt.Sprintf("Container image %q already present on machine", in.Ref)
		if !in.Present {
			took := in.Took.Round(time.Millisecond)
			message = fmt.Sprintf("Successfully pulled image %q in %s (%s including waiting). Image size: %d bytes.", in.Ref, took, took, in.Image.Size)
		}
		m.event(corev1.EventTypeNormal, "Pulled", message, c)
		return
	}
	switch {
	case errors.Is(in.Err, ErrImageNever):
		c.waiting("ErrImageNeverPull", fmt.Sprintf("Container image %q is not present with pull policy of Never", in.Ref))
		m.event(corev1.EventTypeWarning, "ErrImageNeverPull", c.waitMsg, c)
		c.retryAt = m.now.Add(configRetry)
	case errors.Is(in.Err, ErrImageName):
		c.waiting("InvalidImageName", fmt.Sprintf("Failed to apply default image tag %q: %v", in.Ref, in.Err))
		m.event(corev1.EventTypeWarning, "InspectFailed", c.waitMsg, c)
		c.pull.bump(m.now)
		c.retryAt = m.now.Add(c.pull.Delay)
	default:
		c.waiting("ErrImagePull", in.Err.Error())
		m.event(corev1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %v", in.Ref, in.Err), c)
		m.event(corev1.EventTypeWarning, "Failed", "Error: ErrImagePull", c)
		c.pull.bump(m.now)
		c.retryAt, c.flipAt = m.now.Add(c.pull.Delay), m.now.Add(time.Second)
	}
}

const reasonConfig = "CreateContainerConfigError"

// configError is a container that can't be made as it is configured; a changed config map may help.
type configError struct{ err error }

func (e *configError) Error() string { return e.err.Error() }
func (e *configError) Unwrap() error { return e.err }

func (m *machine) startedDone(in inStarted) {
	c := m.container(in.Container)
	if c == nil || c.op != opRun || in.Attempt != c.next {
		return
	}
	c.op, c.held = opNone, ""
	if c.early != nil && c.early.At.Before(in.MadeAt) {
		c.early = nil
	}
	if in.Created {
		m.event(corev1.EventTypeNormal, "Created", "Container created", c)
	}
	var config *configError
	switch {
	case in.Err == nil:
		m.event(corev1.EventTypeNormal, "Started", "Container started", c)
		m.begin(c, in)
	case errors.Is(in.Err, ErrStart):
		m.event(corev1.EventTypeWarning, "Failed", "Error: "+in.Err.Error(), c)
		in.At = m.now
		early := c.early
		m.begin(c, in)
		if early == nil {
			m.ended(c, inExit{ID: c.id, ExitCode: 128, At: m.now, Message: in.Err.Error()}, "StartError")
		}
		c.waiting("RunContainerError", in.Err.Error())
	default:
		reason := "CreateContainerError"
		if errors.As(in.Err, &config) {
			reason = reasonConfig
		}
		c.waiting(reason, in.Err.Error())
		c.retryAt, c.early = m.now.Add(configRetry), nil
		m.event(corev1.EventTypeWarning, "Failed", "Error: "+in.Err.Error(), c)
	}
}

// begin makes the run that just succeeded the container's latest instance.
func (m *machine) begin(c *container, in inStarted) {
	if c.phase == phaseExited {
		c.last = c.term
		if !c.noBackoff {
			c.crash.bump(m.now)
		}
	}
	m.runs++
	c.phase, c.attempt, c.next = phaseRunning, in.Attempt, in.Attempt+1
	c.id = ContainerID(m.uid(), c.spec.Name, in.Attempt)
	c.pid, c.startedAt, c.heardAt, c.madeAt = in.PID, in.At, m.now, in.MadeAt
	c.actual, c.unboosted = unboosted(in.Actual, m.actuated[c.spec.Name], m.boost.told[c.spec.Name]), false
	c.image, c.specImage, c.pulled = c.nextImage, c.pulledRef, false
	c.term, c.stop, c.probes = nil, nil, nil
	c.forced, c.noBackoff, c.inCrash, c.retryAt = false, false, false, time.Time{}
	c.waiting("", "")
	c.started, c.ready = c.spec.StartupProbe == nil, c.spec.ReadinessProbe == nil
	if in.Attempt >= 2 {
		m.emit(actForget{Container: c.spec.Name, Attempt: in.Attempt - 2})
	}
	early := c.early
	c.early = nil
	switch {
	case early != nil:
		m.ended(c, *early, exitReason(early.ExitCode, early.OOMKilled))
	case in.Err == nil && c.spec.Lifecycle != nil && c.spec.Lifecycle.PostStart != nil:
		c.hooking = true
		m.emit(actHook{Container: c.spec.Name, Attempt: c.attempt, Handler: c.spec.Lifecycle.PostStart, IP: m.sandbox.IP})
	}
}

// forgotten keeps in mind what could not be removed, for the tear-down.
func (m *machine) forgotten(in inForgotten) {
	if c := m.container(in.Container); c != nil && in.Err != nil {
		c.kept = append(c.kept, in.Attempt)
	}
}

func (m *machine) exited(in inExit) {
	for _, c := range m.containers {
		switch {
		case (c.op == opRun || c.op == opHold) && in.ID == m.nextID(c):
			c.early = &in
			return
		case c.held != "" && in.ID == m.nextID(c) && !in.At.Before(c.heldAt):
			m.heldLost(c, in)
			return
		case c.phase == phaseRunning && in.ID == c.id && !in.At.Before(c.madeAt):
			m.ended(c, in, exitReason(in.ExitCode, in.OOMKilled))
			return
		}
	}
}

func (m *machine) ended(c *container, in inExit, reason string) {
	c.term = &corev1.ContainerStateTerminated{
		ExitCode:    in.ExitCode,
		Reason:      reason,
		Message:     in.Message,
		StartedAt:   metav1.NewTime(c.startedAt),
		FinishedAt:  metav1.NewTime(in.At),
		ContainerID: containerdID(c.id),
	}
	c.phase, c.pid, c.stop, c.probes = phaseExited, 0, nil, nil
	c.hooking, c.started, c.ready = false, false, false
}

func (m *machine) hookDone(in inHook) {
	c := m.container(in.Container)
	if c == nil || c.phase != phaseRunning || c.attempt != in.Attempt {
		return
	}
	if in.Stop {
		if c.stop != nil && c.stop.hook == hookRunning {
			c.stop.hook = hookDone
		}
		if in.Err != nil {
			m.event(corev1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed", c)
		}
		return
	}
	c.hooking = false
	if in.Err != nil {
		m.event(corev1.EventTypeWarning, "FailedPostStartHook", "PostStartHook failed: "+in.Err.Error(), c)
		m.stopContainer(c, m.grace(nil), "FailedPostStartHook")
		c.forced = true
	}
}

func pullPolicy(c *corev1.Container) corev1.PullPolicy {
	if c.ImagePullPolicy == "" {
		return corev1.PullIfNotPresent // the control plane has defaulted it; a record of old may lack it
	}
	return c.ImagePullPolicy
}

func containerdID(id string) string { return "containerd://" + id }
