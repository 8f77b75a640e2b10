// Package slots decides how many slots are kept ready ahead of pods, for whom, and has them made.
//
// What comes is learned from the pods that are created. Pods of one tenant and template are a workload, and
// each has a forecaster of its own (internal/forecast). Every interval the core works out how many slots a
// workload should have: as many as will have come, with the wanted certainty, by the time that a slot ordered
// now is ready. The certainty is the newsvendor's: one slot more is kept as long as the cost of its idling is
// less than that of the cold start which it avoids, each by its probability; so it is cold/(cold+idle).
//
// Slots are soft state. They live here, in the scheduler's ledger and on the hosts, and are never stored. A
// workload that no longer comes loses them as its forecast decays, one of many workloads is forgotten when it
// is the one that was heard of longest ago, and all of them together hold no more than a share of what is free.
// Namespaces have even parts of that share (bound.go), and hosts that are behind already are spared (pace.go).
//
// The core (core.go, policy.go, pace.go, bound.go) is a plain data structure: time comes in, what is to be done comes out.
// Controller is the goroutine around it, with the calls to the scheduler and to the hub of nodelets.
package slots
