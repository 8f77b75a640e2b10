package role

import (
	"github.com/prometheus/client_golang/prometheus"

	"swell.dev/swell/controlplane"
	"swell.dev/swell/controlplane/scheduler"
)

// capacityMetrics tells what the ledger of capacity has decided about resizes, and what it lends.
type capacityMetrics struct{ sched *scheduler.Scheduler }

var (
	resizesDecided = prometheus.NewDesc("swell_resizes_total", "Resizes by the ledger's verdict; one that was deferred counts again when it is admitted.", []string{"verdict"}, nil)
	resizesWaiting = prometheus.NewDesc("swell_resizes_waiting", "Resizes that wait for room.", nil, nil)
	poolNodes      = prometheus.NewDesc("swell_pool_nodes", "Nodes with a reflex pool.", nil, nil)
	poolCPU        = prometheus.NewDesc("swell_pool_cpu_cores", "CPU of all reflex pools: wanted, granted, held by bursts.", []string{"state"}, nil)
	poolMemory     = prometheus.NewDesc("swell_pool_memory_bytes", "Memory of all reflex pools: wanted, granted, held by bursts.", []string{"state"}, nil)
)

// Describe implements prometheus.Collector.
func (m capacityMetrics) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, out) }

// Collect implements prometheus.Collector.
func (m capacityMetrics) Collect(out chan<- prometheus.Metric) {
	s := m.sched.Stats()
	for verdict, n := range map[string]uint64{"admitted": s.Admitted, "deferred": s.Deferred, "infeasible": s.Infeasible} {
		out <- prometheus.MustNewConstMetric(resizesDecided, prometheus.CounterValue, float64(n), verdict)
	}
	gauge := func(d *prometheus.Desc, v float64, state ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, state...)
	}
	gauge(resizesWaiting, float64(s.Waiting))
	gauge(poolNodes, float64(s.Pools))
	for state, d := range map[string]controlplane.Demand{"want": s.Want, "granted": s.Granted, "held": s.Held} {
		gauge(poolCPU, float64(d.CPUMilli)/1000, state)
		gauge(poolMemory, float64(d.MemoryBytes), state)
	}
}
