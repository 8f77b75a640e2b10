package controlplane

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Demand is what a pod takes from a node's capacity and what it is billed for.
type Demand struct {
	CPUMilli    int64
	MemoryBytes int64
}

// Add returns d+e.
func (d Demand) Add(e Demand) Demand {
	return Demand{CPUMilli: d.CPUMilli + e.CPUMilli, MemoryBytes: d.MemoryBytes + e.MemoryBytes}
}

// Sub returns d-e.
func (d Demand) Sub(e Demand) Demand {
	return Demand{CPUMilli: d.CPUMilli - e.CPUMilli, MemoryBytes: d.MemoryBytes - e.MemoryBytes}
}

// Max returns the larger of each quantity.
func (d Demand) Max(e Demand) Demand {
	return Demand{CPUMilli: max(d.CPUMilli, e.CPUMilli), MemoryBytes: max(d.MemoryBytes, e.MemoryBytes)}
}

// Fits reports whether d fits into free.
func (d Demand) Fits(free Demand) bool {
	return d.CPUMilli <= free.CPUMilli && d.MemoryBytes <= free.MemoryBytes
}

// PlaceRequest asks for a node for one pod.
type PlaceRequest struct {
	Key    Key
	UID    string
	Demand Demand
	// BoostCPUMilli is what it would have beyond its size while it starts. Want of it makes no pod wait, unless it is
	// required: then it is in Demand.
	BoostCPUMilli int64
	BoostRequired bool
	NodeName      string            // if set, only this node
	NodeSelector  map[string]string // labels the node must have
	HostPorts     []HostPort        // that must be free there
	Created       time.Time         // orders the pending
	Labels        map[string]string // the pod's, for the rules of others; shared, never changed
	Class         Classes           // the one it needs; none: general-purpose
	Priority      int32
	BestEffort    bool   // gives way to any pod that isn't
	NeverPreempt  bool   // doesn't take room from lower priorities
	Leaving       bool   // is being deleted: its room will be free
	Rules         *Rules // nil: none
	Template      uint64 // with the namespace, whose slot it may take; 0: none's

	Resize *ResizeRequest // that waits, of a pod that is restored; nil: none does
}

// Size is what the pod takes once it has started.
func (r *PlaceRequest) Size() Demand {
	d := r.Demand
	if r.BoostRequired {
		d.CPUMilli -= r.BoostCPUMilli
	}
	return d
}

// Workload is whose slots the pod may take.
func (r *PlaceRequest) Workload() Workload {
	return Workload{Namespace: r.Key.Namespace, Template: r.Template}
}

// HostPort is a port of a host that one pod at a time may have.
type HostPort struct {
	Protocol string // TCP, UDP or SCTP
	IP       string // empty: on all of the host's addresses
	Port     int32
}

// Conflicts reports that no host can give out both.
func (p HostPort) Conflicts(q HostPort) bool {
	return p.Port == q.Port && p.Protocol == q.Protocol && (p.IP == q.IP || p.IP == "" || q.IP == "")
}

// Node is a host as the scheduler sees it.
type Node struct {
	Name     string
	Labels   map[string]string
	Capacity Demand
	MaxPods  int
	Ready    bool
	Cordoned bool // spec.unschedulable
	Taints   []corev1.Taint
}

// PoolReport is what a node says of its reflex pool: the room beyond its pods' sizes that it uses for bursts.
type PoolReport struct {
	Want  Demand // the most that its pods could use
	Held  Demand // by bursts, now
	Heard int64  // the number of the last grant; held goes no further than that from there on
}

// PoolGrant is how much of a node's room is lent to its pool. Of one node's the largest number holds.
type PoolGrant struct {
	Node   string
	Room   Demand
	Number int64
}

// EvictReason is why the control plane ends a pod that its owner didn't end; it becomes the reason of the
// pod's condition DisruptionTarget.
type EvictReason string

// Why pods are evicted. The words are Kubernetes', but for Reclaimed.
const (
	Preempted EvictReason = "PreemptionByScheduler"  // for a pod of higher priority
	Reclaimed EvictReason = "ReclamationByScheduler" // best-effort, for a pod that isn't
	Expelled  EvictReason = "DeletionByTaintManager" // its node has a taint that it doesn't tolerate
	Overspent EvictReason = "DeletionByBudget"       // its project's or account's budget is spent
)

// Eviction is a pod that has to go.
type Eviction struct {
	Key     Key
	UID     string
	Node    string
	Reason  EvictReason
	Message string
	For     Key // the pod that gets its room, if it is for one
}

// ResizeRequest asks for another size of a pod. What isn't size says in which order resizes get room that
// becomes free, as Kubernetes has it: the higher priority, then the QoS class, then who has waited longer.
type ResizeRequest struct {
	Demand     Demand
	Priority   int32
	QOS        corev1.PodQOSClass // Guaranteed, Burstable, BestEffort
	Since      time.Time          // from when it is deferred
	Patient    bool               // waits for room rather than have best-effort pods give way
	Infeasible bool               // was found so before; of one that is restored
}

// ResizeAnswer is the ledger's, with the reason where it isn't admitted, in the kubelet's words.
type ResizeAnswer struct {
	Verdict ResizeVerdict
	Message string
}

// ResizeDecision is what became of a resize that waited.
type ResizeDecision struct {
	Key    Key
	UID    string
	Demand Demand // that was asked for
	ResizeAnswer
}

// ResizeVerdict is the ledger's answer to a resize.
type ResizeVerdict uint8

const (
	ResizeAdmitted   ResizeVerdict = iota + 1
	ResizeDeferred                 // the node is full now; asked again when room frees
	ResizeInfeasible               // the node could never hold it
)
