package podcgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/cgroups"
	"swell.dev/swell/nodelet"
)

// MemoryQoS is what a kubelet calls by that name (KEP-2570, as of Kubernetes 1.37): what version 2 does for memory
// beside limits. The zero value, as there, writes none of it.
type MemoryQoS struct {
	// Throttling is the kubelet's memoryThrottlingFactor: above which part of the way from a container's request to
	// its limit its processes are slowed down and have to reclaim. 0: nowhere.
	Throttling float64
	// Reservation is the kubelet's memoryReservationPolicy TieredReservation: the kernel keeps the requests of
	// Guaranteed pods (memory.min), and those of Burstable ones as long as it can (memory.low).
	Reservation bool
	// Allocatable bytes of the node stand for the limit where a container has none.
	Allocatable int64
}

// Validate names what is wrong.
func (q MemoryQoS) Validate() error {
	if q.Throttling < 0 || q.Throttling > 1 {
		return fmt.Errorf("memory throttling factor %g: want 0 (off) to 1", q.Throttling)
	}
	return nil
}

// of answers a container's share of it. One that has the pod's limit is slowed down with the pod.
func (q MemoryQoS) of(size nodelet.PodSize, container string) cgroups.MemoryQoS {
	r := size.Containers[container]
	if size.Shared && r.Limits.Memory().IsZero() {
		return q.reserved(size.Class, r.Requests.Memory().Value())
	}
	return q.group(size.Class, r)
}

func (q MemoryQoS) group(class corev1.PodQOSClass, r corev1.ResourceRequirements) cgroups.MemoryQoS {
	asked, limit := requestOf(r, corev1.ResourceMemory), r.Limits.Memory().Value()
	request := asked.Value()
	out := q.reserved(class, request)
	if q.Throttling == 0 || class == corev1.PodQOSGuaranteed || request == limit && limit != 0 {
		return out
	}
	if limit == 0 {
		limit = q.Allocatable
	}
	// KEP-2570: floor[(request + factor × (limit or allocatable − request)) / page] × page; the kernel has pages.
	if high := int64(float64(request) + float64(limit-request)*q.Throttling); high > request {
		out.High = high
	}
	return out
}

// reserved answers what is protected of a request.
func (q MemoryQoS) reserved(class corev1.PodQOSClass, request int64) (out cgroups.MemoryQoS) {
	switch {
	case !q.Reservation:
	case class == corev1.PodQOSGuaranteed:
		out.Min = request
	case class == corev1.PodQOSBurstable:
		out.Low = request
	}
	return out
}

// ofPod answers what holds for the pod's group: to protect, the sum, since children aren't protected beyond it. A pod
// is slowed down as a whole only where it says what it has as a whole.
func (q MemoryQoS) ofPod(size nodelet.PodSize) (out cgroups.MemoryQoS) {
	switch {
	case size.Shared:
		return q.group(size.Class, *size.Pod)
	case size.Pod != nil:
		asked := requestOf(*size.Pod, corev1.ResourceMemory)
		return q.reserved(size.Class, asked.Value())
	}
	for name := range size.Containers {
		c := q.of(size, name)
		out.Min += c.Min
		out.Low += c.Low
	}
	return out
}

// Unified implements nodelet.Cgroups. A kernel that kills for want of memory kills all of a container, as with a
// kubelet whose singleProcessOOMKill isn't set; and containers have no swap, as with swapBehavior NoSwap.
func (t *Tree) Unified(size nodelet.PodSize, container string) map[string]string {
	if t.version == 1 {
		return nil
	}
	out := map[string]string{"memory.oom.group": "1"}
	if t.swaps {
		out["memory.swap.max"] = "0"
	}
	q := t.qos.of(size, container)
	for file, bytes := range map[string]int64{"memory.min": q.Min, "memory.low": q.Low, "memory.high": q.High} {
		if bytes > 0 {
			out[file] = strconv.FormatInt(bytes, 10)
		}
	}
	return out
}

// A pod is protected no further than the tree's own group, which therefore has the sum of all pods.

// adopt notes what is protected of pods that are there already.
func (t *Tree) adopt() error {
	uids, err := t.List()
	if err != nil {
		return err
	}
	for _, uid := range uids {
		l, err := t.pod(uid).Read()
		if errors.Is(err, fs.ErrNotExist) {
			continue // it is on its way out
		}
		if err != nil {
			return err
		}
		t.protected[uid] = cgroups.MemoryQoS{Min: l.Min, Low: l.Low}
	}
	return t.protect()
}

// reserve notes what is to be protected of a pod, and grows or shrinks the tree's own group.
func (t *Tree) reserve(podUID string, q cgroups.MemoryQoS, only func(now, next int64) int64) error {
	if t.version == 1 {
		return nil
	}
	t.reserving.Lock()
	defer t.reserving.Unlock()
	was := t.protected[podUID]
	next := cgroups.MemoryQoS{Min: only(was.Min, q.Min), Low: only(was.Low, q.Low)}
	if next == was {
		return nil
	}
	t.protected[podUID] = next
	if next == (cgroups.MemoryQoS{}) {
		delete(t.protected, podUID)
	}
	return t.protect()
}

// more and exactly are how a pod's part changes: before its own group does, and after.
func more(now, next int64) int64  { return max(now, next) }
func exactly(_, next int64) int64 { return next }

func (t *Tree) protect() error {
	var sum cgroups.MemoryQoS
	for _, q := range t.protected {
		sum.Min += q.Min
		sum.Low += q.Low
	}
	return t.parent.Protect(sum)
}
