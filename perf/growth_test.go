package main

import (
	"testing"
	"time"
)

func TestSlope(t *testing.T) {
	for _, c := range []struct {
		points [][2]float64
		want   float64
	}{
		{nil, 0}, {[][2]float64{{1, 5}}, 0}, {[][2]float64{{0, 1}, {1, 3}, {2, 5}}, 2}, {[][2]float64{{0, 4}, {10, 4}}, 0}, {[][2]float64{{0, 0}, {1, 2}, {2, 1}}, 0.5},
	} {
		if got := slope(c.points); got != c.want {
			t.Errorf("slope of %v is %v, want %v", c.points, got, c.want)
		}
	}
}

func TestGrowthLooksAtTheSecondHalf(t *testing.T) {
	g := &growth{}
	for i := range 120 { // a MiB a second until it is full, then one a minute
		mib := float64(min(i, 60))
		if i > 60 {
			mib += float64(i-60) / 60
		}
		g.rss = append(g.rss, [2]float64{float64(i), mib})
		g.etc = append(g.etc, [2]float64{float64(i), float64(60 - i)})
	}
	if got := rounded(g.slope()); got != 1 {
		t.Errorf("grows by %v MiB a minute, want 1", got)
	}
	if g.most() != 60 {
		t.Errorf("at most %v MiB, want 60", g.most())
	}
}

func TestThinned(t *testing.T) {
	var points [][2]float64
	for i := range 1000 {
		points = append(points, [2]float64{float64(i), 0})
	}
	got := thinned(points, 10)
	if len(got) != 10 || got[9] != points[999] || got[0] != points[99] {
		t.Errorf("%v", got)
	}
	if len(thinned(points[:7], 10)) != 7 {
		t.Error("few points were thinned")
	}
}

func TestLags(t *testing.T) {
	sent := time.Now()
	at := func(ms int) time.Time { return sent.Add(time.Duration(ms) * time.Millisecond) }
	w := &watching{added: [][]time.Time{{at(5), at(9)}, {at(7), {}}}} // the second watch began after the second pod
	lag, behind := &series{}, &series{}
	lag.begin()
	behind.begin()
	w.lags([]time.Time{sent, at(1)}, lag, behind)
	for name, c := range map[string]struct {
		got  []time.Duration
		want []int
	}{"lag": {lag.rounds[0], []int{5, 7, 8}}, "behind": {behind.rounds[0], []int{0, 2, 0}}} {
		if len(c.got) != len(c.want) {
			t.Fatalf("%s: %v, want %v ms", name, c.got, c.want)
		}
		for i, ms := range c.want {
			if c.got[i] != time.Duration(ms)*time.Millisecond {
				t.Errorf("%s: %v, want %v ms", name, c.got, c.want)
			}
		}
	}
}

func TestRefusalsAreToldApart(t *testing.T) {
	var r refusal
	for _, a := range []answer{{code: 201}, {code: 201}, {code: 429, retryAfter: time.Second}, {code: 429}, {code: 500}} {
		r.count(a)
	}
	if r.at201.Load() != 2 || r.at429.Load() != 1 || r.bare.Load() != 1 || r.other.Load() != 1 {
		t.Errorf("%d 201, %d 429, %d without Retry-After, %d others", r.at201.Load(), r.at429.Load(), r.bare.Load(), r.other.Load())
	}
}

func TestEachListed(t *testing.T) {
	// PodList{metadata=1 items=2} in a runtime.Unknown{raw=2}, as bytes: two pods named a and b.
	one := func(field byte, b []byte) []byte { return append([]byte{field<<3 | 2, byte(len(b))}, b...) }
	item := func(name string) []byte { return one(2, one(1, one(1, []byte(name)))) }
	list := append(append(one(1, one(2, []byte("7"))), item("a")...), item("b")...)
	var names string
	if err := eachListed(append([]byte("k8s\x00"), one(2, list)...), func(p seenPod) { names += string(p.name) }); err != nil || names != "ab" {
		t.Errorf("%q, %v", names, err)
	}
	if err := eachListed([]byte(`{"kind":"PodList"}`), func(seenPod) {}); err == nil {
		t.Error("JSON was taken")
	}
}
