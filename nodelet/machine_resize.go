package nodelet

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/cgroups"
)

// resizeRetryLimit bounds the wait between two attempts at a resize that the kernel refused.
const resizeRetryLimit = time.Minute

// resizeState is a change of size under way. It stands from the moment that what is admitted differs
// from what the kernel was told until it no longer does.
type resizeState struct {
	active     bool
	busy       bool
	kept       bool   // a nodelet that was killed left the pod more memory than it was noted to have
	generation int64  // of the pod when it began
	err        string // what the condition says of the last attempt
	cause      string // what the event said: the same cause is told once
	since      time.Time
	attempts   int
	retry      retry
}

// decideResize carries what is admitted to the kernel: first whatever changes in place, all of it in one
// write; then containers that must restart for it are stopped, and changed once they are down.
func (m *machine) decideResize() {
	if !m.setUp || m.actuated == nil || m.resize.busy {
		return
	}
	target := m.actuated
	var inPlace, creating bool
	var restart []*container
	put := func(name string) {
		if !inPlace {
			inPlace, target = true, maps.Clone(m.actuated)
		}
		target[name] = m.allocated[name]
	}
	for _, c := range m.containers {
		want, have := m.allocated.Of(c.spec.Name), m.actuated.Of(c.spec.Name)
		switch {
		case sameResources(want, have):
		case c.op == opRun:
			creating = true // with the former size; its cgroup can be written once it is there
		case c.phase == phaseRunning && needsRestart(c.spec, have, want):
			restart = append(restart, c)
		default:
			put(c.spec.Name)
		}
	}
	if _, said := m.allocated[v1alpha1.WholePod]; said && !sameResources(m.allocated[v1alpha1.WholePod], m.actuated[v1alpha1.WholePod]) {
		// The pod and its containers fit one another only before and after: whoever restarts for it goes first.
		if put(v1alpha1.WholePod); len(restart) > 0 {
			inPlace = false
		}
	}
	inPlace = inPlace || m.resize.kept && len(restart) == 0
	if !inPlace && !creating && len(restart) == 0 {
		if m.resize.active {
			m.event(corev1.EventTypeNormal, "ResizeCompleted", "Pod resize completed: "+v1alpha1.ResizeSummary(m.a.Pod, m.allocated, m.resize.generation, ""), nil)
			m.resize = resizeState{}
		}
		return
	}
	if !m.resize.active || m.resize.generation != m.a.Pod.Generation {
		m.resize.active, m.resize.generation, m.resize.err = true, m.a.Pod.Generation, ""
		m.resize.since, m.resize.attempts, m.resize.cause = m.now, 0, ""
		m.event(corev1.EventTypeNormal, "ResizeStarted", "Pod resize started: "+v1alpha1.ResizeSummary(m.a.Pod, m.allocated, m.resize.generation, ""), nil)
	}
	if creating || !m.due(m.resize.retry.at) {
		return
	}
	if inPlace {
		m.tell(target, m.grantedBoosts(m.boostsWanted()))
		return
	}
	for _, c := range restart {
		if c.phase == phaseRunning && c.stop == nil {
			m.stopContainer(c, m.grace(nil), "Container "+c.spec.Name+" resize requires restart")
			c.forced, c.noBackoff = true, true
		}
	}
}

// needsRestart reports whether a resource that changes asks for a restart.
func needsRestart(c *corev1.Container, have, want corev1.ResourceRequirements) bool {
	for _, policy := range c.ResizePolicy {
		if policy.RestartPolicy != corev1.RestartContainer {
			continue
		}
		name := policy.ResourceName
		if have.Requests.Name(name, "").Cmp(*want.Requests.Name(name, "")) != 0 ||
			have.Limits.Name(name, "").Cmp(*want.Limits.Name(name, "")) != 0 {
			return true
		}
	}
	return false
}

// resizeHolds reports whether a container waits with its start for the size that it was stopped for.
// After a refusal it starts at the size that the kernel holds.
func (m *machine) resizeHolds(c *container) bool {
	return m.setUp && m.resize.active && (m.resize.busy || m.resize.err == "") &&
		!sameResources(m.allocated.Of(c.spec.Name), m.actuated.Of(c.spec.Name))
}

func (m *machine) resizedDone(in inResized) {
	m.resize.busy = false
	for name, actual := range in.Actual {
		if name == v1alpha1.WholePod {
			size := in.Resources[name]
			m.actual = unboosted(actual, size, cpuSize(in.Resources.Boosted(in.Boosts)[name]))
		} else if c := m.container(name); c != nil && c.phase == phaseRunning {
			c.actual = unboosted(actual, in.Resources[name], in.Boosts[name])
		}
	}
	m.boostTold(in)
	if in.Err != nil && !m.resize.active {
		return // it was about a boost
	}
	if in.Err != nil {
		m.resize.attempts++
		var cause string
		if m.resize.err, cause = m.resize.progress(in.Err); cause != m.resize.cause {
			m.resize.cause = cause
			m.event(corev1.EventTypeWarning, "ResizeError", "Pod resize error: "+m.resize.err, nil)
		}
		m.resize.retry.fail(m.now, resizeRetryLimit)
		return
	}
	m.actuated = in.Resources
	m.resized++
	m.resize.err, m.resize.cause, m.resize.retry, m.resize.kept = "", "", retry{}, false
	if in.MeterErr != nil {
		m.meterDirty = true
		m.meterRetry.fail(m.now, retryLimit)
	}
}

// progress says what keeps a resize from being done, and for how long it has been tried, which the next attempt
// brings up to date; and what of that is its cause, which stays the same meanwhile.
func (r *resizeState) progress(err error) (message, cause string) {
	var inUse *cgroups.MemoryInUseError
	if !errors.As(err, &inUse) {
		return err.Error(), err.Error()
	}
	who := "container " + path.Base(inUse.Path)
	if strings.HasPrefix(path.Base(path.Dir(inUse.Path)), "swell-") {
		who = "pod"
	}
	cause = fmt.Sprintf("%s has more memory in use than the new limit of %d bytes allows", who, inUse.Limit)
	return fmt.Sprintf("%s: %d bytes in use, %d to be given back; attempt %d since %s",
		cause, inUse.Usage, max(inUse.Usage-inUse.Limit, 0), r.attempts, r.since.UTC().Format(time.RFC3339)), cause
}

// decidePrepare brings the volumes up to date with their config maps and secrets.
func (m *machine) decidePrepare() {
	if !m.setUp {
		return
	}
	version := m.configVersion()
	if version != m.prepareWith {
		m.prepRetry = retry{}
	}
	if version != m.prepared && !m.preparing && m.due(m.prepRetry.at) {
		m.preparing, m.prepareWith = true, version
		m.emit(actVolumes{Version: version, IP: m.sandbox.IP})
	}
}

// decideUsage watches over the size of volumes that have a limit.
func (m *machine) decideUsage() {
	if !m.setUp {
		return
	}
	if hasSizeLimit(m.a.Pod) && !m.usageBusy && m.due(m.nextUsage) {
		m.usageBusy = true
		m.nextUsage = m.now.Add(usagePeriod)
		m.wake(m.nextUsage)
		m.emit(actUsage{})
	}
}

func (m *machine) volumesDone(in inVolumes) {
	m.preparing = false
	if in.Err != nil {
		m.event(corev1.EventTypeWarning, "FailedMount", in.Err.Error(), nil)
		m.prepRetry.fail(m.now, retryLimit)
		return
	}
	m.prepared, m.prepRetry = in.Version, retry{}
}

func hasSizeLimit(pod *corev1.Pod) bool {
	for i := range pod.Spec.Volumes {
		if e := pod.Spec.Volumes[i].EmptyDir; e != nil && e.SizeLimit != nil && !e.SizeLimit.IsZero() {
			return true
		}
	}
	return false
}
