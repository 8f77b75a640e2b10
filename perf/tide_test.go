package main

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestTideIsTheSameForAll(t *testing.T) {
	const day = 100 * time.Second
	a, b := newTide(7, day, 10*time.Second, 50, true), newTide(7, day, 10*time.Second, 50, true)
	if !slices.Equal(a.at, b.at) || !slices.Equal(a.life, b.life) {
		t.Error("the same seed gave another day")
	}
	if other := newTide(8, day, 10*time.Second, 50, true); slices.Equal(a.at, other.at) {
		t.Error("another seed gave the same day")
	}
	if !slices.IsSorted(a.at) || a.at[len(a.at)-1] >= day {
		t.Error("arrivals out of order, or after the day")
	}
	for _, life := range a.life {
		if life < 5*time.Second || life > 15*time.Second {
			t.Fatalf("a pod lives %s", life)
		}
	}
	if got := a.lived(day).Seconds() / float64(len(a.at)); got < 8 || got > 10 { // ten seconds, but for those cut off by the day's end
		t.Errorf("pods live %.1f s on average", got)
	}
}

func TestDemandOfADay(t *testing.T) {
	between := func(t tide, day time.Duration, from, to float64) (rate float64) { // pods a second
		for _, at := range t.at {
			if x := at.Seconds() / day.Seconds(); x >= from && x < to {
				rate += 1 / ((to - from) * day.Seconds())
			}
		}
		return rate
	}
	const day = time.Hour
	usual, spiked := newTide(1, day, time.Second, 50, false), newTide(1, day, time.Second, 50, true)
	night, morning := between(usual, day, 1.0/24, 3.0/24), between(usual, day, 10.0/24, 11.0/24)
	if night > 10 || morning < 35 || morning > 65 {
		t.Errorf("%.1f pods a second at night, %.1f in the morning", night, morning)
	}
	ratio := between(spiked, day, spikeAt, spikeAt+spikeLong) / between(usual, day, spikeAt, spikeAt+spikeLong)
	if math.Abs(ratio-spikeTimes) > 0.5 {
		t.Errorf("the spike is %.2f times the usual", ratio)
	}
}

func TestReadingsOfSlots(t *testing.T) {
	before := parseSlots([]byte("swell_slot_misses_total{namespace=\"a\"} 1\n"))
	r := parseSlots([]byte(`# HELP swell_slot_hits_total x
swell_slot_hits_total{depth="Container",namespace="a"} 5
swell_slot_hits_total{depth="Capacity",namespace="b"} 2
swell_slot_misses_total{namespace="a"} 3
swell_slot_idle_seconds_total{namespace="a"} 1.5
swell_forecast_error 0.25
swell_other 9
`))
	got := r.since(before)
	if got.hitsOutside != 7 || got.deep != 5 || got.missesOutside != 2 || got.idle != 1.5 || got.forecastError != 0.25 {
		t.Errorf("got %+v", got)
	}
}
