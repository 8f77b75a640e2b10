package sizing

import (
	"math/rand/v2"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"swell.dev/swell/api/v1alpha1"
)

const mib = mebibyte

func TestStep(t *testing.T) {
	plain := bounds{cpu: true, memory: true, change: 0.1, up: 1, down: 0.5}
	with := func(f func(*bounds)) bounds {
		b := plain
		f(&b)
		return b
	}
	for _, c := range []struct {
		name                       string
		b                          bounds
		now, target, upper, needed int64 // CPU; memory is the same in MiB
		want                       int64
	}{
		{"grows to the target", plain, 250, 410, 900, 0, 410},
		{"a step doubles at most", plain, 100, 1000, 2000, 0, 200},
		{"what is near stays", plain, 400, 430, 900, 0, 400},
		{"at the change it moves", plain, 400, 440, 900, 0, 440},
		{"above the target and not above the upper bound it stays", plain, 800, 410, 900, 0, 800},
		{"above the upper bound it shrinks to the target", plain, 600, 410, 500, 0, 410},
		{"a step halves at most", plain, 4000, 410, 500, 0, 2000},
		{"from 1", plain, 1, 100, 200, 0, 2},
		{"max holds", with(func(b *bounds) { b.max = amounts{300, 300 * mib} }), 250, 410, 900, 0, 300},
		{"max is gone below at once", with(func(b *bounds) { b.max = amounts{300, 300 * mib} }), 500, 410, 900, 0, 300},
		{"min holds", with(func(b *bounds) { b.min = amounts{200, 200 * mib} }), 600, 50, 60, 0, 300},
		{"min in the end", with(func(b *bounds) { b.min = amounts{200, 200 * mib} }), 300, 50, 60, 0, 200},
		{"min is come up to, though it is near", with(func(b *bounds) { b.min = amounts{200, 200 * mib} }), 195, 50, 60, 0, 200},
		{"not its own", with(func(b *bounds) { b.cpu, b.memory = false, false }), 100, 1000, 2000, 0, 100},
		{"no size is none to change", plain, 0, 100, 200, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := estimate{target: amounts{c.target, c.target * mib}, upper: amounts{c.upper, c.upper * mib}}
			got := c.b.step(amounts{c.now, c.now * mib}, &e, c.needed*mib)
			if got != (amounts{c.want, c.want * mib}) {
				t.Errorf("%d and %d MiB, want %d", got.cpu, got.memory/mib, c.want)
			}
		})
	}
	// Memory in use isn't taken away.
	e := estimate{target: amounts{100, 100 * mib}, upper: amounts{120, 120 * mib}}
	if got := plain.step(amounts{400, 400 * mib}, &e, 250*mib+1); got != (amounts{200, 251 * mib}) {
		t.Errorf("%d and %d MiB", got.cpu, got.memory/mib)
	}
	if got := plain.step(amounts{400, 400 * mib}, &e, 390*mib); got.memory != 400*mib {
		t.Errorf("%d MiB, of which 390 are needed", got.memory/mib)
	}
	low := with(func(b *bounds) { b.max = amounts{300, 300 * mib} })
	if got := low.step(amounts{200, 400 * mib}, &e, 390*mib); got.memory != 400*mib {
		t.Errorf("%d MiB: max is below what is in use", got.memory/mib)
	}
}

// TestStepsComeToRest: whatever the start, steps lead to a size that stays, in few steps, and never beyond the
// target.
func TestStepsComeToRest(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		b := bounds{cpu: true, memory: true, change: 0.01 + random.Float64(), up: 0.05 + 3*random.Float64(), down: 0.05 + 0.9*random.Float64()}
		if random.IntN(2) == 0 {
			b.min = amounts{1 + random.Int64N(2000), (1 + random.Int64N(2000)) * mib}
		}
		if random.IntN(2) == 0 {
			b.max = amounts{b.min.cpu + 1 + random.Int64N(4000), b.min.memory + (1+random.Int64N(4000))*mib}
		}
		target := amounts{1 + random.Int64N(5000), (1 + random.Int64N(5000)) * mib}
		e := estimate{target: target, upper: amounts{target.cpu + random.Int64N(5000), target.memory + random.Int64N(5000)*mib}}
		now := amounts{1 + random.Int64N(20000), (1 + random.Int64N(20000)) * mib}
		start, steps := now, 0
		for {
			next := b.step(now, &e, 0)
			if next == now {
				break
			}
			for _, m := range [][3]int64{{now.cpu, next.cpu, b.capped(target).cpu}, {now.memory, next.memory, b.capped(target).memory}} {
				if was, is, to := m[0], m[1], m[2]; is != was && (was < to) != (is > was) || is > was && is > to || is < was && is < to {
					t.Fatalf("from %d to %d, though the target is %d: %+v", was, is, to, b)
				}
			}
			now = next
			if steps++; steps > 300 {
				t.Fatalf("no rest from %+v by %+v", start, b)
			}
		}
		if c := b.capped(now); c != now {
			t.Fatalf("rests at %+v, outside of %+v", now, b)
		}
	}
}

func TestSized(t *testing.T) {
	list := func(cpu, memory string) corev1.ResourceList {
		out := corev1.ResourceList{}
		if cpu != "" {
			out[corev1.ResourceCPU] = resource.MustParse(cpu)
		}
		if memory != "" {
			out[corev1.ResourceMemory] = resource.MustParse(memory)
		}
		return out
	}
	for _, c := range []struct {
		name             string
		requests, limits corev1.ResourceList
		to               amounts
		wantReq, wantLim corev1.ResourceList
	}{
		{"guaranteed", list("250m", "64Mi"), list("250m", "64Mi"), amounts{410, 128 * mib}, list("410m", "128Mi"), list("410m", "128Mi")},
		{"in proportion", list("250m", "64Mi"), list("1", "128Mi"), amounts{2000, 256 * mib}, list("500m", "128Mi"), list("2", "256Mi")},
		{"a request alone", list("250m", ""), list("", "64Mi"), amounts{500, 32 * mib}, list("500m", ""), list("", "32Mi")},
		{"only what changes", list("250m", "64M"), list("250m", "64M"), amounts{410, 64_000_000}, list("410m", "64M"), list("410m", "64M")},
		{"a request stays below", list("1m", "1"), list("2m", "2Mi"), amounts{1, 1 * mib}, list("0", "1048575"), list("1m", "1Mi")},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := sized(&corev1.ResourceRequirements{Requests: c.requests, Limits: c.limits}, c.to)
			for _, l := range [][2]corev1.ResourceList{{got.Requests, c.wantReq}, {got.Limits, c.wantLim}} {
				if len(l[0]) != len(l[1]) {
					t.Errorf("%v, want %v", l[0], l[1])
				}
				for name, q := range l[1] {
					if is := l[0][name]; is.Cmp(q) != 0 {
						t.Errorf("%s is %s, want %s", name, is.String(), q.String())
					}
				}
			}
		})
	}
}

// TestSizedKeepsTheClass: the QoS class is the same, requests don't exceed limits, and the size is what was asked for.
func TestSizedKeepsTheClass(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		r := corev1.ResourceRequirements{Requests: corev1.ResourceList{}, Limits: corev1.ResourceList{}}
		for name, unit := range map[corev1.ResourceName]int64{corev1.ResourceCPU: 1, corev1.ResourceMemory: mib / 2} {
			limit := (2 + random.Int64N(3000)) * unit
			switch random.IntN(4) {
			case 0:
				r.Limits[name] = quantity(name, limit)
				r.Requests[name] = quantity(name, 1+random.Int64N(limit))
			case 1:
				r.Requests[name] = quantity(name, limit)
			default:
				r.Limits[name], r.Requests[name] = quantity(name, limit), quantity(name, limit)
			}
		}
		to := amounts{2 + random.Int64N(8000), (1 + random.Int64N(8000)) * mib}
		spec := corev1.PodSpec{Containers: []corev1.Container{{Resources: r}}}
		class := v1alpha1.PodQOS(&spec)
		got := sized(&r, to)
		if sizeOf(&got) != to {
			t.Fatalf("size is %+v, want %+v, of %+v", sizeOf(&got), to, r)
		}
		spec.Containers[0].Resources = got
		if now := v1alpha1.PodQOS(&spec); now != class {
			t.Fatalf("was %s, is %s: %+v → %+v", class, now, r, got)
		}
		for name, limit := range got.Limits {
			if request, ok := got.Requests[name]; ok && request.Cmp(limit) > 0 {
				t.Fatalf("%s: request %s, limit %s", name, request.String(), limit.String())
			}
		}
	}
}
