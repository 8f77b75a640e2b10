// Package reflex lets pods have more CPU than their size for a while, decided on their node within microseconds.
//
// A pod allows it with the annotation swell.dev/burst (see v1alpha1.Burst). When the kernel stops its tasks because
// their quota is used up, the pod gets CPU beyond its size at once, up to what it allows. There are three bounds:
//
//   - its budget of CPU time beyond its size. Bursts use it up, and what the pod leaves of its size unused fills it
//     again;
//   - the node's pool, which the control plane's ledger grants. The bursts of all pods together never have more;
//   - the CPU that is idle. A burst is given at once and looked at a moment later: what the host has no CPU for is
//     taken back.
//
// Where not all have room, latency-critical pods come first, then those of the default quality of service, then
// best-effort ones. A burst ends when its pod has come to rest, its budget is used up, or its room is wanted for pods.
//
// The core is pure: counters and time go in, quotas come out. With no pod that may burst nothing is loaded and
// nothing runs.
package reflex
