package report

import (
	"runtime"
	"strconv"
	"testing"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
)

// BenchmarkAdd adds charges of pods that come one after another, two of each: go test -bench Add -benchtime 14400000x
// is a day of 10,000 pods a minute. It answers the heap that is left.
func BenchmarkAdd(b *testing.B) {
	cpu, memory := itemOf("general-purpose", "default", billing.CPU, ""), itemOf("general-purpose", "default", billing.Memory, "")
	projects := make([]string, 1000)
	for i := range projects {
		projects[i] = "project-" + strconv.Itoa(i)
	}
	for _, by := range []string{"project", "project,hour", "workload", "pod", "overview"} {
		b.Run(by, func(b *testing.B) {
			const period = "from=2026-10-01&to=2026-10-02&zone=Europe/Berlin&by="
			if by == "overview" {
				g, err := NewGathering(query(b, period+"pod"), made)
				if err != nil {
					b.Fatal(err)
				}
				addAll(b, g.Add, projects, cpu, memory)
				return
			}
			a, err := NewAccumulator(query(b, period+by))
			if err != nil {
				b.Fatal(err)
			}
			addAll(b, a.Add, projects, cpu, memory)
		})
	}
}

func addAll(b *testing.B, add func(*billing.Charge) error, projects []string, items ...*billing.Item) {
	from := query(b, october).From.UnixMilli()
	s := &usagev1.Segment{ID: usagev1.ID{Generation: 1, Sequence: 1}, ComputeClass: "general-purpose", QoS: "default", CPUMilli: 1000, MemoryBytes: 1 << 30}
	var name []byte
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for n := 0; b.Loop(); n++ {
		name = strconv.AppendInt(append(name[:0], "pod-"...), int64(n), 10)
		s.Pod = string(name)
		s.PodUID = s.Pod
		c := billing.Charge{From: from + int64(n%86_000)*1000, Project: projects[n%len(projects)], Segment: s, Quantity: 1000}
		c.To = c.From + 60_000
		for _, i := range items {
			c.Item, c.List = i, c.Quantity.At(i.Price)
			c.Billed, c.Effective = c.List, c.List
			if err := add(&c); err != nil {
				b.Fatal(err)
			}
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/(1<<20), "MiB")
	runtime.KeepAlive(add)
}
