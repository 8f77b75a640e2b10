package reflex

import (
	"cmp"
	"slices"
	"time"
)

// How memory bursts go.
const (
	memoryQuiet = 10 * time.Second // a pod has more free than it needs for so long before it gets less
	minRoom     = 4 << 20
	maxRoom     = 64 << 20
	minStep     = 32 << 20
	maxStep     = 1 << 30
)

// memoryOf is what the core knows of a pod's memory, in bytes.
type memoryOf struct {
	size, bound int64 // size 0: it has no limit, and so nothing to go beyond
	extra       int64
	ending      bool          // the pod may burst no more, but still uses what it has
	quiet       time.Duration // since when it has more free than it needs; 0: it hasn't
	grown       int64         // how often
	starved     bool          // it is near to its limit, and lately nobody had any to give
	awaits      time.Duration // until then the pool may have more for it than is known
}

func (m *memoryOf) most() int64 {
	if m.size == 0 || m.ending {
		return 0
	}
	return max(m.bound-m.size, 0)
}

func (m *memoryOf) limit() int64 { return m.size + m.extra }

// room is how near to its limit a pod is guarded.
func (m *memoryOf) room() int64 { return min(max(m.limit()/16, minRoom), maxRoom) }

// isNear tells that it needs more than it has.
func (m *memoryOf) isNear(free int64) bool { return free < 2*m.room() }

// step is how much more it gets at a time.
func (m *memoryOf) step() int64 { return min(max(m.limit()/2, minStep), maxStep) }

// next is the step that it may still take.
func (m *memoryOf) next() int64 { return max(min(m.step(), m.most()-m.extra), 0) }

// idle is how much of what it has beyond its size it gives up without being near to its limit.
func (m *memoryOf) idle(free int64) int64 { return max(min(m.extra, free-2*m.room()), 0) }

// spare is what it keeps free when it gets less: enough for not getting more again at once.
func (m *memoryOf) spare() int64 { return max(4*m.room(), m.limit()/8) }

// memoryWant is what all could have at once.
func (c *core) memoryWant() int64 {
	var sum int64
	for _, p := range c.pods {
		sum += max(p.memory.most(), p.memory.extra)
	}
	return sum
}

// setMemory takes a pod's memory up, or changes what it may have. extra is what it has already.
func (c *core) setMemory(p *pod, size, bound, extra int64) {
	c.memoryHeld += extra - p.memory.extra
	p.memory.size, p.memory.bound, p.memory.extra, p.memory.ending = size, bound, extra, false
}

// canGrow answers whether a pod would get more now, if only of what others have.
func (c *core) canGrow(p *pod) bool {
	return c.memoryMore(p) > 0 || p.memory.next() > 0 && !p.memory.starved && len(c.memoryBehind(p)) > 0
}

// guards answers whether what comes near to a pod's limit is to wait: there is more, or may be.
func (c *core) guards(p *pod, now time.Duration) bool {
	return c.canGrow(p) || now < p.memory.awaits && p.memory.next() > 0
}

// await has all pods, or the one, wait for what the pool may have beyond what is known of it.
func (c *core) await(now time.Duration, only *pod) {
	for _, p := range c.pods {
		if only == nil || p == only {
			p.memory.awaits = now + grantWithin
		}
	}
}

// awaiting answers whether a pod waits so.
func (c *core) awaiting(now time.Duration) bool {
	for _, p := range c.pods {
		if now < p.memory.awaits {
			return true
		}
	}
	return false
}

// known ends that.
func (c *core) known() {
	for _, p := range c.pods {
		p.memory.awaits = 0
	}
}

func (c *core) memoryMore(p *pod) int64 {
	return max(min(p.memory.next(), c.memoryPool-c.memoryHeld-c.memoryKept(p)), 0)
}

// memoryKept is what a pod leaves in the pool: the largest step that one before it in rank may still want. Memory can't
// be taken back from who uses it, so it is there before it is needed.
func (c *core) memoryKept(p *pod) int64 {
	var kept int64
	for _, before := range c.pods {
		if before.Rank < p.Rank {
			kept = max(kept, before.memory.next())
		}
	}
	return kept
}

// memoryLacks is what the pool is short of for the next step of a pod that has so much free.
func (c *core) memoryLacks(p *pod, free int64) int64 {
	if !p.memory.isNear(free) {
		return 0
	}
	return p.memory.next() - c.memoryMore(p)
}

// memoryBehind answers the pods after one in rank that have more memory than their size, the last first.
func (c *core) memoryBehind(p *pod) []string {
	var behind []*pod
	for _, other := range c.pods {
		if other.Rank > p.Rank && other.memory.extra > 0 {
			behind = append(behind, other)
		}
	}
	slices.SortFunc(behind, func(a, b *pod) int {
		return cmp.Or(cmp.Compare(b.Rank, a.Rank), cmp.Compare(b.memory.extra, a.memory.extra), cmp.Compare(a.UID, b.UID))
	})
	uids := make([]string, len(behind))
	for i, other := range behind {
		uids[i] = other.UID
	}
	return uids
}

// giveWay answers what a pod that has so much free comes down to for one before it in rank that lacks so much: by no
// more than that, and so that it doesn't ask for it again at once.
func (p *pod) giveWay(free, lacks int64) (extra int64) {
	return p.memory.extra - max(min(lacks, p.memory.idle(free)), 0)
}

// near answers what a pod gets that has so much free: as much as before, where that is enough or there is no more.
// It counts as held at once.
func (c *core) near(p *pod, free int64) (extra int64) {
	m := &p.memory
	more := c.memoryMore(p)
	m.starved = m.isNear(free) && more == 0
	if !m.isNear(free) || more == 0 {
		return m.extra
	}
	if m.extra == 0 && p.extra == 0 {
		p.bursts++
	}
	m.grown++
	m.quiet = 0
	c.memoryIs(p, m.extra+more)
	return m.extra
}

// memoryIs notes what a pod has.
func (c *core) memoryIs(p *pod, extra int64) {
	c.memoryHeld += extra - p.memory.extra
	p.memory.extra = extra
}

// lower answers what a pod that has so much free should come down to. The caller tries, and notes it where that
// works.
func (c *core) lower(p *pod, free int64, now time.Duration) (extra int64) {
	m := &p.memory
	extra = m.extra
	if over := max(m.extra-m.most(), c.memoryHeld-c.memoryPool); over > 0 {
		return max(m.extra-over, 0) // at once, as far as it isn't in use
	}
	target := m.target(free)
	switch {
	case target >= m.extra:
		m.quiet = 0
	case m.quiet == 0:
		m.quiet = now
	case now-m.quiet >= memoryQuiet:
		extra, m.quiet = target, 0
	}
	return extra
}

// target is where it comes to rest: its size, if there it has enough free, or else what it uses and some more.
func (m *memoryOf) target(free int64) int64 {
	atSize := memoryOf{size: m.size}
	if free-m.extra >= 2*atSize.room() {
		return 0
	}
	if free < 2*m.spare() {
		return m.extra
	}
	return max(m.extra-(free-m.spare()), 0)
}

// memoryBursting answers the pods that have more memory than their size.
func (c *core) memoryBursting(into []string) []string {
	for uid, p := range c.pods {
		if p.memory.extra > 0 || p.memory.ending {
			into = append(into, uid)
		}
	}
	return into
}
