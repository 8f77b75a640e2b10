package nodelet

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
)

// checkpoint is what a machine knows that neither the assignment nor the runtime tells. It is written
// behind the actions, so it may lag by some; the runtime's word counts where they differ.
type checkpoint struct {
	StartTime   time.Time
	BootID      string
	PodIP       string
	NetNS       string
	Removed     bool
	Metered     bool
	TornDown    bool
	Initialized bool
	Stop        *podStop
	Outcome     *outcome
	Actuated    v1alpha1.Sizes   // by container
	Boosts      map[string]int64 // beyond that, by container: CPU in milli
	Conditions  []corev1.PodCondition
	Containers  []containerCheckpoint
}

type containerCheckpoint struct {
	Name      string
	Phase     phase
	Attempt   int32
	Next      int32
	SpecImage string
	Image     Image
	StartedAt time.Time
	Term      *corev1.ContainerStateTerminated
	Last      *corev1.ContainerStateTerminated
	Started   bool // the startup probe passed
	Ready     bool
	Unboosted bool
	Hooking   bool // its postStart hook was not done
	Forced    bool
	NoBackoff bool
	PreStop   bool // the hook was begun
	Pull      backoff
	Crash     backoff
}

// checkpoint answers what a later machine needs to go on.
func (m *machine) checkpoint() *checkpoint {
	cp := &checkpoint{
		StartTime: m.startTime, BootID: m.bootID, PodIP: m.sandbox.IP, NetNS: m.sandbox.NetNS,
		Removed: m.removed, Metered: m.metered, TornDown: m.tornDown, Initialized: m.initialized,
		Outcome: m.outcome, Actuated: m.actuated, Boosts: m.boost.noted(),
		Conditions: m.conditions, Containers: make([]containerCheckpoint, 0, len(m.containers)),
	}
	if m.stop != nil {
		stop := *m.stop
		cp.Stop = &stop
	}
	for _, c := range m.containers {
		cp.Containers = append(cp.Containers, containerCheckpoint{
			Name: c.spec.Name, Phase: c.phase, Attempt: c.attempt, Next: c.next, SpecImage: c.specImage, Image: c.image, StartedAt: c.startedAt,
			Term: c.term, Last: c.last, Started: c.started, Ready: c.ready, Unboosted: c.unboosted, Hooking: c.hooking, Forced: c.forced, NoBackoff: c.noBackoff,
			PreStop: c.stop != nil && c.stop.hook != hookNone, Pull: c.pull, Crash: c.crash,
		})
	}
	return cp
}

// restore takes over from an earlier machine. What the runtime lists afterwards corrects it.
func (m *machine) restore(cp *checkpoint) {
	rebooted := cp.BootID != m.bootID
	m.startTime, m.removed, m.metered, m.tornDown = cp.StartTime, cp.Removed, cp.Metered, cp.TornDown
	m.stop, m.outcome, m.actuated, m.conditions = cp.Stop, cp.Outcome, cp.Actuated, cp.Conditions
	if !rebooted {
		// What the kernel holds stays until the ledger has answered.
		m.boost.told = cp.Boosts
		m.boost.granted = m.boostOf(m.actuated, cp.Boosts)
	}
	m.rushed = cp.Removed && cp.Stop != nil
	if cp.Stop != nil {
		m.graceSeen = deletionGrace(m.a.Pod)
	}
	m.initialized = m.initialized || cp.Initialized && !rebooted
	m.sandbox.IP, m.sandbox.NetNS = cp.PodIP, cp.NetNS
	for i := range cp.Containers {
		cc := &cp.Containers[i]
		c := m.container(cc.Name)
		if c == nil {
			continue
		}
		c.phase, c.attempt, c.next, c.specImage, c.image, c.startedAt = cc.Phase, cc.Attempt, cc.Next, cc.SpecImage, cc.Image, cc.StartedAt
		c.term, c.last, c.started, c.ready, c.unboosted = cc.Term, cc.Last, cc.Started, cc.Ready, cc.Unboosted
		c.forced, c.noBackoff, c.pull, c.crash = cc.Forced, cc.NoBackoff, cc.Pull, cc.Crash
		c.hooking, c.preStopped = cc.Hooking, cc.PreStop
		if c.phase != phaseNone {
			c.id = ContainerID(m.uid(), c.spec.Name, c.attempt)
		}
		if !rebooted {
			continue
		}
		if c.phase == phaseRunning {
			m.ended(c, inExit{ID: c.id, ExitCode: 255, At: m.now, Message: "The host was restarted"}, "Unknown")
		}
		if c.kind == kindInit && c.phase == phaseExited && c.term.ExitCode == 0 && m.stop == nil {
			c.last, c.phase, c.term = c.term, phaseNone, nil // its work may be gone with the pod's network
		}
	}
}

// observed compares what the runtime lists with what the machine knows. The first time is the adoption:
// containers that run go on running, and an instance that was made but not started will be started.
func (m *machine) observed(in inObserved) {
	first := !m.adopted
	m.adopted = true
	if len(in.Containers) > 1 { // also spares a new pod's stack
		slices.SortFunc(in.Containers, func(a, b observed) int { return cmp.Compare(a.Attempt, b.Attempt) })
	}
	for _, c := range m.containers {
		if c.op == opRun || c.op == opHold {
			continue
		}
		there := false
		for i := range in.Containers {
			o := &in.Containers[i]
			switch {
			case o.Name != c.spec.Name:
			case o.State == StateCreated && first:
				if c.next = max(c.next, o.Attempt); c.next == o.Attempt {
					c.held = o.Held
				}
			case o.State == StateExited && m.isSlot(): // it never ran
				if c.held != "" && o.Attempt == c.next {
					m.heldLost(c, inExit{ExitCode: o.ExitCode})
				}
			case o.Attempt < c.attempt-1 && first:
				m.emit(actForget{Container: c.spec.Name, Attempt: o.Attempt})
			case o.State == StateCreated:
			case o.Attempt == c.attempt && c.phase != phaseExited, o.Attempt > c.attempt && first:
				m.adopt(c, o)
				fallthrough
			default:
				there = there || o.Attempt == c.attempt
			}
		}
		// A process that began after the list was made isn't missed by it.
		if !there && c.phase == phaseRunning && c.heardAt.Before(in.At) {
			m.ended(c, inExit{ID: c.id, ExitCode: 137, At: m.now, Message: "The container could not be located"}, "ContainerStatusUnknown")
		}
	}
	if first {
		m.adoptDone()
	}
}

// adopt takes an instance over as the runtime describes it.
func (m *machine) adopt(c *container, o *observed) {
	if c.phase == phaseNone && c.attempt == o.Attempt && c.next > o.Attempt {
		return // an init container of before the host's restart
	}
	if c.phase != phaseRunning || c.attempt != o.Attempt {
		if c.phase == phaseExited {
			c.last = c.term
		}
		c.phase, c.attempt, c.next = phaseRunning, o.Attempt, o.Attempt+1
		c.id, c.image, c.term = o.ID, o.Image, nil
		c.specImage = c.spec.Image
		c.started, c.ready = c.spec.StartupProbe == nil, c.spec.ReadinessProbe == nil
		c.forced, c.noBackoff, c.unboosted, c.waitReason, c.waitMsg = false, false, false, "", ""
		c.hooking = c.spec.Lifecycle != nil && c.spec.Lifecycle.PostStart != nil
	}
	c.pid, c.startedAt = o.PID, o.StartedAt
	if o.State == StateExited {
		m.ended(c, inExit{ID: o.ID, ExitCode: o.ExitCode, OOMKilled: o.OOMKilled, At: o.ExitedAt, Message: o.Message}, exitReason(o.ExitCode, o.OOMKilled))
	}
}

// adoptDone fills in what follows from the instances taken over.
func (m *machine) adoptDone() {
	for _, c := range m.containers {
		if c.phase == phaseNone {
			continue
		}
		if c.kind == kindMain {
			m.initialized = true
		}
		if m.actuated == nil {
			m.actuated = m.allocated
		}
		if c.hooking && c.phase == phaseRunning {
			// Hooks run at least once.
			m.emit(actHook{Container: c.spec.Name, Attempt: c.attempt, Handler: c.spec.Lifecycle.PostStart, IP: m.sandbox.IP})
		}
		if c.preStopped && c.phase == phaseRunning && m.stop != nil {
			c.stop = &containerStop{deadline: m.stop.Deadline, hook: hookDone}
		}
	}
	if m.anyRunning() {
		m.metered = false
		m.meterDirty = true // the open segment goes on if it is of this size
	}
}
