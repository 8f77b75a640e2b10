// Package sizing learns what workloads use and recommends how large their containers should be; where an Autosize
// policy says so, it makes them so.
//
// What is learned comes from the nodes as histograms (internal/histogram) and is poured into two decaying ones for
// each container of a workload: how much CPU was wanted for how much of the time, and the peaks of memory in
// windows of a day. A workload is a controlplane.Owner: pods that come and go alike.
//
// Recommendations are the Vertical Pod Autoscaler's (its docs, and the recommender's logic/estimator.go): a
// percentile of the histogram, with a margin; below it a lower and above it an upper bound, which are wide while
// there is little history and close in on the 50th and 95th percentile as it grows:
//
//	target = p90 × 1.15                          (memory: p98 of the peaks; Autopilot's choice, EuroSys 2020)
//	lower  = p50 × 1.15 × (1 + 0.001/c)⁻²
//	upper  = p95 × 1.15 × (1 + 1/c)              c: days of history, or container-days if those are fewer
//
// The decision when to resize is made so that sizes come to rest: a container grows when its target is above its
// size by some percent, and shrinks when its size is above the upper bound; what it then gets is the target,
// which lies between. Memory doesn't shrink before a whole day was seen, nor below what is in use. One step is
// bounded, as is the pace.
//
// usage.go, estimate.go, step.go and resize.go are pure. core.go keeps the workloads; Controller is the goroutine
// around it. Everything is in memory and, at a slow rhythm, in checkpoints (checkpoint.go): a restart loses what
// was learned since the last one.
package sizing
