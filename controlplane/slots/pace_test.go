package slots

import (
	"testing"
	"time"

	"swell.dev/swell/api/v1alpha1"
)

// TestStrainedHostsAreSpared: the more there is to do, the longer slots take, by more than the longer lead can
// win back. What is wanted doesn't run away with it, and comes back when hosts have time again.
func TestStrainedHostsAreSpared(t *testing.T) {
	y := newTrial(t)
	cart := podOf("shop", "cart")
	most, missed := 0, 0
	live := func(seconds, rate int) {
		for range seconds {
			before := y.misses
			y.create(cart, rate)
			missed = y.misses - before
			// Ten slots or cold starts under way take as long again as one does alone.
			busy := float64(missed+len(y.slots)) / 10
			y.lead = time.Duration(float64(500*time.Millisecond) * (1 + busy))
			y.pass()
			most = max(most, len(y.slots))
		}
	}
	live(60, 2)
	calm := y.slotsOf(cart)
	most = 0
	live(600, 40)
	w := y.workloads[keyOf(cart)]
	t.Logf("%d slots in quiet times; at most %d when hosts are strained, lead %s, best %s", calm, most, w.pace.lead, w.pace.best)
	if most > 40*6 { // a lead that ends at three times the best, an interval and the noise
		t.Errorf("%d slots for 40 pods a second", most)
	}
	y.hits, y.misses = 0, 0
	live(300, 2)
	if n := y.slotsOf(cart); n > 2*calm+4 || n < 3 || w.pace.lead > w.pace.limit() {
		t.Errorf("%d slots for 2 pods a second when the strain is over (%d before), lead %s", n, calm, w.pace.lead)
	}
	if hit := float64(y.hits) / float64(y.hits+y.misses); hit < 0.97 {
		t.Errorf("%.3f found a slot when the strain is over", hit)
	}
}

// TestPace: what is planned for is bounded, whatever is measured.
func TestPace(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := newPace()
	for range 50 {
		now = now.Add(time.Second)
		p.measured(time.Second, now)
	}
	if p.plan() != time.Second || p.brake() != 1 {
		t.Fatalf("steady: plan %s, brake %.2f", p.plan(), p.brake())
	}
	for range 60 {
		now = now.Add(time.Second)
		p.measured(time.Minute, now)
	}
	if p.lead > maxLead || p.plan() > 9*time.Second || p.brake() > 0.3 {
		t.Errorf("strained: lead %s, plan %s, brake %.2f", p.lead, p.plan(), p.brake())
	}
	for range 3600 { // no strain lasts that long: these hosts are slower now
		now = now.Add(time.Second)
		p.measured(10*time.Second, now)
	}
	if p.plan() < 9*time.Second || p.brake() != 1 {
		t.Errorf("slower for an hour: plan %s, brake %.2f", p.plan(), p.brake())
	}
	p.lead = maxLead
	for range 200 {
		p.rest(true)
	}
	if p.brake() != 1 {
		t.Errorf("long at rest: lead %s", p.lead)
	}
}

// TestBurstOfCreates: ten thousand pods of a new template within two seconds find no slots that are made for
// them while they come, since none would be ready, and none wait for more when it is over.
func TestBurstOfCreates(t *testing.T) {
	y := newTrial(t)
	y.free.CPUMilli = 1e9
	cart := podOf("shop", "cart")
	most := 0
	for i := range 120 {
		if i < 8 { // a look every second: each creates 1,250 in a quarter of two seconds
			y.create(cart, 1250)
		}
		if i%4 == 3 || i >= 8 {
			y.pass()
		}
		most = max(most, len(y.slots))
	}
	t.Logf("%d made, %d hits, at most %d at a time, %.0f slot-seconds idle, %d left", y.made, y.hits, most, y.idle, len(y.slots))
	if y.made > 50 || len(y.slots) > few {
		t.Errorf("%d slots were made for a burst that is over, %d are left", y.made, len(y.slots))
	}
}

// TestSteadyFlood: where more come than slots can be ready for, none are made; a minimum stands.
func TestSteadyFlood(t *testing.T) {
	y := newTrial(t, func(l *limits) { l.each = 100 })
	y.free.CPUMilli = 1e9
	cart, pool := podOf("shop", "cart"), podOf("bank", "pool")
	p := policyFor("p", "pool", func(s *v1alpha1.SlotPolicySpec) { s.Min = 5 })
	p.Namespace = "bank"
	y.policy(p)
	for range 30 {
		y.create(cart, 500)
		y.create(pool, 500)
		y.pass()
	}
	if y.slotsOf(cart) > few || y.slotsOf(pool) != 5 {
		t.Errorf("%d slots, and %d where the policy wants 5", y.slotsOf(cart), y.slotsOf(pool))
	}
	for range 60 {
		y.create(cart, 20)
		y.create(pool, 20)
		y.pass()
	}
	if n := y.slotsOf(cart); n < 25 || n > 100 {
		t.Errorf("%d slots for 20 pods a second when the flood is over", n)
	}
}
