package nodelet

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// isSlot reports that there is no pod yet.
func (m *machine) isSlot() bool { return m.a.Slot != NoSlot }

// decideSlot takes a slot nearer to its depth: images and sandbox at once, then the first container up to
// its start.
func (m *machine) decideSlot() {
	if m.a.Slot < SlotSandbox {
		return
	}
	m.decideSetUp()
	for _, c := range m.containers {
		if c.op == opNone && !c.fetched() && m.due(c.retryAt) {
			m.pull(c)
		}
	}
	if m.a.Slot >= SlotContainer {
		m.hold(m.containers[0])
	}
	m.decidePrepare()
}

// hold has a container made and wait at its start, anew where what it was made from has changed.
func (m *machine) hold(c *container) {
	version := configHash(m.a)
	if c.held != "" && c.runWith == version || c.op != opNone || c.phase != phaseNone {
		return
	}
	if !m.setUp || !c.fetched() || !m.due(c.retryAt) {
		return
	}
	c.op, c.runWith = opHold, version
	m.emit(actHold{Container: c.spec, Attempt: c.next, Image: c.nextImage, Sizes: m.actuated, Sandbox: m.sandbox, Held: c.held})
}

// holding reports that a container is being made for a slot.
func (m *machine) holding() bool {
	for _, c := range m.containers {
		if c.op == opHold {
			return true
		}
	}
	return false
}

// nextID names the instance that a run or a hold makes.
func (m *machine) nextID(c *container) string { return ContainerID(m.uid(), c.spec.Name, c.next) }

func (m *machine) heldDone(in inHeld) {
	c := m.container(in.Container)
	if c == nil || c.op != opHold {
		return
	}
	early := c.early
	c.op, c.held, c.early = opNone, in.Held, nil
	if !in.At.IsZero() {
		c.heldAt = in.At
	}
	switch {
	case in.Err != nil:
		c.held = ""
		m.holdFailed(c, in.Err)
	case early != nil && !early.At.Before(c.heldAt):
		m.heldLost(c, *early)
	case m.isSlot():
		c.waiting("", "")
		c.pull = backoff{}
	}
}

// heldLost takes note that the process that waited has ended.
func (m *machine) heldLost(c *container, in inExit) {
	c.held = ""
	m.holdFailed(c, fmt.Errorf("container %s: ended with code %d while it waited for its start", c.spec.Name, in.ExitCode))
}

// holdFailed lets a slot wait before another attempt. A pod that took the slot meanwhile tries at once: what
// is wrong will show.
func (m *machine) holdFailed(c *container, err error) {
	if !m.isSlot() {
		return
	}
	reason := "CreateContainerError"
	if config := (*configError)(nil); errors.As(err, &config) {
		reason = reasonConfig
	}
	c.waiting(reason, err.Error())
	c.pull.bump(m.now)
	c.retryAt = m.now.Add(c.pull.Delay)
}

// take makes the slot the pod that it was assigned as. Set-up is gone through once more, now for the pod;
// what is there and fits is used.
func (m *machine) take() {
	m.startTime, m.conditions, m.events = m.now, nil, nil
	m.setUp, m.setUpErr, m.setUpRetry, m.actuated = false, "", retry{}, nil
	m.boost = boostState{}
	for _, c := range m.containers {
		if c.phase != phaseNone {
			continue // a nodelet that was killed had started it
		}
		c.pull, c.retryAt = backoff{}, m.now
		c.waiting("", "")
		if pullPolicy(c.spec) == corev1.PullAlways {
			c.pulled = false // the registry is asked at each start
		} else if c.fetched() {
			m.event(corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Container image %q already present on machine", c.spec.Image), c)
		}
	}
}

// slotReport says how far the slot has come, and why not further.
func (m *machine) slotReport() SlotReport {
	r := SlotReport{UID: m.uid()}
	if m.finished {
		return r
	}
	r.Depth, r.Message = SlotCapacity, m.setUpErr
	fetched := true
	for _, c := range m.containers {
		fetched = fetched && c.fetched()
		if r.Message == "" {
			r.Message = c.waitMsg
		}
	}
	if m.a.Slot < SlotSandbox || !m.setUp || !fetched || m.stop != nil {
		return r
	}
	r.Depth = SlotSandbox
	if m.a.Slot >= SlotContainer && m.containers[0].held != "" {
		r.Depth = SlotContainer
	}
	return r
}
