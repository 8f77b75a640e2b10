// Package report tells of charges: sums of them by pod, workload, project, label, class, plan and time, as a table,
// CSV, or one HTML page with charts.
//
// A Report folds a stream of charges; its totals are the exact sums of all of them, and its rows sum to its totals.
// An Overview folds the same stream into what the HTML page shows beside it. The memory that either takes depends on
// how many rows there are, which is bounded, not on how many charges.
//
// Charges of one segment have to come one after another, and ordered by time within each item: so a second in which
// a pod is charged for several things is counted once.
package report
