package role

import (
	"github.com/prometheus/client_golang/prometheus"

	"swell.dev/swell/nodelet/reflex"
)

// reflexMetrics tells of the bursts of a node's pods. They are in the process's default registry, so that `swell up`
// serves them with the control plane's and `swell nodelet` with --metrics-listen.
type reflexMetrics struct{ reflex *reflex.Reflex }

var (
	reflexRung      = prometheus.NewDesc("swell_reflex_detection", "1 for the way in which throttling is detected; none while no pod may burst.", []string{"rung"}, nil)
	reflexThrottled = prometheus.NewDesc("swell_reflex_throttled_total", "Times that the kernel was seen to stop a pod that may burst.", nil, nil)
	reflexReactions = prometheus.NewDesc("swell_reflex_reactions_total", "CPU quotas raised at once.", nil, nil)
	reflexLatency   = prometheus.NewDesc("swell_reflex_reaction_seconds", "From the kernel's stop of a task to the quota that was written, of the last 4096.", nil, nil)
	reflexGrown     = prometheus.NewDesc("swell_reflex_memory_raised_total", "Memory limits raised before they were hit.", nil, nil)
	reflexSeconds   = prometheus.NewDesc("swell_reflex_burst_seconds_total", "Time that pods had more than their size, summed up.", nil, nil)
	reflexAvoided   = prometheus.NewDesc("swell_reflex_throttled_avoided_seconds_total", "Time for which tasks would have been stopped without their pods' bursts: CPU time used beyond the size, over the CPUs that it was used on, 1 at least.", nil, nil)
	reflexCPU       = prometheus.NewDesc("swell_reflex_pool_cpu_cores", "CPU beyond the sizes of this node's pods: wanted, held by bursts.", []string{"state"}, nil)
	reflexMemory    = prometheus.NewDesc("swell_reflex_pool_memory_bytes", "Memory beyond the sizes of this node's pods: wanted, held by bursts.", []string{"state"}, nil)
)

// Describe implements prometheus.Collector.
func (m reflexMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{reflexRung, reflexThrottled, reflexReactions, reflexLatency, reflexGrown, reflexSeconds, reflexAvoided, reflexCPU, reflexMemory} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m reflexMetrics) Collect(out chan<- prometheus.Metric) {
	s := m.reflex.Stats()
	count := func(d *prometheus.Desc, n float64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, n)
	}
	gauge := func(d *prometheus.Desc, n float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, n, labels...)
	}
	if s.Rung != "" {
		gauge(reflexRung, 1, string(s.Rung))
	}
	count(reflexThrottled, float64(s.Throttled))
	count(reflexReactions, float64(s.Reactions))
	count(reflexGrown, float64(s.Grown))
	count(reflexSeconds, s.Time.Seconds())
	count(reflexAvoided, s.Avoided.Seconds())
	out <- prometheus.MustNewConstSummary(reflexLatency, uint64(s.Reactions), s.Reacting.Seconds(), map[float64]float64{
		0.5: s.Latency(0.5).Seconds(), 0.99: s.Latency(0.99).Seconds(),
	})
	want, held := m.reflex.Pool()
	gauge(reflexCPU, float64(want.CpuMilli)/1000, "want")
	gauge(reflexCPU, float64(held.CpuMilli)/1000, "held")
	gauge(reflexMemory, float64(want.MemoryBytes), "want")
	gauge(reflexMemory, float64(held.MemoryBytes), "held")
}
