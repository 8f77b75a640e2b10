package role

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"swell.dev/swell/controlplane/budgets"
	"swell.dev/swell/controlplane/scheduler"
	"swell.dev/swell/controlplane/sizing"
	"swell.dev/swell/controlplane/slots"
	"swell.dev/swell/controlplane/store"
)

// newMetrics serves the control plane's own metrics with those that the embedded etcd and Go's runtime keep
// in the process's default registry.
func newMetrics(s *store.Store, sched *scheduler.Scheduler, ahead *slots.Controller, sizes *sizing.Controller, spent *budgets.Controller) http.Handler {
	own := prometheus.NewRegistry()
	own.MustRegister(storeMetrics{s}, boostMetrics{sched}, capacityMetrics{sched}, budgetMetrics{spent})
	if ahead != nil {
		own.MustRegister(slotMetrics{ahead})
	}
	if sizes != nil {
		own.MustRegister(sizingMetrics{sizes})
	}
	return promhttp.HandlerFor(prometheus.Gatherers{own, prometheus.DefaultGatherer}, promhttp.HandlerOpts{})
}

// storeMetrics tells what a store has done, from its own counters.
type storeMetrics struct{ store *store.Store }

var (
	storeTransactions = prometheus.NewDesc("swell_store_transactions_total", "Transactions that went into etcd.", nil, nil)
	storeMutations    = prometheus.NewDesc("swell_store_mutations_total", "Changes of objects that those transactions wrote.", nil, nil)
	storeObservations = prometheus.NewDesc("swell_store_observations_total", "Changes of objects in memory only: what nodes report, and events.", nil, nil)
	storeRetries      = prometheus.NewDesc("swell_store_retries_total", "Attempts of a transaction after its first.", nil, nil)
	storeRefused      = prometheus.NewDesc("swell_store_refused_total", "Changes refused with 429, because too many waited.", nil, nil)
	storeLargest      = prometheus.NewDesc("swell_store_largest_batch", "Most changes that one transaction wrote.", nil, nil)
	storeWaiting      = prometheus.NewDesc("swell_store_waiting", "Changes that wait or are under way.", nil, nil)
)

// Describe implements prometheus.Collector.
func (m storeMetrics) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, out) }

// Collect implements prometheus.Collector.
func (m storeMetrics) Collect(out chan<- prometheus.Metric) {
	s := m.store.Stats()
	count := func(d *prometheus.Desc, n uint64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n))
	}
	count(storeTransactions, s.Transactions)
	count(storeMutations, s.Mutations)
	count(storeObservations, s.Observations)
	count(storeRetries, s.Retries)
	count(storeRefused, s.Refused)
	out <- prometheus.MustNewConstMetric(storeLargest, prometheus.GaugeValue, float64(s.LargestBatch))
	out <- prometheus.MustNewConstMetric(storeWaiting, prometheus.GaugeValue, float64(s.Waiting))
}
