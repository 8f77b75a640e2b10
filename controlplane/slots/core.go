package slots

import (
	"cmp"
	"container/list"
	"math"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/controlplane"
	"swell.dev/swell/internal/forecast"
)

// limits bound what is kept.
type limits struct {
	automatic bool          // also for workloads that no policy selects
	interval  time.Duration // between two looks
	day       time.Duration // length of the forecasters' day
	workloads int           // that are tracked
	each      int           // slots of a workload that no policy bounds
	share     float64       // of what is free, that all slots may hold
}

// core knows the workloads and their slots. Its methods are called one at a time.
type core struct {
	limits
	workloads map[controlplane.Workload]*workload
	recent    *list.List // of *workload, the one that came last first
	slots     map[string]*slot
	policies  policies
	tally     tally
	leavings  []string // slots of workloads that were forgotten
}

// workload is the pods of one tenant and template.
type workload struct {
	key      controlplane.Workload
	template *corev1.Pod // the latest; never changed
	demand   controlplane.Demand
	pinned   bool // a policy brings its template: it isn't forgotten
	at       *list.Element
	seen     time.Time // when one came last
	came     int       // since the last look
	total    int
	expects  *forecast.Forecaster // nil until a second pod has come
	slots    map[string]*slot
	wanted   int
	held     float64 // wanted, but slow to fall: what noise takes away is wanted again in a moment
	pace     pace
	born     time.Time // when it began to be tracked
	recent   [3]int    // came within the last looks
	hits     int64
	misses   int64
	failures int       // in a row
	retryAt  time.Time // after failures
	trouble  string    // why slots don't get ready
	policy   *policy   // that held at the last look; nil: none
}

// slot is one that was asked for.
type slot struct {
	uid   string
	of    *workload
	depth controlplane.SlotDepth // reached
	goal  controlplane.SlotDepth
	asked time.Time
	ready bool
}

func newCore(l limits) *core {
	return &core{
		limits: l, workloads: map[controlplane.Workload]*workload{}, recent: list.New(), slots: map[string]*slot{},
		policies: policies{}, tally: newTally(),
	}
}

// created learns from a pod that was stored.
func (c *core) created(pod *corev1.Pod, of controlplane.Workload, at controlplane.Placement, now time.Time) {
	w := c.workloads[of]
	if w == nil {
		w = c.track(of, now)
	}
	w.template, w.seen = pod, now
	w.came++
	w.total++
	c.recent.MoveToFront(w.at)
	if at.Slot == "" {
		w.misses++
		c.tally.misses[of.Namespace]++
		return
	}
	w.hits++
	c.tally.hit(of.Namespace, at.Depth)
	if s := c.drop(at.Slot); s != nil && !s.ready {
		w.pace.tooLate(now.Sub(s.asked))
	}
}

// track begins to know a workload. If there are too many, the one that came longest ago is forgotten.
func (c *core) track(of controlplane.Workload, now time.Time) *workload {
	for tries := 0; len(c.workloads) >= c.limits.workloads && tries < len(c.workloads); tries++ {
		if last := c.recent.Back().Value.(*workload); last.pinned {
			c.recent.MoveToFront(last.at)
		} else {
			c.forget(last)
		}
	}
	w := &workload{key: of, seen: now, slots: map[string]*slot{}, pace: newPace(), born: now}
	w.at = c.recent.PushFront(w)
	c.workloads[of] = w
	return w
}

func (c *core) forget(w *workload) {
	for uid := range w.slots {
		c.leavings = append(c.leavings, uid)
		delete(c.slots, uid)
	}
	c.recent.Remove(w.at)
	delete(c.workloads, w.key)
}

// takeLeavings answers the slots of workloads that were forgotten, to be dropped.
func (c *core) takeLeavings() []string {
	out := c.leavings
	c.leavings = nil
	slices.Sort(out)
	return out
}

// ask enters a slot that is about to be asked for.
func (c *core) ask(w *workload, uid string, now time.Time) {
	s := &slot{uid: uid, of: w, depth: controlplane.SlotCapacity, goal: c.policies.ruleOf(w).depth, asked: now}
	c.slots[uid], w.slots[uid] = s, s
}

// drop forgets a slot: it has its pod, or is gone.
func (c *core) drop(uid string) *slot {
	s := c.slots[uid]
	if s != nil {
		delete(c.slots, uid)
		delete(s.of.slots, uid)
	}
	return s
}

// reported takes over how far a slot has come. It answers false if the slot is gone with it.
func (c *core) reported(uid string, depth controlplane.SlotDepth, message string, now time.Time) bool {
	s := c.slots[uid]
	if s == nil {
		return true
	}
	w := s.of
	w.trouble = message
	if depth == controlplane.SlotNone {
		c.drop(uid)
		w.failures++
		w.retryAt = now.Add(min(maxRetry, time.Second<<min(w.failures, 10)))
		return false
	}
	s.depth = depth
	if depth >= s.goal && !s.ready {
		s.ready = true
		w.failures, w.retryAt = 0, time.Time{}
		w.pace.measured(now.Sub(s.asked), now)
	}
	return true
}

// maxRetry bounds the wait after slots of a workload have failed.
const maxRetry = 5 * time.Minute

// order is what a look at one workload asks for.
type order struct {
	of   *workload
	add  int
	drop []string // uids
}

// look ends an interval: every workload's arrivals are learned, and what is to be added and dropped is
// answered, the workloads that lack most first. Room is what pods leave of all nodes; a namespace that is closed
// gets none.
func (c *core) look(now time.Time, room controlplane.Demand, closed map[string]bool) []order {
	c.policies.look(now)
	for _, w := range c.workloads {
		c.learn(w, now)
		w.policy = c.policies.of(w)
	}
	c.policies.retire(c, now)
	for _, w := range c.workloads {
		if w.wanted = c.wants(w, now); closed[w.key.Namespace] {
			w.wanted, w.held = 0, 0
		} else if c.policies.ruleOf(w).off {
			w.held = 0
		}
		c.tally.idle(w, c.interval)
	}
	c.bound(room)
	var out []order
	for _, w := range c.workloads {
		w.held = max(float64(w.wanted), w.held-max(0.25, 0.1*(w.held-float64(w.wanted))))
		o := order{of: w, add: w.wanted - len(w.slots)}
		if surplus := len(w.slots) - int(math.Ceil(w.held)); surplus > 0 {
			o.drop = w.worst(surplus)
		}
		if o.add > 0 && !now.Before(w.retryAt) || len(o.drop) > 0 {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b order) int {
		return cmp.Or(cmp.Compare(b.add, a.add), cmp.Compare(a.of.key.Namespace, b.of.key.Namespace), cmp.Compare(a.of.key.Template, b.of.key.Template))
	})
	return out
}

func (c *core) learn(w *workload, now time.Time) {
	if w.demand == (controlplane.Demand{}) && w.template != nil {
		w.demand, _ = controlplane.PodDemand(w.template) // without the annotation, it has no error
	}
	w.recent = [3]int{w.came, w.recent[0], w.recent[1]}
	w.pace.rest(len(w.slots) == 0)
	switch {
	case w.expects != nil:
	case w.total >= 2:
		w.expects = forecast.New(forecast.Config{Step: c.interval, Day: c.day})
	default: // of most templates no second pod ever comes
		w.came = 0
		return
	}
	w.expects.Observe(now, float64(w.came))
	w.came = 0
}

// wants is how many slots a workload should have, the fleet's room aside.
func (c *core) wants(w *workload, now time.Time) int {
	rule := c.policies.ruleOf(w)
	if rule.off || w.policy == nil && !c.automatic || w.template == nil {
		return 0
	}
	n := 0
	if w.expects != nil {
		n = w.expects.Over(w.pace.plan() + c.interval).Quantile(rule.certainty)
	}
	most := c.each
	if rule.max >= 0 {
		most = rule.max
	}
	n = c.temper(w, n, rule, now)
	least := rule.min
	if w.policy != nil && w.policy.latest != w && now.Sub(w.seen) > c.day/96 {
		least = 0 // its successor has come
	}
	return min(max(n, least), most)
}

// worst answers the slots to drop first: those that have come least far, the latest asked for first.
func (w *workload) worst(n int) []string {
	all := make([]*slot, 0, len(w.slots))
	for _, s := range w.slots {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *slot) int {
		return cmp.Or(cmp.Compare(a.depth, b.depth), b.asked.Compare(a.asked), cmp.Compare(a.uid, b.uid))
	})
	out := make([]string, 0, n)
	for _, s := range all[:min(n, len(all))] {
		out = append(out, s.uid)
	}
	return out
}
