package nodelet

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// probeKind is one of the three probes.
type probeKind uint8

const (
	probeStartup probeKind = iota + 1
	probeLiveness
	probeReadiness
)

func (k probeKind) String() string {
	return [...]string{"", "Startup", "Liveness", "Readiness"}[k]
}

// probeState counts one probe's answers in a row.
type probeState struct {
	next                time.Time
	busy                bool
	successes, failures int32
}

func (c *container) probe(kind probeKind) *corev1.Probe {
	switch kind {
	case probeStartup:
		return c.spec.StartupProbe
	case probeLiveness:
		return c.spec.LivenessProbe
	default:
		return c.spec.ReadinessProbe
	}
}

// decideProbes asks what is due. Liveness and readiness wait for the startup probe; nothing but
// readiness is asked of a container that is being stopped.
func (m *machine) decideProbes() {
	for _, c := range m.containers {
		if c.phase != phaseRunning || c.hooking || m.sandbox.IP == "" || c.kind == kindInit {
			continue
		}
		stopping := c.stop != nil || m.stop != nil
		for kind := probeStartup; kind <= probeReadiness; kind++ {
			p := c.probe(kind)
			if p == nil || (kind == probeStartup) == c.started || stopping && kind != probeReadiness {
				continue
			}
			s := c.probeState(kind)
			if s.busy || !m.due(s.next) {
				continue
			}
			s.busy = true
			s.next = m.now.Add(seconds(p.PeriodSeconds, 10))
			m.emit(actProbe{Container: c.spec.Name, Attempt: c.attempt, Kind: kind, Probe: p, IP: m.sandbox.IP})
		}
	}
}

func (c *container) probeState(kind probeKind) *probeState {
	if c.probes == nil {
		c.probes = make(map[probeKind]*probeState)
	}
	s := c.probes[kind]
	if s == nil {
		s = &probeState{next: c.startedAt.Add(seconds(c.probe(kind).InitialDelaySeconds, 0))}
		c.probes[kind] = s
	}
	return s
}

// seconds turns a field of a probe into time; zero means the API's default.
func seconds(n int32, otherwise int32) time.Duration {
	if n <= 0 {
		n = otherwise
	}
	return time.Duration(n) * time.Second
}

func (m *machine) probed(in inProbe) {
	c := m.container(in.Container)
	if c == nil || c.phase != phaseRunning || c.attempt != in.Attempt {
		return
	}
	p := c.probe(in.Kind)
	if p == nil {
		return
	}
	s := c.probeState(in.Kind)
	s.busy = false
	if in.NotAsked { // as in Kubernetes it counts neither way
		m.event(corev1.EventTypeWarning, "Unhealthy", fmt.Sprintf("%s probe errored and resulted in unknown state: %s", in.Kind, in.Message), c)
		return
	}
	if in.OK {
		s.successes, s.failures = s.successes+1, 0
	} else {
		s.successes, s.failures = 0, s.failures+1
		m.event(corev1.EventTypeWarning, "Unhealthy", fmt.Sprintf("%s probe failed: %s", in.Kind, in.Message), c)
	}
	passed := in.OK && s.successes >= max(p.SuccessThreshold, 1)
	threshold := p.FailureThreshold
	if threshold <= 0 {
		threshold = 3
	}
	failed := !in.OK && s.failures >= threshold
	switch {
	case in.Kind == probeReadiness && passed:
		c.ready = true
	case in.Kind == probeReadiness && failed:
		c.ready = false
	case in.Kind == probeStartup && passed:
		c.started = true
	case failed && c.stop == nil && m.stop == nil:
		word := "liveness"
		if in.Kind == probeStartup {
			word = "startup"
		}
		m.stopContainer(c, m.grace(p), fmt.Sprintf("Container %s failed %s probe, will be restarted", c.spec.Name, word))
		c.forced = true
	}
}
