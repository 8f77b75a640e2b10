package main

import (
	"slices"
	"testing"
	"time"

	"swell.dev/swell/cgroups/throttle"
)

func TestPollLatencies(t *testing.T) {
	at := func(group uint64, at time.Duration) probeStop {
		return probeStop{throttle.Event{Cgroup: group, At: at}, at + 1}
	}
	told := []probeStop{at(1, 10), at(2, 12), at(1, 30), at(1, 35), at(2, 90)}
	polled := []probeStop{at(1, 5), at(1, 20), at(2, 20), at(2, 25), at(1, 40)}
	// The look at 5 found what came before; that at 25 found nothing new; 30 and 35 share the look at 40; 90 has none.
	if got, want := pollLatencies(told, polled), []time.Duration{11, 9, 6}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSmallNumbersKeepTheirDigits(t *testing.T) {
	for v, want := range map[float64]string{0.03456: "0.0346", 0.5: "0.5", 0.8765: "0.877", 3.14159: "3.14", 0: "0", 12345.6: "12,346"} {
		if got := number(fine(v)); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}
