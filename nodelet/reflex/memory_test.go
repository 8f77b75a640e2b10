package reflex

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"swell.dev/swell/nodelet"
)

const mib = 1 << 20

// memoryPod adds a pod to the core.
func (w *world) memoryPod(uid string, size, bound int64) *pod {
	w.core.set(Pod{UID: uid}, 0, w.now)
	p := w.core.pods[uid]
	w.core.setMemory(p, size, bound, 0)
	return p
}

// use has the core look at a pod that uses so much, as often as it takes.
func (w *world) use(p *pod, bytes int64) {
	for {
		had := p.memory.extra
		if w.core.near(p, max(p.memory.limit()-bytes, 0)) == had {
			return
		}
	}
}

// rest looks once.
func (w *world) rest(p *pod, bytes int64, after time.Duration) {
	w.now += after
	w.core.memoryIs(p, w.core.lower(p, p.memory.limit()-bytes, w.now))
}

func TestMemoryGrowsAheadOfItsUseAndComesBack(t *testing.T) {
	w := newWorld(t, 0)
	w.core.memoryPool = 4096 * mib
	p := w.memoryPod("a", 256*mib, 2048*mib)
	want := func(what string, extra int64) {
		t.Helper()
		if p.memory.extra != extra*mib {
			t.Errorf("%s: %d MiB beyond its size, want %d", what, p.memory.extra/mib, extra)
		}
	}
	w.use(p, 200*mib)
	want("with an eighth free", 0)
	w.use(p, 230*mib)
	want("with less", 128)
	w.use(p, 300*mib)
	want("with enough again", 128)
	w.use(p, 900*mib)
	want("in two more steps", 1040)
	w.use(p, 2048*mib)
	want("at its bound", 1792)
	if w.core.canGrow(p) {
		t.Error("it is guarded at its bound, where the kernel is to decide")
	}
	w.rest(p, 300*mib, time.Second)
	w.rest(p, 300*mib, 9*time.Second)
	want("resting for 9 s", 1792)
	w.rest(p, 300*mib, 2*time.Second)
	if free := p.memory.limit() - 300*mib; free < 2*p.memory.room() || p.memory.extra > 400*mib {
		t.Errorf("after rest: %d MiB beyond its size", p.memory.extra/mib)
	}
	w.use(p, 300*mib)
	lowered := p.memory.extra
	w.rest(p, 300*mib, time.Second)
	w.rest(p, 300*mib, time.Minute)
	if p.memory.extra != lowered {
		t.Errorf("it goes on without reason from %d to %d MiB", lowered/mib, p.memory.extra/mib)
	}
	w.rest(p, 100*mib, time.Second)
	w.rest(p, 100*mib, 10*time.Second)
	want("with all in its size", 0)
	if p.bursts != 1 || w.core.memoryHeld != 0 {
		t.Errorf("%d bursts, %d bytes are held", p.bursts, w.core.memoryHeld)
	}
}

func TestMemoryPool(t *testing.T) {
	w := newWorld(t, 0)
	w.core.memoryPool = 200 * mib
	a, b := w.memoryPod("a", 256*mib, 2048*mib), w.memoryPod("b", 256*mib, 2048*mib)
	w.use(a, 250*mib)
	w.use(b, 250*mib)
	if a.memory.extra != 128*mib || b.memory.extra != 72*mib {
		t.Errorf("%d and %d MiB of a pool of 200", a.memory.extra/mib, b.memory.extra/mib)
	}
	if w.core.canGrow(a) || w.core.canGrow(b) {
		t.Error("there is more than the pool")
	}
	if want := int64(2 * 1792 * mib); w.core.memoryWant() != want {
		t.Errorf("%d bytes are wanted, want %d", w.core.memoryWant(), want)
	}
	w.core.memoryPool = 100 * mib
	w.rest(a, 250*mib, time.Millisecond)
	if a.memory.extra != 28*mib {
		t.Errorf("a smaller pool leaves %d MiB, want 28", a.memory.extra/mib)
	}
	unlimited := w.memoryPod("c", 0, 2048*mib)
	if w.use(unlimited, 0); unlimited.memory.extra != 0 {
		t.Error("without a limit there is nothing to raise")
	}
}

// ranked is memoryPod with a rank.
func (w *world) ranked(uid string, rank int, size, bound int64) *pod {
	p := w.memoryPod(uid, size, bound)
	p.Rank = rank
	return p
}

func TestMemoryByRank(t *testing.T) {
	w := newWorld(t, 0)
	w.core.memoryPool = 400 * mib
	web := w.ranked("web", nodelet.RankCritical, 256*mib, 1024*mib)
	a := w.ranked("a", nodelet.RankDefault, 256*mib, 384*mib)
	batch := w.ranked("batch", nodelet.RankBestEffort, 256*mib, 2048*mib)
	has := func(what string, wantWeb, wantA, wantBatch int64) {
		t.Helper()
		if web.memory.extra != wantWeb*mib || a.memory.extra != wantA*mib || batch.memory.extra != wantBatch*mib {
			t.Errorf("%s: web has %d MiB beyond its size, a %d, batch %d", what, web.memory.extra/mib, a.memory.extra/mib, batch.memory.extra/mib)
		}
	}
	w.use(a, 250*mib)
	w.use(batch, 700*mib)
	has("batch leaves the step that web may want", 0, 128, 144)
	if w.core.canGrow(a) || w.core.canGrow(batch) {
		t.Error("what is kept for web is guarded for others")
	}
	w.use(web, 250*mib)
	has("it wants it", 128, 128, 144)
	if !w.core.canGrow(web) {
		t.Error("web can have what batch and a don't use")
	}
	if lacks := w.core.memoryLacks(web, 10*mib); lacks != 192*mib {
		t.Errorf("its next step lacks %d MiB", lacks/mib)
	}
	if lacks := w.core.memoryLacks(web, 200*mib); lacks != 0 {
		t.Errorf("with 200 MiB free it lacks %d MiB", lacks/mib)
	}
	if behind := fmt.Sprint(w.core.memoryBehind(web), w.core.memoryBehind(a), w.core.memoryBehind(batch)); behind != "[batch a] [batch] []" {
		t.Errorf("behind them are %s", behind)
	}
	if to := batch.giveWay(20*mib, 192*mib); to != batch.memory.extra {
		t.Errorf("batch gives %d MiB that it uses", (batch.memory.extra-to)/mib)
	}
	if to := batch.giveWay(100*mib, 10*mib); to != 134*mib {
		t.Errorf("batch comes down to %d MiB for 10", to/mib)
	}
	if to := batch.giveWay(390*mib, 192*mib); to != 0 {
		t.Errorf("batch, that uses nothing, comes down to %d MiB", to/mib)
	}
	if w.core.near(web, 10*mib); w.core.canGrow(web) {
		t.Error("web waits at its limit though nobody had any to give")
	}
	w.core.memoryIs(batch, 0)
	if w.core.near(web, 10*mib); web.memory.extra != 272*mib || !w.core.canGrow(web) {
		t.Errorf("with what batch gave web has %d MiB beyond its size", web.memory.extra/mib)
	}
}

func TestMemoryIsMetered(t *testing.T) {
	w := newWorld(t, 0)
	w.core.memoryPool = 200 * mib
	p := w.memoryPod("a", 256*mib, 384*mib)
	w.use(p, 250*mib)
	for range 3600 {
		w.now += time.Second
		w.core.account(p, 0, w.now)
	}
	if p.metered.time != time.Hour || p.metered.memory/1024 != 128*time.Hour.Milliseconds() {
		t.Errorf("%+v", p.metered)
	}
}

// TestMemoryBounds: whatever happens, no pod is raised above what it allows, and all together not above the pool.
func TestMemoryBounds(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t, 0)
		for step := range 300 {
			uid := fmt.Sprint(random.IntN(6))
			p := w.core.pods[uid]
			if p == nil {
				p = w.ranked(uid, random.IntN(3), random.Int64N(512*mib), random.Int64N(4096*mib))
			}
			had, held := p.memory.extra, w.core.memoryHeld
			switch random.IntN(9) {
			case 8:
				free := random.Int64N(p.memory.limit() + 1)
				to := p.giveWay(free, random.Int64N(1024*mib))
				if to > had || to < 0 || had-to > free {
					t.Fatalf("seed %d, step %d: gives way from %d to %d with %d free", seed, step, had, to, free)
				}
				w.core.memoryIs(p, to)
			case 0:
				w.core.setMemory(p, random.Int64N(512*mib), random.Int64N(4096*mib), had)
			case 1:
				w.core.remove(uid)
			case 2:
				w.core.memoryPool = random.Int64N(4096 * mib)
			case 3, 4, 5:
				w.core.near(p, random.Int64N(256*mib))
				if p.memory.extra > had && (p.memory.extra > p.memory.most() || w.core.memoryHeld > w.core.memoryPool) {
					t.Fatalf("seed %d, step %d: raised from %d to %d, allowed are %d, held %d of %d", seed, step, had, p.memory.extra, p.memory.most(), w.core.memoryHeld, w.core.memoryPool)
				}
			default:
				if w.rest(p, random.Int64N(p.memory.limit()+1), 5*time.Second); p.memory.extra > had || p.memory.extra < 0 {
					t.Fatalf("seed %d, step %d: lowered from %d to %d", seed, step, had, p.memory.extra)
				}
			}
			if w.core.memoryHeld > max(held, w.core.memoryPool) {
				t.Fatalf("seed %d, step %d: %d held, %d before, pool %d", seed, step, w.core.memoryHeld, held, w.core.memoryPool)
			}
			var sum int64
			for _, p := range w.core.pods {
				sum += p.memory.extra
			}
			if sum != w.core.memoryHeld {
				t.Fatalf("seed %d, step %d: bursts of %d, counted %d", seed, step, sum, w.core.memoryHeld)
			}
		}
	}
}
