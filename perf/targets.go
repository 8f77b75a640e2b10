package main

import "fmt"

// target is a bar that a figure of a result has to reach.
type target struct {
	what, bar string
	result    string
	figure    string  // of the result: a rate, or a latency with percentile
	over      string  // a rate that the figure's is divided by; empty: none
	at        float64 // 0.5 or 0.99: that of a latency; 0: a rate
	least     bool    // the bar is the least, else the most
	value     float64
	unit      string
}

// targets are the bars that docs/performance.md holds Swell to; what is not here is proved by tests.
var targets = []target{
	{what: "Pods a second, create to Running", bar: "≥ 10,000", result: "create", figure: "pods/s to Running", least: true, value: 10_000, unit: "pods/s"},
	{what: "Lost or placed twice", bar: "0", result: "create", figure: "lost or placed twice", unit: "pods"},
	{what: "Lost or placed twice, killed in a burst", bar: "0", result: "kill", figure: "lost or placed twice", unit: "pods"},
	{what: "Lost or placed twice, more than the store takes", bar: "0", result: "burst", figure: "lost or placed twice", unit: "pods"},
	{what: "Refused without Retry-After", bar: "0", result: "burst", figure: "refused with 429 without Retry-After", unit: "creates"},
	{what: "Times Kubernetes' pods a second to Running", bar: "> 1", result: "peers", figure: ratioRunning, least: true, value: 1, unit: "×"},
	{what: "Placement hit rate outside the spike", bar: "≥ 95 %", result: "tide", figure: "forecast: hits outside the spike, %", least: true, value: 95, unit: "%"},
	{what: "Idle slots, of used capacity", bar: "≤ 15 %", result: "tide", figure: "forecast: idle slots, % of used capacity", value: 15, unit: "%"},
	{what: "Start from the deepest slot, p50", bar: "≤ 15 ms", result: "slots", figure: "container waits: assigned → Running", at: 0.5, value: 15, unit: "ms"},
	{what: "Start from the deepest slot, p99", bar: "≤ 60 ms", result: "slots", figure: "container waits: assigned → Running", at: 0.99, value: 60, unit: "ms"},
	{what: "Cold start with the image on disk, p50", bar: "≤ 150 ms", result: "slots", figure: "cold, image present: assigned → Running", at: 0.5, value: 150, unit: "ms"},
	{what: "Containers a second, times those of ctr run", bar: "≥ 4", result: "slots", figure: "containers/s, slot at depth container", over: "containers/s, ctr run", least: true, value: 4, unit: "×"},
	{what: "Control plane's heap per running pod at 500,000", bar: "≤ 2 KiB", result: "scale-pods", figure: "1000 nodes: control plane, heap KiB per running pod", value: 2, unit: "KiB"},
	{what: "Simulated nodelet", bar: "≤ 60 KiB", result: "scale", figure: "1000 nodes: simulated nodelet, heap KiB", value: 60, unit: "KiB"},
	{what: "Real nodelet, idle with 100 pods, memory", bar: "≤ 40 MiB", result: "idle", figure: "memory, MiB (RSS)", value: 40, unit: "MiB"},
	{what: "Real nodelet, idle with 100 pods, CPU", bar: "≤ 1 % of a core", result: "idle", figure: "CPU, % of a core", value: 1, unit: "%"},
	{what: "Stopped by its CPU quota → running again, p50", bar: "≤ 0.3 ms", result: "reflex", figure: "with: stopped → running again", at: 0.5, value: 0.3, unit: "ms"},
	{what: "Stopped by its CPU quota → running again, p99", bar: "≤ 10 ms", result: "reflex", figure: "with: stopped → running again", at: 0.99, value: 10, unit: "ms"},
	{what: "Detecting that, at 50,000 task switches a second", bar: "≤ 1 % of a core", result: "probe", figure: probeShare, value: 1, unit: "%"},
	{what: "Resizes a second to a fleet, on two cores", bar: "≥ 2,000", result: "resize-fleet", figure: "resizes/s to the status", least: true, value: 2000, unit: "resizes/s"},
	{what: "PATCH → CPU and memory in the kernel's files, p50", bar: "≤ 3 ms", result: "resize", figure: "PATCH → CPU and memory in the kernel's files", at: 0.5, value: 3, unit: "ms"},
	{what: "PATCH → CPU and memory in the kernel's files, p99", bar: "≤ 20 ms", result: "resize", figure: "PATCH → CPU and memory in the kernel's files", at: 0.99, value: 20, unit: "ms"},
	{what: "Segments rated a second, on one core", bar: "≥ 2,000,000", result: "rate", figure: rateOneCore, least: true, value: 2_000_000, unit: "segments/s"},
	{what: "A day of 14.4 million segments rated, on one core", bar: "≤ 30 s", result: "rate", figure: rateDay, value: 30, unit: "s"},
	{what: "Memory that takes", bar: "≤ 1,024 MiB", result: "rate", figure: ratePeak, value: 1024, unit: "MiB"},
	{what: "Serving again after a kill with 100,000 pods", bar: "≤ 3 s", result: "restart", figure: "start → a create is answered 201, s", value: 3, unit: "s"},
}

// find answers the figure that a target is about.
func (t target) find(all map[string]*result) (spread, bool) {
	r := all[t.result]
	if r == nil {
		return spread{}, false
	}
	for _, f := range r.Figures {
		switch {
		case f.Name != t.figure:
		case t.at == 0.5:
			return f.P50, true
		case t.at == 0.99:
			return f.P99, true
		}
	}
	got, ok := r.rate(t.figure)
	if t.over == "" || !ok || t.at != 0 {
		return got, ok && t.at == 0
	}
	by, ok := r.rate(t.over)
	if !ok || by.Min <= 0 {
		return spread{}, false
	}
	return spread{Median: got.Median / by.Median, Min: got.Min / by.Max, Max: got.Max / by.Min}, true // at the widest
}

func (r *result) rate(name string) (spread, bool) {
	for _, one := range r.Rates {
		if one.Name == name {
			return one.spread, true
		}
	}
	return spread{}, false
}

// verdict says by how much a bar is met or missed.
func (t target) verdict(got float64) string {
	if t.least == (got >= t.value) && got != t.value || got == t.value {
		if t.value == 0 || got == 0 {
			return "met"
		}
		return fmt.Sprintf("met, by %s ×", number(factor(t.least, got, t.value)))
	}
	switch {
	case t.value == 0 || got == 0:
		return "missed"
	case t.least:
		return fmt.Sprintf("missed: %s × of it", number(got/t.value))
	}
	return fmt.Sprintf("missed: %s × as much", number(got/t.value))
}

func factor(least bool, got, bar float64) float64 {
	if least {
		return got / bar
	}
	return bar / got
}
