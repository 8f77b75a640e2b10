package main

import (
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	s := &series{name: "x"}
	for _, round := range [][]int{{5, 1, 3, 2, 4}, {50, 10, 30, 20, 40}, {7}} {
		s.begin()
		for _, ms := range round {
			s.add(time.Duration(ms) * time.Millisecond)
		}
	}
	if got, want := s.spread(0.5), (spread{Median: 7, Min: 3, Max: 30}); got != want {
		t.Errorf("p50 is %v, want %v", got, want)
	}
	if got, want := s.spread(0.99), (spread{Median: 7, Min: 5, Max: 50}); got != want {
		t.Errorf("p99 is %v, want %v", got, want)
	}
	if got := (&series{}).spread(0.5); got != (spread{}) {
		t.Errorf("nothing measured gives %v", got)
	}
}

func TestPercentile(t *testing.T) {
	var of []time.Duration
	for i := 100; i >= 1; i-- {
		of = append(of, time.Duration(i))
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.01: 1, 0.5: 50, 0.99: 99, 1: 100} {
		if got := percentile(of, q); got != want {
			t.Errorf("percentile %v of 1…100 is %d, want %d", q, got, want)
		}
	}
}
