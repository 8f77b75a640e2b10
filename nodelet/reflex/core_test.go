package reflex

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"swell.dev/swell/nodelet"
)

const ms = time.Millisecond

// world runs a core beside CPU time that the test gives out.
type world struct {
	t    *testing.T
	core *core
	now  time.Duration
	used map[string]int64
	last map[string]int64 // bursts as they were carried out
}

func newWorld(t *testing.T, pool int64, pods ...Pod) *world {
	w := &world{t: t, core: newCore(), now: time.Second, used: map[string]int64{}, last: map[string]int64{}}
	w.core.grant(pool)
	for _, p := range pods {
		w.core.set(p, 0, w.now)
	}
	return w
}

// run lets time pass, in which a pod uses so much CPU, and looks.
func (w *world) run(d time.Duration, uid string, milli int64) {
	w.now += d
	w.used[uid] += int64(d) * milli / 1000
	w.core.look(uid, w.used[uid], w.now)
	w.carryOut()
}

func (w *world) stop(uid string) {
	w.core.throttled(uid, w.used[uid], w.now)
	w.carryOut()
}

func (w *world) carryOut() {
	for _, ch := range w.core.take() {
		if ch.had != w.last[ch.uid] {
			w.t.Errorf("%s is to go from %d to %d, it has %d", ch.uid, ch.had, ch.extra, w.last[ch.uid])
		}
		w.last[ch.uid] = ch.extra
	}
}

func (w *world) want(what string, bursts map[string]int64) {
	w.t.Helper()
	for uid, want := range bursts {
		if w.last[uid] != want {
			w.t.Errorf("%s: %s has %dm beyond its size, want %dm", what, uid, w.last[uid], want)
		}
	}
}

func TestBurstToTheBoundAndBack(t *testing.T) {
	w := newWorld(t, 10_000, Pod{UID: "a", Size: 200, Bound: 2000, Budget: 10 * time.Second})
	w.want("before", map[string]int64{"a": 0})
	w.stop("a")
	w.want("stopped", map[string]int64{"a": 1800})
	w.stop("a")
	w.want("stopped again, at the bound", map[string]int64{"a": 1800})
	for range 20 {
		w.run(20*ms, "a", 2000)
	}
	w.want("busy", map[string]int64{"a": 1800})
	for range 9 {
		w.run(20*ms, "a", 50)
	}
	w.want("resting for 180 ms", map[string]int64{"a": 1800})
	w.run(20*ms, "a", 50)
	w.want("resting for 200 ms", map[string]int64{"a": 0})
	p := w.core.pods["a"]
	if p.bursts != 1 || p.metered.time != 600*ms || p.metered.cpu != 1800*int64(600*ms) {
		t.Errorf("%d bursts, %+v", p.bursts, p.metered)
	}
}

func TestBudget(t *testing.T) {
	w := newWorld(t, 10_000, Pod{UID: "a", Size: 500, Bound: 1500, Budget: time.Second})
	w.stop("a")
	for range 49 { // one CPU beyond its size, for 980 ms
		w.run(20*ms, "a", 1500)
	}
	w.want("before it is used up", map[string]int64{"a": 1000})
	w.run(20*ms, "a", 1500)
	w.want("used up", map[string]int64{"a": 0})
	w.stop("a")
	w.want("stopped with nothing left", map[string]int64{"a": 0})
	w.now += time.Second // at rest, it gets its whole size
	w.stop("a")
	w.want("half a second later in CPU time", map[string]int64{"a": 1000})
	if left := w.core.pods["a"].left; left != 500*ms {
		t.Errorf("%s is left", left)
	}
	w.core.set(Pod{UID: "a", Size: 500, Bound: 1500, Budget: 3 * time.Second}, w.used["a"], w.now)
	if left := w.core.pods["a"].left; left != 2500*ms {
		t.Errorf("%s is left of a larger budget", left)
	}
	w.core.set(Pod{UID: "a", Size: 500, Bound: 1500, Budget: 100 * ms}, w.used["a"], w.now)
	if left := w.core.pods["a"].left; left != 100*ms {
		t.Errorf("%s is left of a smaller budget", left)
	}
}

func TestPoolIsSharedByRank(t *testing.T) {
	pod := func(uid string, rank int) Pod {
		return Pod{UID: uid, Size: 100, Bound: 1100, Budget: time.Minute, Rank: rank}
	}
	w := newWorld(t, 2000, pod("batch", nodelet.RankBestEffort), pod("a", nodelet.RankDefault), pod("b", nodelet.RankDefault), pod("web", nodelet.RankCritical))
	w.stop("batch")
	w.stop("a")
	w.want("both fit", map[string]int64{"batch": 1000, "a": 1000})
	w.stop("b")
	w.want("best-effort gives way", map[string]int64{"batch": 0, "a": 1000, "b": 1000})
	w.stop("batch")
	w.want("which it takes from nobody", map[string]int64{"batch": 0})
	w.stop("web")
	w.want("the critical one comes first", map[string]int64{"a": 0, "b": 1000, "web": 1000})
	w.core.grant(500)
	w.carryOut()
	w.want("a smaller pool", map[string]int64{"a": 0, "b": 0, "web": 500})
	w.core.grant(3000)
	w.carryOut()
	w.stop("web")
	w.want("a larger one", map[string]int64{"web": 1000})
	w.core.set(Pod{UID: "web", Size: 900, Bound: 1100, Budget: time.Minute}, 0, w.now)
	w.carryOut()
	w.want("grown by a resize", map[string]int64{"web": 200})
	w.core.remove("web")
	if w.core.held != 0 {
		t.Errorf("%dm are held by nobody", w.core.held)
	}
}

func TestNoIdleCPU(t *testing.T) {
	w := newWorld(t, 10_000, Pod{UID: "a", Size: 100, Bound: 4100, Budget: time.Minute})
	w.stop("a")
	w.run(100*ms, "a", 1100)
	w.core.contended(600 + w.core.beyond())
	w.carryOut()
	w.want("1000m used beyond its size and 600m idle", map[string]int64{"a": 1600*5/4 + slack})
}

func TestRefused(t *testing.T) {
	w := newWorld(t, 1000, Pod{UID: "a", Size: 100, Bound: 1100, Budget: time.Minute}, Pod{UID: "b", Bound: 1000, Budget: time.Minute})
	w.core.throttled("a", 0, w.now)
	w.core.take()
	w.core.refused("a", 0)
	if w.core.held != 0 {
		t.Errorf("%dm are held that weren't given", w.core.held)
	}
	w.stop("a")
	w.want("tried again", map[string]int64{"a": 1000})
	w.stop("b")
	w.want("without a limit there is nothing to raise", map[string]int64{"b": 0})
	if w.core.want() != 1000 {
		t.Errorf("%dm are wanted", w.core.want())
	}
}

// TestBounds: whatever happens, no pod has more than it allows, all together no more than the pool, and no budget
// grows beyond what it may be.
func TestBounds(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		w := newWorld(t, random.Int64N(8000))
		for step := range 300 {
			uid := fmt.Sprint(random.IntN(8))
			switch random.IntN(10) {
			case 0:
				w.core.set(Pod{UID: uid, Size: random.Int64N(2000), Bound: random.Int64N(6000), Budget: time.Duration(1 + random.Int64N(int64(10*time.Second))), Rank: random.IntN(3)}, w.used[uid], w.now)
			case 1:
				w.core.remove(uid)
				delete(w.last, uid)
			case 2:
				w.core.grant(random.Int64N(8000))
			case 3:
				w.core.contended(random.Int64N(8000))
			case 4, 5, 6:
				w.core.throttled(uid, w.used[uid], w.now)
			default:
				milli := random.Int64N(6000)
				if p := w.core.pods[uid]; p != nil {
					milli = min(milli, p.Size+p.extra)
				}
				w.run(20*ms, uid, milli)
			}
			w.carryOut()
			var sum int64
			for uid, p := range w.core.pods {
				sum += p.extra
				if p.extra < 0 || p.extra > p.most() || p.extra != w.last[uid] {
					t.Fatalf("seed %d, step %d: %s has %d, allows %d, was given %d", seed, step, uid, p.extra, p.most(), w.last[uid])
				}
				if p.left > p.Budget {
					t.Fatalf("seed %d, step %d: %s has %s left of %s", seed, step, uid, p.left, p.Budget)
				}
			}
			if sum != w.core.held || sum > w.core.pool {
				t.Fatalf("seed %d, step %d: bursts of %d, counted %d, in a pool of %d", seed, step, sum, w.core.held, w.core.pool)
			}
		}
	}
}

// TestAvoided: what is spared is CPU time beyond the size, by the CPUs that it was used on, and only during bursts.
func TestAvoided(t *testing.T) {
	w := newWorld(t, 10_000, Pod{UID: "a", Size: 200, Bound: 4200, Budget: time.Minute})
	want := func(what string, d time.Duration) {
		t.Helper()
		if off := w.core.avoided - d; off < -time.Microsecond || off > time.Microsecond {
			t.Errorf("%s: %s avoided, want %s", what, w.core.avoided, d)
		}
	}
	w.run(20*ms, "a", 4000)
	want("beyond its size without a burst, as it had saved that up", 0)
	w.stop("a")
	want("stopped just now", 0)
	w.run(100*ms, "a", 100)
	want("within its size", 0)
	w.run(100*ms, "a", 1000)
	want("one CPU, of which its size is 20 of 100 ms", 80*ms)
	w.run(100*ms, "a", 4000)
	want("four CPUs, on which its size lasts for 5 ms", 175*ms)
	w.run(100*ms, "a", 500)
	want("half a CPU, no more than the 30 ms that it used beyond its size", 205*ms)
	for range 10 {
		w.run(20*ms, "a", 0)
	}
	w.want("at rest", map[string]int64{"a": 0})
	w.run(100*ms, "a", 300)
	want("after its burst", 205*ms)
}
