// Package bootclock is a clock for metering: it neither jumps nor runs backwards on one host, also over
// restarts of the process that asks.
//
// Time is an anchor (a wall time and the time since boot at that instant) plus the time since boot that
// has passed (CLOCK_BOOTTIME, which goes on while a host sleeps, and which NTP slews but never steps). The
// user keeps the anchor; it holds for one boot, known by the kernel's boot id. So a step of the wall clock,
// by NTP or by hand, moves nothing: durations stay true, and times differ from the wall clock by the step.
// The difference is made good at two occasions:
//
//   - After a boot, New takes a new anchor from the wall clock, but never before the time that the old one
//     had reached.
//   - Forward, which the user calls when nothing is being measured, catches up with a wall clock that is
//     ahead by Tolerance or more. It never steps back: a clock that is ahead stays so until the wall clock
//     has caught up.
package bootclock

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Tolerance is the smallest difference that Forward makes good.
const Tolerance = time.Second

// Anchor ties the time since boot to a wall time.
type Anchor struct {
	BootID string        `json:"bootID"`
	Wall   time.Time     `json:"wall"`
	Boot   time.Duration `json:"boot"` // since boot, at Wall
}

// Clock tells the time of one boot. It never changes, so that any goroutine may read it.
type Clock struct {
	anchor Anchor
	source Source
}

// Source is where a clock gets its facts from.
type Source struct {
	BootID    func() (string, error)
	SinceBoot func() time.Duration
	Wall      func() time.Time
}

// Host is the source of this host.
func Host() Source {
	return Source{
		BootID: func() (string, error) {
			b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
			return strings.TrimSpace(string(b)), err
		},
		SinceBoot: func() time.Duration {
			var ts unix.Timespec
			if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
				panic(fmt.Sprintf("clock_gettime(CLOCK_BOOTTIME): %v", err)) // it can't fail since Linux 2.6.39
			}
			return time.Duration(ts.Nano())
		},
		Wall: time.Now,
	}
}

// New goes on from an anchor of this boot; from one of another boot, or the zero one, it takes a new
// anchor that is not before notBefore.
func New(source Source, anchor Anchor, notBefore time.Time) (*Clock, error) {
	id, err := source.BootID()
	if err != nil {
		return nil, fmt.Errorf("boot id: %w", err)
	}
	boot := source.SinceBoot()
	if anchor.BootID != id || anchor.Wall.IsZero() || anchor.Boot > boot { // one ahead of this boot isn't of it
		anchor = Anchor{BootID: id, Wall: source.wall(), Boot: boot}
		if anchor.Wall.Before(notBefore) {
			anchor.Wall = notBefore.UTC()
		}
	}
	return &Clock{anchor: anchor, source: source}, nil
}

// Now answers the clock's time, in UTC.
func (c *Clock) Now() time.Time { return c.anchor.Wall.Add(c.source.SinceBoot() - c.anchor.Boot) }

// At answers the clock's time for an instant that the wall clock gave: as long ago as the wall clock
// says that it is. An instant in the wall clock's future is now.
func (c *Clock) At(wall time.Time) time.Time {
	return c.Now().Add(-max(c.source.wall().Sub(wall.Round(0)), 0))
}

// Forward answers a clock that is level with the wall clock, if that is ahead by Tolerance or more.
func (c *Clock) Forward() (next *Clock, moved bool) {
	boot, wall := c.source.SinceBoot(), c.source.wall()
	if wall.Sub(c.anchor.Wall.Add(boot-c.anchor.Boot)) < Tolerance {
		return c, false
	}
	return &Clock{anchor: Anchor{BootID: c.anchor.BootID, Wall: wall, Boot: boot}, source: c.source}, true
}

// wall drops Go's own monotonic reading, by which times would otherwise be subtracted.
func (s Source) wall() time.Time { return s.Wall().UTC().Round(0) }

// Anchor is what the user keeps for the next New.
func (c *Clock) Anchor() Anchor { return c.anchor }
