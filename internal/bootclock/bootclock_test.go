package bootclock

import (
	"encoding/json"
	"errors"
	"testing"
	"time"
)

// host is a host whose clocks the test moves.
type host struct {
	id   string
	boot time.Duration
	wall time.Time
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newHost() *host { return &host{id: "boot-1", boot: time.Hour, wall: noon} }

func (h *host) source() Source {
	return Source{
		BootID:    func() (string, error) { return h.id, nil },
		SinceBoot: func() time.Duration { return h.boot },
		Wall:      func() time.Time { return h.wall },
	}
}

func (h *host) pass(d time.Duration) { h.boot += d; h.wall = h.wall.Add(d) }
func (h *host) step(d time.Duration) { h.wall = h.wall.Add(d) }
func (h *host) reboot(id string, down time.Duration) {
	h.id, h.boot, h.wall = id, 5*time.Second, h.wall.Add(down)
}

func newClock(t *testing.T, h *host, anchor Anchor, notBefore time.Time) *Clock {
	t.Helper()
	c, err := New(h.source(), anchor, notBefore)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func want(t *testing.T, what string, got, want time.Time) {
	t.Helper()
	if !got.Equal(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestStepsOfTheWallClockAreNotFollowed(t *testing.T) {
	for _, step := range []time.Duration{-24 * time.Hour, -time.Second, time.Second, 20 * 365 * 24 * time.Hour} {
		h := newHost()
		c := newClock(t, h, Anchor{}, time.Time{})
		h.pass(time.Minute)
		h.step(step)
		h.pass(time.Minute)
		want(t, "now after a step of "+step.String(), c.Now(), noon.Add(2*time.Minute))
		want(t, "30 s ago by the wall clock", c.At(h.wall.Add(-30*time.Second)), noon.Add(90*time.Second))
	}
}

func TestAnotherProcessContinues(t *testing.T) {
	h := newHost()
	first := newClock(t, h, Anchor{}, time.Time{})
	raw, err := json.Marshal(first.Anchor())
	if err != nil {
		t.Fatal(err)
	}
	h.pass(time.Hour)
	h.step(-3 * time.Hour)
	var kept Anchor
	if err := json.Unmarshal(raw, &kept); err != nil {
		t.Fatal(err)
	}
	second := newClock(t, h, kept, noon.Add(10*time.Hour))
	want(t, "now", second.Now(), noon.Add(time.Hour))
	want(t, "now of the first", first.Now(), second.Now())
}

func TestReboot(t *testing.T) {
	for name, c := range map[string]struct{ floor, want time.Time }{
		"wall clock ahead of the last boundary":  {noon.Add(time.Minute), noon.Add(10 * time.Minute)},
		"wall clock behind the last boundary":    {noon.Add(time.Hour), noon.Add(time.Hour)},
		"nothing was recorded before the reboot": {time.Time{}, noon.Add(10 * time.Minute)},
	} {
		h := newHost()
		before := newClock(t, h, Anchor{}, time.Time{})
		h.reboot("boot-2", 10*time.Minute)
		after := newClock(t, h, before.Anchor(), c.floor)
		want(t, name, after.Now(), c.want)
		h.pass(time.Second)
		want(t, name+", a second later", after.Now(), c.want.Add(time.Second))
	}
}

// An anchor that is ahead of the boot clock can't be of this boot, whatever its name says.
func TestAnchorAheadOfBootClock(t *testing.T) {
	h := newHost()
	c := newClock(t, h, Anchor{BootID: h.id, Boot: 2 * time.Hour, Wall: noon.Add(-time.Hour)}, time.Time{})
	want(t, "now", c.Now(), noon)
}

func TestForwardOnly(t *testing.T) {
	for step, moves := range map[time.Duration]bool{
		-time.Hour: false, 0: false, Tolerance - 1: false, Tolerance: true, time.Hour: true,
	} {
		h := newHost()
		c := newClock(t, h, Anchor{}, time.Time{})
		h.pass(time.Minute)
		h.step(step)
		next, moved := c.Forward()
		if moved != moves {
			t.Errorf("step of %v: moved %v, want %v", step, moved, moves)
		}
		expect := noon.Add(time.Minute)
		if moves {
			expect = expect.Add(step)
		}
		want(t, "forward", next.Now(), expect)
		want(t, "the former clock", c.Now(), noon.Add(time.Minute))
		if next.Now().Before(c.Now()) {
			t.Errorf("step of %v: ran backwards", step)
		}
	}
}

func TestWithoutABootID(t *testing.T) {
	src := newHost().source()
	src.BootID = func() (string, error) { return "", errors.New("no proc") }
	if _, err := New(src, Anchor{}, time.Time{}); err == nil {
		t.Error("a clock was made")
	}
}

func TestHost(t *testing.T) {
	c, err := New(Host(), Anchor{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	last := c.Now()
	if d := time.Since(last).Abs(); d > time.Minute {
		t.Errorf("a new clock is %v off the wall clock", d)
	}
	for range 10_000 {
		now := c.Now()
		if now.Before(last) {
			t.Fatalf("ran backwards from %v to %v", last, now)
		}
		last = now
	}
	again, err := New(Host(), c.Anchor(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if again.Anchor() != c.Anchor() || again.Now().Before(last) {
		t.Errorf("another process reads %v after %v", again.Now(), last)
	}
}
