package nodelet

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
)

// machine is the lifecycle of one pod, and pure: step takes what happened and when, and answers what to
// do. It derives its next actions from what it has observed rather than from what it did last, so that
// one that is made anew over running containers goes on where its predecessor was killed.
//
// A machine belongs to one goroutine.
type machine struct {
	nodeName, hostIP string
	bootID           string

	a          Assignment
	allocated  v1alpha1.Sizes // what is admitted
	startTime  time.Time
	containers []*container // init containers, then the others, in the spec's order

	settingUp   bool
	setUp       bool
	setUpErr    string // of the latest attempt
	setUpRetry  retry
	setUpWith   string // version of config of the latest attempt
	sandbox     sandbox
	prepared    string // version of config that the volumes hold
	preparing   bool
	prepareWith string // version of config of the latest attempt
	prepRetry   retry
	nextUsage   time.Time
	usageBusy   bool
	initialized bool // every init container has done its part, once
	adopted     bool // what the runtime holds is known

	actuated v1alpha1.Sizes              // what the kernel was last told
	runs     int                         // counts starts of containers
	resized  int                         // counts changes of actuated
	actual   corev1.ResourceRequirements // what the kernel holds for the pod as a whole, if it says that
	resize   resizeState
	mayBurst bool            // the node has Bursts
	bursting *BurstState     // nil: it has no more than its size
	noBursts string          // why the node gives it none, though it may have some
	boosts   v1alpha1.Boosts // that the pod's annotation says
	boost    boostState

	successor  *Assignment // a slot's: it has nothing that its pod could use, and makes room for it
	removed    bool        // no longer desired: leave nothing
	rushed     bool        // removed has shortened the grace period
	graceSeen  *int64      // the deletion's grace period that stop knows of
	stop       *podStop    // the pod is being terminated
	outcome    *outcome    // a verdict on the pod that its containers alone don't give
	found      bool        // a former process knew the pod
	metered    bool        // the journal has the end
	metering   bool
	meterDirty bool // the journal lacks the present size
	meterRetry retry
	tearing    bool
	tornDown   bool // host resources are given back
	tearRetry  retry
	finished   bool
	conditions []corev1.PodCondition
	events     []Event
	now        time.Time
	wakeAt     time.Time
	actions    []action
}

// podStop is the termination of a pod. A later order may only bring Deadline nearer.
type podStop struct {
	Deadline time.Time // of the grace period
}

// outcome is the end that was decided over the containers' heads.
type outcome struct {
	Phase      corev1.PodPhase
	Reason     string
	Message    string
	Disruption bool
	Kept       bool // it was decided before this nodelet knew the pod: the status stays
}

// retry spaces the attempts at one thing: 1 s, doubling to limit.
type retry struct {
	delay time.Duration
	at    time.Time
}

func (r *retry) fail(now time.Time, limit time.Duration) {
	r.delay = min(max(2*r.delay, time.Second), limit)
	r.at = now.Add(r.delay)
}

const (
	retryLimit  = 30 * time.Second // set-up, tear-down, journal
	configRetry = 10 * time.Second // containers that can't be created as they are configured
	usagePeriod = 10 * time.Second
)

// newMachine makes the machine of an assigned pod. cp is what an earlier one left, or nil.
func newMachine(cfg *Config, bootID string, a Assignment, found bool, cp *checkpoint, now time.Time) *machine {
	m := &machine{
		nodeName: cfg.NodeName, hostIP: cfg.HostIP, bootID: bootID, mayBurst: cfg.Bursts != nil, found: found, startTime: now, now: now,
	}
	m.boost.found = found
	m.assign(a)
	if cp != nil {
		m.restore(cp)
	}
	return m
}

// step takes one input, or nil where only time has passed.
func (m *machine) step(now time.Time, in input) []action {
	m.now, m.wakeAt, m.actions = now, time.Time{}, nil
	m.observe(in)
	if !m.finished {
		m.decide()
	}
	return m.actions
}

func (m *machine) observe(in input) {
	switch in := in.(type) {
	case inAssign:
		m.assign(in.Assignment)
	case inBursting:
		m.bursting = in.State
	case inNoBursts:
		m.noBurstsNow(in.Why)
	case inRemove:
		m.removed, m.successor = true, nil
	case inObserved:
		m.observed(in)
	case inSetUp:
		m.setUpDone(in)
	case inPulling:
		m.pulling(in)
	case inForgotten:
		m.forgotten(in)
	case inPulled:
		m.pulledDone(in)
	case inStarted:
		m.startedDone(in)
	case inHeld:
		m.heldDone(in)
	case inExit:
		m.exited(in)
	case inKilled:
		m.killedDone(in)
	case inHook:
		m.hookDone(in)
	case inProbe:
		m.probed(in)
	case inVolumes:
		m.volumesDone(in)
	case inUsage:
		m.usageDone(in)
	case inResized:
		m.resizedDone(in)
	case inBoost:
		m.granted(in.Grant)
	case inMetered:
		m.meteredDone(in)
	case inTornDown:
		m.tornDownDone(in)
	}
}

// assign takes a desired state. What is admitted but can't be read leaves the former sizes standing.
func (m *machine) assign(a Assignment) {
	before := m.a
	if before.Pod != nil && (before.Slot != NoSlot || a.Slot != NoSlot) {
		if before.Slot == NoSlot {
			return // word from before: the slot has its pod
		}
		if m.successor != nil || !sameSandbox(before.Pod, a.Pod) {
			m.successor, m.removed = &a, true
			return
		}
	}
	m.a = a
	if allocated, err := v1alpha1.Allocated(a.Pod); err == nil {
		if !sameSizesOf(m.allocated, allocated) {
			m.resize.retry = retry{}
		}
		m.allocated = allocated
	} else {
		m.event(corev1.EventTypeWarning, "ResizeError", err.Error(), nil)
	}
	m.boosts = v1alpha1.BoostsOf(a.Pod)
	spec := &a.Pod.Spec
	if m.containers == nil {
		for i := range spec.InitContainers {
			kind := kindInit
			if v1alpha1.Sidecar(&spec.InitContainers[i]) {
				kind = kindSidecar
			}
			m.containers = append(m.containers, newContainer(&spec.InitContainers[i], kind))
		}
		for i := range spec.Containers {
			m.containers = append(m.containers, newContainer(&spec.Containers[i], kindMain))
		}
		m.initialized = len(spec.InitContainers) == 0
		return
	}
	for i := range spec.InitContainers {
		m.respecify(&spec.InitContainers[i])
	}
	for i := range spec.Containers {
		m.respecify(&spec.Containers[i])
	}
	if before.Slot != NoSlot && a.Slot == NoSlot {
		m.take()
	}
}

// respecify gives a container its new spec. Another image is tried at once.
func (m *machine) respecify(spec *corev1.Container) {
	c := m.container(spec.Name)
	if c == nil {
		return
	}
	if c.spec.Image != spec.Image {
		c.retryAt, c.pull = time.Time{}, backoff{}
	}
	c.spec = spec
}

func newContainer(spec *corev1.Container, kind containerKind) *container {
	return &container{spec: spec, kind: kind}
}

func (m *machine) container(name string) *container {
	for _, c := range m.containers {
		if c.spec.Name == name {
			return c
		}
	}
	return nil
}

func (m *machine) uid() string { return string(m.a.Pod.UID) }

func (m *machine) emit(a action) { m.actions = append(m.actions, a) }

// wake asks for a step at t at the latest.
func (m *machine) wake(t time.Time) {
	if m.wakeAt.IsZero() || t.Before(m.wakeAt) {
		m.wakeAt = t
	}
}

// due reports whether t has come, and asks to be woken then if not.
func (m *machine) due(t time.Time) bool {
	if t.After(m.now) {
		m.wake(t)
		return false
	}
	return true
}

// maxEvents bounds the events of a pod that nobody has fetched. The oldest go first.
const maxEvents = 64

func (m *machine) event(kind, reason, message string, c *container) {
	e := Event{Type: kind, Reason: reason, Message: message, Time: m.now}
	if c != nil {
		e.FieldPath = fmt.Sprintf("spec.containers{%s}", c.spec.Name)
		if c.kind != kindMain {
			e.FieldPath = fmt.Sprintf("spec.initContainers{%s}", c.spec.Name)
		}
	}
	m.events = append(m.events, e)
	if len(m.events) > maxEvents {
		m.events = m.events[len(m.events)-maxEvents:]
	}
}

// takeEvents answers the events since the last call.
func (m *machine) takeEvents() []Event {
	out := m.events
	m.events = nil
	return out
}

// decide emits every action that the present state calls for and that isn't under way.
func (m *machine) decide() {
	m.decideEnd()
	m.wish(m.boostsWanted())
	switch {
	case m.stop != nil:
		m.decideStop()
	case m.isSlot():
		m.decideSlot()
	default:
		m.decideSetUp()
		m.decideRun()
		m.decideResize()
		m.decidePrepare()
		m.decideUsage()
	}
	if !m.isSlot() {
		m.decideBoost()
	}
	m.decideStops()
	m.decideProbes()
	m.decideMeter()
	m.decideTearDown()
}

// byID finds the container of an instance that is there or is being made.
func (m *machine) byID(id string) (c *container, attempt int32) {
	for _, c := range m.containers {
		switch id {
		case ContainerID(m.uid(), c.spec.Name, c.attempt):
			return c, c.attempt
		case ContainerID(m.uid(), c.spec.Name, c.next):
			return c, c.next
		}
	}
	return nil, 0
}
