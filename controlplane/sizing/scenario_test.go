package sizing

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/internal/histogram"
)

var epoch = time.Unix(1_700_000_000, 0)

// pod plays a container with a demand, limited by its size, and tells of it as a nodelet does: a reading of ten
// seconds stands for all six of a minute.
type pod struct {
	u      *usage
	size   amounts
	window time.Time
	told   int // bucket of the window's peak, from 1
	peak   float64
	killed int
}

func (p *pod) minute(now time.Time, cores, memory float64) {
	limit := float64(p.size.cpu) / 1000
	used, wanted := min(cores, limit), cores
	throttled := time.Duration(0)
	if cores > limit {
		throttled = time.Minute
		wanted = min(cores, 2*limit) // as the nodelet censors it
	}
	_ = used
	var counts histogram.Counts
	counts.Add(histogram.CPU.Of(wanted), uint32(60*max(p.size.cpu/10, 10)))
	h := &nodev1.ContainerHistory{
		Name: "main", UntilUnixMilli: now.UnixMilli(), ObservedMillis: 60_000, ThrottledMillis: throttled.Milliseconds(), Readings: 6, Cpu: counts.Wire(),
	}
	if !now.Before(p.window) {
		p.window, p.told, p.peak = now.Add(24*time.Hour), 0, 0
	}
	if p.peak = max(p.peak, min(memory, float64(p.size.memory))); memory > float64(p.size.memory) {
		p.killed++
		p.peak = max(p.peak, float64(p.size.memory)*1.2, float64(p.size.memory)+1e8)
	}
	if is := histogram.Memory.Of(p.peak) + 1; is != p.told {
		h.Peaks = []*nodev1.MemoryPeak{{WindowEndUnix: p.window.Unix(), Was: uint32(p.told), Is: uint32(is)}}
		p.told = is
	}
	if err := p.u.add(h, now); err != nil {
		panic(err)
	}
}

// play runs a policy over days and answers the sizes it set.
func play(days int, size amounts, b bounds, demand func(at time.Duration) (cores, memory float64)) (p *pod, changes []amounts, when []time.Duration) {
	p = &pod{u: newUsage(24 * time.Hour), size: size}
	last := time.Duration(0)
	for at := time.Duration(0); at < time.Duration(days)*24*time.Hour; at += time.Minute {
		now := epoch.Add(at)
		cores, memory := demand(at)
		p.minute(now, cores, memory)
		if at < 10*time.Minute && p.killed == 0 || at-last < 5*time.Minute {
			continue
		}
		e, ok := p.u.estimate(defaultAims, 24*time.Hour, now)
		if !ok {
			continue
		}
		if next := b.step(p.size, &e, int64(1.15*memory)); next != p.size {
			p.size, last = next, at
			changes, when = append(changes, next), append(when, at)
		}
	}
	return p, changes, when
}

var usual = bounds{cpu: true, memory: true, change: 0.1, up: 1, down: 0.5}

// TestEvenLoad: a load without change has its size after a few steps, from below and from above, and keeps it.
func TestEvenLoad(t *testing.T) {
	for _, start := range []amounts{{50, 64 * mib}, {16_000, 32 << 30}} {
		p, changes, when := play(6, start, usual, func(time.Duration) (float64, float64) { return 0.5, 400e6 })
		wantCPU, wantMemory := histogram.CPU.End(histogram.CPU.Of(0.5))*1.15, histogram.Memory.End(histogram.Memory.Of(400e6))*1.15
		cpu, memory := float64(p.size.cpu)/1000, float64(p.size.memory)
		if math.Abs(cpu/wantCPU-1) > 0.11 && start.cpu < 1000 || cpu < 0.5 || cpu > 2*wantCPU {
			t.Errorf("from %+v: CPU is %g, want about %g; changes %v", start, cpu, wantCPU, changes)
		}
		if start.cpu < 1000 && p.killed > 25 || memory < 400e6 || start.cpu > 1000 && memory > 2*wantMemory {
			t.Errorf("from %+v: memory is %g, want %g or what its kills say; %d kills", start, memory, wantMemory, p.killed)
		}
		if len(changes) > 20 {
			t.Errorf("from %+v: %d changes: %v", start, len(changes), changes)
		}
		if n := len(when); n > 0 && when[n-1] > 5*24*time.Hour {
			t.Errorf("from %+v: the last change is after %s", start, when[n-1])
		}
	}
}

// TestGrowsWithinMinutes: a container that is throttled from its start on has what it wants in a few cooldowns.
func TestGrowsWithinMinutes(t *testing.T) {
	_, changes, when := play(1, amounts{100, 1 << 30}, usual, func(time.Duration) (float64, float64) { return 1.5, 200e6 })
	grown := time.Duration(-1)
	for i := range changes {
		if changes[i].cpu >= 1500 {
			grown = when[i]
			break
		}
	}
	if grown < 0 || grown > time.Hour {
		t.Errorf("has 1500m after %s: %v at %v", grown, changes, when)
	}
	for i := range changes {
		if changes[i].memory != 1<<30 && when[i] < 23*time.Hour {
			t.Errorf("memory shrinks before it was seen for a day, to %d after %s", changes[i].memory, when[i])
		}
	}
}

// TestDayAndNight: loads with a rhythm of a day, of any make. The size comes to rest: after some days it doesn't
// follow day and night, nor go up and down; and it suffices for most of the time.
func TestDayAndNight(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		base, swing, noise := 0.05+random.Float64(), random.Float64()*3, random.Float64()*0.3
		shape, busy := random.IntN(3), 2+random.Float64()*10 // hours
		memBase, memSwing := 50e6+random.Float64()*1e9, random.Float64()*1e9
		rhythm := func(at time.Duration) float64 {
			hour := math.Mod(at.Hours(), 24)
			switch shape {
			case 0:
				return (1 + math.Sin(2*math.Pi*hour/24)) / 2
			case 1: // office hours
				if hour >= 9 && hour < 9+busy {
					return 1
				}
				return 0
			}
			return math.Exp(-math.Pow((hour-12)/busy, 2)) // a peak at noon
		}
		over, total := 0, 0
		var p *pod
		p, changes, when := play(14, amounts{50 + random.Int64N(8000), (2 + random.Int64N(30)) << 30}, usual, func(at time.Duration) (float64, float64) {
			r := rhythm(at)
			return max(0, base+swing*r+noise*random.NormFloat64()), memBase + memSwing*r
		})
		late, turns := 0, 0
		for i := range changes {
			if when[i] < 7*24*time.Hour {
				continue
			}
			late++
			if i > 1 && (changes[i].cpu > changes[i-1].cpu) != (changes[i-1].cpu > changes[i-2].cpu) && changes[i].cpu != changes[i-1].cpu && changes[i-1].cpu != changes[i-2].cpu {
				turns++
			}
		}
		if late > 4 || turns > 1 {
			t.Errorf("%g + %g (shape %d): %d changes in the second week, %d turns: %v at %v", base, swing, shape, late, turns, changes, when)
		}
		for at := time.Duration(0); at < 24*time.Hour; at += time.Minute {
			total++
			if base+swing*rhythm(at) > float64(p.size.cpu)/1000 {
				over++
			}
		}
		if share := float64(over) / float64(total); share > 0.11 {
			t.Errorf("%g + %g (shape %d): too small for %.0f %% of the day: %d", base, swing, shape, 100*share, p.size.cpu)
		}
		if float64(p.size.memory) < memBase+memSwing || p.killed > 0 {
			t.Errorf("memory of %g and %g more: %d bytes, %d kills", memBase, memSwing, p.size.memory, p.killed)
		}
	}
}

// TestEstimate holds the bounds to the formulas, at some lengths of history.
func TestEstimate(t *testing.T) {
	const day = 24 * time.Hour
	for _, history := range []time.Duration{time.Hour, 12 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour} {
		u := newUsage(day)
		now := epoch
		for at := time.Duration(0); at < history; at += time.Minute {
			now = epoch.Add(at)
			var counts histogram.Counts
			counts.Add(histogram.CPU.Of(1), 60)
			h := &nodev1.ContainerHistory{UntilUnixMilli: now.UnixMilli(), ObservedMillis: 60_000, Readings: 6, Cpu: counts.Wire()}
			if at == 0 {
				h.Peaks = []*nodev1.MemoryPeak{{WindowEndUnix: epoch.Add(history).Unix(), Is: uint32(histogram.Memory.Of(1e9) + 1)}}
			}
			if err := u.add(h, now); err != nil {
				t.Fatal(err)
			}
		}
		e, ok := u.estimate(defaultAims, day, now)
		if !ok {
			t.Fatal("no estimate")
		}
		c := history.Hours() / 24
		size, memory := histogram.CPU.End(histogram.CPU.Of(1))*1.15, histogram.Memory.End(histogram.Memory.Of(1e9))*1.15
		want := estimate{
			target: amounts{milli(size), mebibytes(memory)},
			lower:  amounts{milli(size * math.Pow(1+0.001/c, -2)), mebibytes(memory * math.Pow(1+0.001/c, -2))},
			upper:  amounts{milli(size * (1 + 1/c)), mebibytes(memory * (1 + 1/c))},
		}
		near := func(a, b int64) bool { return math.Abs(float64(a-b)) <= 0.002*float64(b)+mib*float64(toInt(b > mib)) }
		for _, v := range [][2]amounts{{e.target, want.target}, {e.lower, want.lower}, {e.upper, want.upper}} {
			if !near(v[0].cpu, v[1].cpu) || !near(v[0].memory, v[1].memory) {
				t.Errorf("after %s %+v, want %+v", history, v[0], v[1])
			}
		}
	}
	if _, ok := newUsage(day).estimate(defaultAims, day, epoch); ok {
		t.Error("an estimate of nothing")
	}
}

func TestHistoriesThatMakeNoSense(t *testing.T) {
	far := epoch.Add(100 * 24 * time.Hour).Unix()
	for name, h := range map[string]*nodev1.ContainerHistory{
		"half a pair":          {Cpu: []uint32{1}},
		"a bucket too high":    {Cpu: []uint32{1000, 1}},
		"negative time":        {ObservedMillis: -1},
		"negative throttling":  {ThrottledMillis: -1},
		"no bucket":            {Peaks: []*nodev1.MemoryPeak{{WindowEndUnix: epoch.Unix()}}},
		"a peak too high":      {Peaks: []*nodev1.MemoryPeak{{WindowEndUnix: epoch.Unix(), Is: 177}}},
		"a peak from too high": {Peaks: []*nodev1.MemoryPeak{{WindowEndUnix: epoch.Unix(), Was: 177, Is: 1}}},
		"a far window":         {Peaks: []*nodev1.MemoryPeak{{WindowEndUnix: far, Is: 1}}},
	} {
		u := newUsage(24 * time.Hour)
		h.Readings = 1
		if err := u.add(h, epoch); err == nil || u.samples != 0 || !u.since.IsZero() {
			t.Errorf("%s: counted, %v", name, err)
		}
	}
	// A clock that is ahead doesn't reach into the future.
	u := newUsage(24 * time.Hour)
	var counts histogram.Counts
	counts.Add(3, 1)
	if err := u.add(&nodev1.ContainerHistory{UntilUnixMilli: epoch.Add(time.Hour).UnixMilli(), ObservedMillis: 1000, Cpu: counts.Wire()}, epoch); err != nil || u.until.After(epoch) {
		t.Errorf("until %s, %v", u.until, err)
	}
}
