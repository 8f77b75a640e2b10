package main

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/client-go/kubernetes"
)

// Names at the control plane's /metrics.
const (
	metricTransactions = "swell_store_transactions_total"
	metricMutations    = "swell_store_mutations_total"
	metricRefused      = "swell_store_refused_total"
	metricHeap         = "go_memstats_heap_alloc_bytes"
	metricDBSize       = "etcd_mvcc_db_total_size_in_bytes"
	metricDBInUse      = "etcd_mvcc_db_total_size_in_use_in_bytes"
)

// metrics are the samples without labels, by name.
type metrics map[string]float64

func scrape(ctx context.Context, client *kubernetes.Clientset) (metrics, error) {
	raw, err := client.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return parseMetrics(raw)
}

func parseMetrics(raw []byte) (metrics, error) {
	out := metrics{}
	for line := range bytes.Lines(raw) {
		name, value, ok := strings.Cut(strings.TrimSpace(string(line)), " ")
		if !ok || strings.HasPrefix(name, "#") || strings.Contains(name, "{") {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("metric %s: %w", name, err)
		}
		out[name] = v
	}
	return out, nil
}

// since answers how much a counter has grown.
func (m metrics) since(before metrics, name string) float64 { return m[name] - before[name] }

// liveHeap answers the control plane's heap in bytes, after a collection, so that it is what is in use.
func liveHeap(ctx context.Context, client *kubernetes.Clientset) (float64, error) {
	if _, err := client.CoreV1().RESTClient().Get().AbsPath("/debug/pprof/heap").Param("gc", "1").DoRaw(ctx); err != nil {
		return 0, fmt.Errorf("garbage collection: %w", err)
	}
	m, err := scrape(ctx, client)
	return m[metricHeap], err
}
