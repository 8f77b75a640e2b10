package nodelet

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// containerKind says what a container is to its pod.
type containerKind uint8

const (
	kindInit    containerKind = iota + 1
	kindSidecar               // an init container with restartPolicy Always
	kindMain
)

// phase is where the latest instance of a container stands.
type phase uint8

const (
	phaseNone phase = iota // there was no instance yet
	phaseRunning
	phaseExited
)

// op is the one slow action of a container that is under way.
type op uint8

const (
	opNone op = iota
	opPull
	opRun
	opHold
)

// container is one container of the pod and its latest instance.
type container struct {
	spec *corev1.Container
	kind containerKind

	phase   phase
	attempt int32 // of the latest instance
	next    int32 // of the one that a run would make
	op      op
	kept    []int32 // older instances that could not be removed

	id        string
	specImage string // the spec's image when the instance was made
	image     Image  // of the instance
	nextImage Image  // of the next one, where pulled
	pulledRef string // the spec's image that nextImage is of
	pid       int
	startedAt time.Time
	heardAt   time.Time // when it was heard of the start; zero: by a nodelet of before
	actual    corev1.ResourceRequirements
	term      *corev1.ContainerStateTerminated // of the latest instance, once it ended
	last      *corev1.ContainerStateTerminated // of the one before it

	held   string    // heldKey of the instance that waits at its start, the next one
	heldAt time.Time // when it was made
	madeAt time.Time // of the latest instance, where it replaced another of its name

	pulled     bool // image is ready for the next run
	hooking    bool // its postStart hook runs
	started    bool // its startup probe passed
	ready      bool // its readiness probe says so
	unboosted  bool // its boost is over, for this instance
	unroomy    bool // it would start, but for the boost that it requires
	probes     map[probeKind]*probeState
	stop       *containerStop
	preStopped bool    // an earlier nodelet began its preStop hook
	early      *inExit // an end that was heard before the start was
	forced     bool    // we stopped it to start it again, whatever it exits with
	noBackoff  bool    // and at once
	waitReason string
	waitMsg    string
	retryAt    time.Time // nothing is tried before
	runWith    string    // version of config of the latest attempt to run
	flipAt     time.Time // when ErrImagePull becomes ImagePullBackOff
	pull       backoff
	crash      backoff
	inCrash    bool // the present backoff was told
}

// containerStop is a termination under way: hook, then the stop signal, then SIGKILL.
type containerStop struct {
	deadline time.Time // of the grace period
	hook     hookState
	termSent bool
	termAt   time.Time // not before
	killAt   time.Time
}

type hookState uint8

const (
	hookNone hookState = iota
	hookRunning
	hookDone
)

// minShutdown is left to every container between its stop signal and SIGKILL, even when hooks used up
// the grace period; a kubelet leaves the same.
const minShutdown = 2 * time.Second

// isRunning reports whether a process is there or about to be.
func (c *container) isRunning() bool {
	return c.phase == phaseRunning || c.op == opRun || c.op == opHold
}

// fetched reports whether the spec's image is ready for the next run.
func (c *container) fetched() bool { return c.pulled && c.pulledRef == c.spec.Image }

// waiting sets what the status shows for a container that should run and doesn't.
func (c *container) waiting(reason, message string) { c.waitReason, c.waitMsg = reason, message }

const reasonOOMKilled = "OOMKilled"

// exitReason is the kubelet's word for an end.
func exitReason(code int32, oom bool) string {
	switch {
	case oom:
		return reasonOOMKilled
	case code == 0:
		return "Completed"
	default:
		return "Error"
	}
}

// restarts says whether policy wants the ended container to run again.
func (c *container) restarts(policy corev1.RestartPolicy) bool {
	if c.phase != phaseExited {
		return c.phase == phaseNone
	}
	failed := c.term != nil && c.term.ExitCode != 0
	switch c.kind {
	case kindSidecar:
		return true
	case kindInit:
		return failed && policy != corev1.RestartPolicyNever
	}
	switch policy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return failed || c.forced
	default:
		return true
	}
}
