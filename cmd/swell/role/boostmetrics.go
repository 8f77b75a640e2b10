package role

import (
	"github.com/prometheus/client_golang/prometheus"

	"swell.dev/swell/controlplane/scheduler"
)

// boostMetrics tells of startup boosts, from the ledger's own counters.
type boostMetrics struct{ sched *scheduler.Scheduler }

var (
	boostCPUs   = prometheus.NewDesc("swell_startup_boost_cpus", "CPU that pods have beyond their sizes while they start, or were granted.", nil, nil)
	boostWishes = prometheus.NewDesc("swell_startup_boosts_total", "Wishes for startup boosts, by what came of them: granted, or deferred for want of room.", []string{"result"}, nil)
)

// Describe implements prometheus.Collector.
func (m boostMetrics) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, out) }

// Collect implements prometheus.Collector.
func (m boostMetrics) Collect(out chan<- prometheus.Metric) {
	s := m.sched.BoostStats()
	out <- prometheus.MustNewConstMetric(boostCPUs, prometheus.GaugeValue, float64(s.CPUMilli)/1000)
	out <- prometheus.MustNewConstMetric(boostWishes, prometheus.CounterValue, float64(s.Granted), "granted")
	out <- prometheus.MustNewConstMetric(boostWishes, prometheus.CounterValue, float64(s.Deferred), "deferred")
}
