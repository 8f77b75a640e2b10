package reflex

import (
	"cmp"
	"slices"
	"time"
)

// Sizes of steps and waits.
const (
	tickEvery  = 20 * time.Millisecond // between two looks at pods that burst
	quietAfter = 200 * time.Millisecond
	// restShare is how much of its size a pod at rest uses at most, in percent.
	restShare = 95
)

// Pod is what the core needs to know of one.
type Pod struct {
	UID    string
	Size   int64         // milli-CPU; 0: it has no limit, and so nothing to go beyond
	Bound  int64         // milli-CPU, the size included
	Budget time.Duration // CPU time
	Rank   int           // who comes first where room is short: the lowest
}

// change is a pod's next burst.
type change struct {
	uid        string
	extra, had int64 // milli-CPU beyond the size
}

// core decides. It belongs to whoever holds its lock.
type core struct {
	pool int64 // granted, milli-CPU
	held int64 // sum of all bursts

	memoryPool, memoryHeld int64 // likewise, bytes
	pods                   map[string]*pod
	out                    []change      // decided and not taken yet
	avoided                time.Duration // see account
}

type pod struct {
	Pod
	left  time.Duration // of the budget; below 0 by what one look was late
	extra int64
	used  int64         // CPU time at the last look, ns
	at    time.Duration // when that was
	quiet time.Duration // since when it rests; 0: it doesn't

	memory memoryOf

	beyond  int64 // milli-CPU that it used beyond its size at the last look
	bursts  int64
	metered burstSum
}

// burstSum is what a pod had beyond its size, summed up.
type burstSum struct {
	time time.Duration // with any burst
	cpu  int64         // milli-CPU × ns
	// memory is in KiB × ms: bytes × ns would be too many after a quarter of an hour of 10 GiB.
	memory int64
}

// most is the largest burst that the pod allows.
func (p *pod) most() int64 {
	if p.Size == 0 {
		return 0
	}
	return max(p.Bound-p.Size, 0)
}

func newCore() *core { return &core{pods: map[string]*pod{}} }

// set takes a pod up, or changes what it may. used is its CPU time so far, in ns.
func (c *core) set(next Pod, used int64, now time.Duration) {
	p := c.pods[next.UID]
	if p == nil {
		c.pods[next.UID] = &pod{Pod: next, left: next.Budget, used: used, at: now}
		return
	}
	c.account(p, used, now)
	p.left = min(p.left+max(next.Budget-p.Budget, 0), next.Budget)
	p.Pod = next
	if most := p.most(); p.extra > most {
		c.give(p, most)
	}
}

// remove forgets a pod; its burst has gone with it.
func (c *core) remove(uid string) {
	if p := c.pods[uid]; p != nil {
		c.held -= p.extra
		c.memoryHeld -= p.memory.extra
		delete(c.pods, uid)
	}
}

// want is what all could have at once.
func (c *core) want() int64 {
	var sum int64
	for _, p := range c.pods {
		sum += p.most()
	}
	return sum
}

// grant sets the pool. Of one that has become smaller, the last in rank give theirs up first.
func (c *core) grant(pool int64) {
	c.pool = pool
	c.takeBack(c.held-pool, nil)
}

// account brings a pod's budget up to date, and what its burst has spared it: the CPU time beyond its size over the
// CPUs that it ran on meanwhile, one at least. For as long its tasks would have stood still with the size alone: of each
// period they run for size/CPUs. What waits longer since it is stopped isn't in it, so it is rather too little.
func (c *core) account(p *pod, used int64, now time.Duration) {
	elapsed := now - p.at
	if elapsed <= 0 || used < p.used {
		p.used, p.at = used, now // the first look, or another counter
		return
	}
	beyond := time.Duration(used-p.used) - elapsed*time.Duration(p.Size)/1000
	p.left = min(p.left-beyond, p.Budget)
	p.beyond = max(int64(beyond)*1000/int64(elapsed), 0)
	if p.extra > 0 || p.memory.extra > 0 {
		p.metered.time += elapsed
		p.metered.memory += p.memory.extra >> 10 * int64(elapsed) / int64(time.Millisecond)
		p.metered.cpu += p.extra * int64(elapsed)
	}
	if p.extra > 0 && beyond > 0 {
		ran := max(time.Duration(used-p.used), elapsed)
		c.avoided += time.Duration(float64(beyond) * float64(elapsed) / float64(ran))
	}
	p.used, p.at = used, now
}

// throttled gives a pod that was stopped as much as it may have.
func (c *core) throttled(uid string, used int64, now time.Duration) {
	p := c.pods[uid]
	if p == nil {
		return
	}
	c.account(p, used, now)
	p.quiet = 0
	want := p.most()
	if p.left <= 0 || want <= p.extra {
		return
	}
	if short := want - p.extra - (c.pool - c.held); short > 0 {
		c.takeBack(short, p)
	}
	if give := min(want, p.extra+max(c.pool-c.held, 0)); give > p.extra {
		if p.extra == 0 {
			p.bursts++
		}
		c.give(p, give)
	}
}

// look is the regular one at a pod that bursts.
func (c *core) look(uid string, used int64, now time.Duration) {
	p := c.pods[uid]
	if p == nil || p.extra == 0 {
		return
	}
	before, since := p.used, p.at
	c.account(p, used, now)
	if now <= since {
		return
	}
	rests := used-before < int64(now-since)*p.Size/1000*restShare/100
	switch {
	case !rests:
		p.quiet = 0
	case p.quiet == 0:
		p.quiet = since
	}
	if p.left <= 0 || p.quiet > 0 && now-p.quiet >= quietAfter {
		c.give(p, 0)
	}
}

// slack is how far beyond what is there a burst may reach, so that a pod whose use varies isn't stopped at once.
const slack = 100 // milli-CPU, and a quarter

// contended takes back what the host has no CPU for. available is what it has idle, with what the bursts use.
func (c *core) contended(available int64) {
	c.takeBack(c.held-(max(available, 0)*5/4+slack), nil)
}

// takeBack takes so much from the pods of the last rank on, and for one that asks only from those after it.
func (c *core) takeBack(amount int64, asks *pod) {
	if amount <= 0 {
		return
	}
	var from []*pod
	for _, p := range c.pods {
		if p.extra > 0 && (asks == nil || p.Rank > asks.Rank) {
			from = append(from, p)
		}
	}
	// The largest first among equals, so that they come to have the same.
	slices.SortFunc(from, func(a, b *pod) int {
		return cmp.Or(cmp.Compare(b.Rank, a.Rank), cmp.Compare(b.extra, a.extra), cmp.Compare(a.UID, b.UID))
	})
	for _, p := range from {
		if amount <= 0 {
			return
		}
		take := min(amount, p.extra)
		c.give(p, p.extra-take)
		amount -= take
	}
}

func (c *core) give(p *pod, extra int64) {
	c.out = append(c.out, change{p.UID, extra, p.extra})
	c.held += extra - p.extra
	p.extra = extra
	if extra == 0 {
		p.quiet = 0
	}
}

// refused says that a change wasn't carried out: the pod has what it had.
func (c *core) refused(uid string, has int64) {
	if p := c.pods[uid]; p != nil {
		c.held += has - p.extra
		p.extra = has
	}
}

// beyond is what all bursts used lately, in milli-CPU.
func (c *core) beyond() int64 {
	var sum int64
	for _, p := range c.pods {
		if p.extra > 0 {
			sum += min(p.beyond, p.extra)
		}
	}
	return sum
}

// take answers what was decided, in order.
func (c *core) take() []change {
	out := c.out
	c.out = c.out[:0]
	return out
}

// bursting answers the pods that have more than their size.
func (c *core) bursting(into []string) []string {
	for uid, p := range c.pods {
		if p.extra > 0 {
			into = append(into, uid)
		}
	}
	return into
}
