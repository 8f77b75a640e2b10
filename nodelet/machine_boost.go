package nodelet

import (
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"swell.dev/swell/api/v1alpha1"
)

// A startup boost is CPU that a container has beyond its size from its start until it is ready. It is asked of
// the ledger, which answers while the container starts. Sizes, in the status and in what is actuated, are without
// it: the kernel is told of it on top.

// BoostReport is what a pod takes beyond its size while its containers start, in milli-CPU.
type BoostReport struct {
	Ask  int64 // the number of the wish; 0: what was wanted when the pod was placed
	Want int64
	Held int64 // what the kernel has been told, or is being told
}

// BoostGrant is the ledger's answer to a wish. It is all of it, or what was granted before.
type BoostGrant struct {
	Ask int64
	CPU int64 // milli
}

// boostState is a pod's boost.
type boostState struct {
	ask     int64            // the number of the wish; a larger one whenever more is wanted than before
	want    int64            // milli-CPU
	granted int64            // never more than is wanted
	denied  bool             // the ledger has answered that there is no room for all of it
	told    map[string]int64 // CPU in milli of the containers that are boosted, as the kernel was told last
	telling map[string]int64 // the same, where it is being told
	err     string
	retry   retry
	found   bool      // by a nodelet of before: what a placement granted is long decided
	known   bool      // it was ever wanted: its end has to be told as well
	asked   time.Time // when the wish was made that isn't answered yet
}

// noted is the CPU that containers have beyond their sizes or are about to have, which the next nodelet has to find.
func (b *boostState) noted() map[string]int64 {
	if len(b.telling) == 0 {
		return b.told
	}
	out := maps.Clone(b.telling)
	for name, cpu := range b.told {
		out[name] = max(out[name], cpu)
	}
	return out
}

// decideBoost finds out what containers want, and takes what they have to what is granted.
func (m *machine) decideBoost() {
	wanted := m.boostsWanted()
	m.wish(wanted)
	target := m.grantedBoosts(wanted)
	if !m.setUp || m.actuated == nil || m.resize.busy || maps.Equal(target, m.boost.told) || !m.due(m.boost.retry.at) {
		return
	}
	m.tell(m.actuated, target)
}

// tell has the kernel told of sizes and of what is beyond.
func (m *machine) tell(sizes v1alpha1.Sizes, boosts map[string]int64) {
	m.resize.busy, m.boost.telling = true, boosts
	act := actResize{Resources: sizes, Boosts: boosts, Attempts: make(map[string]int32)}
	for _, c := range m.containers {
		if c.phase == phaseRunning {
			act.Attempts[c.spec.Name] = c.attempt
		}
	}
	m.emit(act)
}

// boostsWanted answers the CPU of each container that starts, or that is about to for the first time.
func (m *machine) boostsWanted() map[string]int64 {
	boosts := m.boosts
	if len(boosts) == 0 || m.isSlot() || m.stop != nil || !m.adopted {
		return nil
	}
	var out map[string]int64
	for _, c := range m.containers {
		b := boosts.Of(c.spec.Name)
		if b == nil || c.kind == kindInit {
			continue
		}
		cpu := b.CPU(m.allocated.Of(c.spec.Name))
		if cpu == 0 || !m.starts(c, b) {
			continue
		}
		if out == nil {
			out = map[string]int64{}
		}
		out[c.spec.Name] = cpu
	}
	return out
}

// starts reports a container between its start and its being ready. Before its first start it counts for as long
// as a boost may last: the room was taken with the pod's, and isn't kept for a container that can't be made.
func (m *machine) starts(c *container, b *v1alpha1.Boost) bool {
	probed := c.spec.StartupProbe != nil || c.spec.ReadinessProbe != nil
	limit := b.Limit(probed)
	switch {
	case c.op == opRun, c.unroomy:
		return true
	case c.phase == phaseNone:
		return !m.due(m.startTime.Add(limit))
	case c.phase != phaseRunning || c.stop != nil || c.unboosted:
		return false
	}
	why := ""
	switch {
	case probed && c.started && c.ready && !c.hooking:
		why = "it is ready"
	case m.due(c.startedAt.Add(limit)):
		why = "its time is over"
	default:
		return true
	}
	c.unboosted = true
	if m.boost.told[c.spec.Name] > 0 {
		m.event(corev1.EventTypeNormal, "StartupBoostEnded", fmt.Sprintf("Container %s gets its size back after %s: %s",
			c.spec.Name, m.now.Sub(c.startedAt).Round(time.Millisecond), why), c)
	}
	return false
}

// boostAnswer bounds how long a container waits for an answer to the boost that it requires. Without a control plane
// pods go on.
const boostAnswer = 30 * time.Second

// boostHolds reports a container that doesn't start yet, as it requires a boost that isn't granted.
func (m *machine) boostHolds(c *container) bool {
	b := m.boosts.Of(c.spec.Name)
	if b == nil || !m.boosts.Required() || c.kind == kindInit || b.CPU(m.allocated[c.spec.Name]) == 0 {
		return false
	}
	c.unroomy = true
	m.wish(m.boostsWanted())
	switch {
	case m.boost.granted == m.boost.want:
		c.unroomy = false
		return false
	case m.boost.denied:
		c.waiting(reasonNoBoost, fmt.Sprintf("the node has no room for its startup boost, which is required: %s more CPU", milli(m.boost.want-m.boost.granted)))
	case m.due(m.boost.asked.Add(boostAnswer)):
		m.event(corev1.EventTypeWarning, "StartupBoostError",
			fmt.Sprintf("Container %s starts with what it has: no answer came within %s whether the node has room for its startup boost", c.spec.Name, boostAnswer), c)
		c.unroomy = false
		return false
	}
	return true
}

// reasonNoBoost is a waiting container's.
const reasonNoBoost = "StartupBoostDeferred"

// wish asks the ledger where more is wanted than before. Of what is wanted no more the grant is gone.
func (m *machine) wish(wanted map[string]int64) {
	b := &m.boost
	want := m.boostOf(m.allocated, wanted)
	switch {
	case want > b.want:
		if b.known || b.found {
			b.ask = max(b.ask+1, m.now.UnixNano())
		}
		b.want, b.known, b.denied, b.asked = want, true, false, m.now
	case want < b.want:
		b.want, b.denied = want, b.denied && want > b.granted
	}
	b.granted = min(b.granted, b.want)
	if g := m.a.Boost; g != nil {
		m.a.Boost = nil
		m.granted(*g)
	}
}

// granted takes the ledger's answer. One to an earlier wish says nothing any more.
func (m *machine) granted(g BoostGrant) {
	b := &m.boost
	if g.Ask != b.ask || b.want == 0 {
		return
	}
	b.granted = min(g.CPU, b.want)
	denied := b.granted < b.want
	if denied && !b.denied {
		until := "start with what they have"
		if m.boosts.Required() {
			until = "wait with their start"
		}
		m.event(corev1.EventTypeNormal, "StartupBoostDeferred",
			fmt.Sprintf("The node has no room for %s more CPU: containers %s until there is", milli(b.want-b.granted), until), nil)
	}
	b.denied = denied
}

// grantedBoosts is what of the wanted may be had by containers that run, and by those that the pod begins with. A
// container that is just being made keeps what it is made with: its cgroup can't be written before it is there.
func (m *machine) grantedBoosts(wanted map[string]int64) map[string]int64 {
	var out map[string]int64
	put := func(name string, cpu int64) {
		if out == nil {
			out = map[string]int64{}
		}
		out[name] = cpu
	}
	left, begins := m.boost.granted, m.initialized && m.fresh()
	for _, c := range m.containers {
		name := c.spec.Name
		if c.op == opRun {
			if now := m.boost.told[name]; now > 0 {
				put(name, now)
				left -= now - cpuSize(m.allocated.Of(name))
			}
			continue
		}
		if c.phase != phaseRunning && !begins {
			continue
		}
		size := cpuSize(m.allocated.Of(name))
		if cpu := min(wanted[name], size+left); cpu > size {
			put(name, cpu)
			left -= cpu - size
		}
	}
	return out
}

// boostOf is what the pod takes beyond those sizes while containers have that CPU.
func (m *machine) boostOf(sizes v1alpha1.Sizes, cpu map[string]int64) int64 {
	if sizes == nil {
		sizes = m.allocated // nothing has been told yet
	}
	return v1alpha1.BoostedCPU(m.a.Pod, sizes, cpu)
}

func cpuSize(r corev1.ResourceRequirements) int64 {
	cpu, _ := v1alpha1.SizeOf(r)
	return cpu
}

// boostTold ends a tell: what the kernel has now, or why it hasn't.
func (m *machine) boostTold(in inResized) {
	b := &m.boost
	b.telling = nil
	if in.Err != nil {
		if message := in.Err.Error(); !m.resize.active && message != b.err {
			b.err = message
			m.event(corev1.EventTypeWarning, "StartupBoostError", "Startup boost error: "+message, nil)
		}
		b.retry.fail(m.now, resizeRetryLimit)
		return
	}
	m.toldBoosts(in.Boosts)
}

// toldBoosts takes note of what the kernel was told.
func (m *machine) toldBoosts(now map[string]int64) {
	b := &m.boost
	for _, c := range m.containers {
		if cpu := now[c.spec.Name]; cpu > b.told[c.spec.Name] {
			m.event(corev1.EventTypeNormal, "StartupBoosted", fmt.Sprintf("Container %s has %s CPU while it starts", c.spec.Name, milli(cpu)), c)
		}
	}
	b.told, b.err, b.retry = now, "", retry{}
}

// boostHeld is what counts as held of what the kernel was told: what goes beyond the larger of what is admitted and
// what is actuated, which the ledger counts by itself.
func (m *machine) boostHeld(cpu map[string]int64) int64 {
	return min(m.boostOf(m.actuated, cpu), m.boostOf(m.allocated, cpu))
}

// boostReport is what the ledger has to know; nil: there never was anything.
func (m *machine) boostReport() *BoostReport {
	b := &m.boost
	held := max(m.boostHeld(b.told), m.boostHeld(b.telling))
	if b.found && !m.setUp && m.anyRunning() {
		held = max(held, b.want) // a checkpoint lags: what the kernel holds is known once the pod is set up again
	}
	if !b.known && held == 0 {
		return nil
	}
	return &BoostReport{Ask: b.ask, Want: b.want, Held: held}
}

// boostCondition says what the pod has beyond its size, or lacks; nil: neither.
func (m *machine) boostCondition() *corev1.PodCondition {
	b := &m.boost
	c := &corev1.PodCondition{Type: v1alpha1.ConditionStartupBoost, Status: corev1.ConditionTrue, ObservedGeneration: m.a.Pod.Generation}
	switch held := m.boostHeld(b.told); {
	case b.err != "":
		c.Status, c.Reason, c.Message = corev1.ConditionFalse, corev1.PodReasonError, b.err
	case held > 0:
		c.Reason, c.Message = "Starting", fmt.Sprintf("%s CPU beyond the pod's size", milli(held))
	case b.want > 0 && b.denied:
		c.Status, c.Reason, c.Message = corev1.ConditionFalse, corev1.PodReasonDeferred, fmt.Sprintf("the node has no room for %s more CPU", milli(b.want))
	default:
		return nil
	}
	return c
}

func milli(n int64) string { return resource.NewMilliQuantity(n, resource.DecimalSI).String() }

// unboosted takes a boost out of what the kernel holds for a container of that size: where it is what the kernel was
// told, the size stands.
func unboosted(kernel, size corev1.ResourceRequirements, cpu int64) corev1.ResourceRequirements {
	if cpu <= 0 {
		return kernel
	}
	told := v1alpha1.Boosted(size, cpu)
	plain := func(kernel, told, size corev1.ResourceList) corev1.ResourceList {
		got, ok := kernel[corev1.ResourceCPU]
		was, there := size[corev1.ResourceCPU]
		if !ok || !there || !near(told[corev1.ResourceCPU], got) {
			return kernel
		}
		out := maps.Clone(kernel)
		out[corev1.ResourceCPU] = was
		return out
	}
	kernel.Requests = plain(kernel.Requests, told.Requests, size.Requests)
	kernel.Limits = plain(kernel.Limits, told.Limits, size.Limits)
	return kernel
}
