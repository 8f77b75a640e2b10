package cgroups

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// draw takes decisions from a fuzzer's bytes; when they are used up, zeros.
type draw struct{ bytes []byte }

func (d *draw) n(below int64) int64 {
	var b [4]byte
	d.bytes = d.bytes[copy(b[:], d.bytes):]
	return int64(binary.LittleEndian.Uint32(b[:])) % below
}

func (d *draw) one(in int64) bool { return d.n(in) == in-1 }

// sizes draws a pod's limits and those of its containers, as a nodelet makes them: the pod has the sum, or no limit
// where a container has none; or a limit of its own, which no container exceeds.
func (d *draw) sizes(containers int) (Limits, []Limits) {
	pod, cs := Limits{}, make([]Limits, containers)
	var quota, memory int64 // the largest
	limitedCPU, limitedMemory := true, true
	for i := range cs {
		l := Limits{Shares: uint64(d.n(300_000)), Quota: minQuota + d.n(400_000), Memory: (1 + d.n(64)) * mib}
		if d.one(8) {
			l.Quota, limitedCPU = Unlimited, false
		}
		protected := d.n(l.Memory + 1)
		if d.one(8) {
			l.Memory, limitedMemory = Unlimited, false
		}
		switch d.n(4) {
		case 1:
			l.Min = protected
		case 2:
			l.Low = protected
		case 3:
			l.Low = protected
			if l.Memory != Unlimited {
				l.High = protected + (l.Memory-protected)*9/10
			}
		}
		cs[i] = l
		quota, memory = max(quota, l.Quota), max(memory, l.Memory)
		pod.Shares += l.Shares
		pod.Quota += l.Quota
		pod.Memory += l.Memory
		pod.Min += wholePages(l.Min) + pageSize
		pod.Low += wholePages(l.Low) + pageSize
	}
	own := d.one(6)
	switch {
	case own:
		pod.Quota = max(quota, minQuota) + d.n(200_000)
	case !limitedCPU:
		pod.Quota = Unlimited
	}
	switch {
	case own:
		pod.Memory = max(memory, pod.Min, pod.Low, mib) + d.n(64*mib)
	case !limitedMemory:
		pod.Memory = Unlimited
	default:
		pod.Memory = max(pod.Memory, pod.Min, pod.Low)
	}
	return pod, cs
}

// FuzzResize draws a pod, sizes, usages and faults, and has Resize carry them out against the model: nothing is ever
// refused but for memory in use, at no moment has a container more than its pod, nothing would be killed; what
// fails is undone exactly; what is killed half-way is put right by the next that succeeds.
func FuzzResize(f *testing.F) {
	rnd := rand.NewChaCha8([32]byte{1})
	for range 64 {
		seed := make([]byte, 2048)
		rnd.Read(seed)
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		synctest.Test(t, func(t *testing.T) { resizes(t, &draw{input}) })
	})
}

// Many thousands of resizes, of which each run draws the same.
func TestResizeAgainstTheModel(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{2})
	input := make([]byte, 2048)
	cases := map[string]int{}
	for range 1200 {
		rnd.Read(input)
		synctest.Test(t, func(t *testing.T) {
			for what, n := range resizes(t, &draw{input}) {
				cases[what] += n
			}
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%v", cases)
	for what, least := range map[string]int{"done": 8000, "in use": 500, "failed": 1000, "killed": 1000} {
		if cases[what] < least {
			t.Errorf("only %d resizes were %s", cases[what], what)
		}
	}
}

var errInjected = errors.New("injected")

func resizes(t *testing.T, d *draw) (cases map[string]int) {
	t.Helper()
	cases = map[string]int{}
	m, h := newModel(1 + int(d.n(2)))
	p := Change{Group: h.Group("/s/pod")}
	must(t, p.Group.Create())
	cs := make([]Change, 1+d.n(4))
	for i := range cs {
		cs[i].Group = p.Group.Child(string(rune('a' + i)))
		must(t, cs[i].Group.Create())
	}
	next := func() {
		var limits []Limits
		p.To, limits = d.sizes(len(cs))
		for i := range cs {
			cs[i].To = limits[i]
		}
	}
	check := func(err error) {
		t.Helper()
		if len(m.wrong) > 0 || errors.Is(err, syscall.EINVAL) {
			t.Fatalf("%v, %q; pod %+v, containers %+v; written: %q\n%s", err, m.wrong, p.To, cs, m.writes, m.state())
		}
	}
	right := func() {
		t.Helper()
		for _, c := range append([]Change{p}, cs...) {
			got, err := c.Group.Read()
			must(t, err)
			if got.Quota != c.To.Quota || got.Memory != wholePages(c.To.Memory) || !c.Group.sameShares(got.Shares, c.To.Shares) ||
				got.MemoryQoS != c.Group.kept(c.To.MemoryQoS) {
				t.Fatalf("%s: %+v, want %+v; written: %q", c.Group.path, got, c.To, m.writes)
			}
		}
	}
	for range 12 {
		m.before, m.grow, m.writes = nil, nil, nil
		for _, c := range cs { // what it uses, not more than it may
			g := m.groups[c.Group.path]
			g.usage, g.cache = 0, 0
			if d.one(3) {
				m.allocate(c.Group.path, d.n(96*mib))
				g.cache = d.n(g.usage + 1)
			}
			if burst := d.n(200_000); d.one(6) {
				_ = m.take(c.Group.path, c.Group.burstFile(), strconv.FormatInt(burst, 10)) // or it is above the quota
			}
		}
		next()
		was := m.state()
		ctx, cancel := context.WithCancel(t.Context())
		what := d.n(5)
		at := int(d.n(24))
		switch what {
		case 1: // fails
			m.before = func(n int) error {
				if n == at {
					return errInjected
				}
				return nil
			}
		case 2: // killed
			m.before = func(n int) error {
				m.dead = n == at
				return nil
			}
		case 3: // no time
			cancel()
		case 4: // processes take more all the time
			m.grow = func(group string) int64 {
				if group == "/s" || group == p.Group.path {
					return 0 // processes are in containers
				}
				if d.one(8) {
					return d.n(8 * mib)
				}
				return d.n(pageSize * 8)
			}
		}
		err := Resize(ctx, p, cs)
		cancel()
		var inUse *MemoryInUseError
		if errors.As(err, &inUse) && errors.Is(err, errInjected) {
			return cases // the undo itself was refused: what is left isn't what anybody wanted
		}
		check(err)
		switch {
		case m.dead:
			cases["killed"]++
			m.dead, m.before = false, nil
			if d.one(2) { // another size comes
				next()
			}
			for _, c := range cs {
				m.groups[c.Group.path].usage, m.groups[c.Group.path].cache = 0, 0
			}
			err := Resize(t.Context(), p, cs)
			check(err)
			must(t, err)
			right()
		case err == nil:
			cases["done"]++
			right()
		case errors.As(err, &inUse) || errors.Is(err, errInjected):
			if cases["failed"]++; inUse != nil {
				cases["in use"]++
			}
			if got := m.state(); m.grow == nil && got != was { // processes may have taken what an undo would take back
				t.Fatalf("%v; not undone:\n%s\nwas\n%s\nwritten: %q", err, got, was, strings.Join(m.writes, "\n"))
			}
		default:
			t.Fatalf("%v; written: %q", err, m.writes)
		}
	}
	return cases
}
