package quota

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// amount is something that quotas bound.
type amount int

const (
	objects  amount = iota // that are stored
	livePods               // that haven't ended
	requestsCPU
	requestsMemory
	limitsCPU
	limitsMemory
	amounts // how many there are
)

// use is how much of each, CPU in thousandths, memory in bytes.
type use [amounts]int64

func (u use) max(v use) use {
	for i := range u {
		u[i] = max(u[i], v[i])
	}
	return u
}

// claim is what an object counts with, and what decides which quotas are about it.
type claim struct {
	use         use
	terminating bool // the pod has a deadline
	bestEffort  bool
	class       string // of its priority
	// expires is when a pod that is being deleted counts as one that has ended, whether it's gone or not. Zero: never.
	expires time.Time
}

func claimOf(o controlplane.Object, now time.Time) *claim {
	c := &claim{}
	c.use[objects] = 1
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return c
	}
	c.terminating = pod.Spec.ActiveDeadlineSeconds != nil
	c.bestEffort = v1alpha1.QoS(pod) == v1alpha1.QoSBestEffort || pod.Status.QOSClass == corev1.PodQOSBestEffort
	c.class = pod.Spec.PriorityClassName
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return c
	}
	if at, grace := pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds; at != nil && grace != nil {
		// Kubernetes counts the grace from the time that it ends at.
		if c.expires = at.Add(time.Duration(*grace) * time.Second); now.After(c.expires) {
			return c
		}
	}
	sums, err := controlplane.HeldSums(pod)
	if err != nil { // what is admitted can't be read, which nobody but the control plane writes
		sums = controlplane.SpecSums(pod)
	}
	c.use[livePods] = 1
	c.use[requestsCPU], c.use[requestsMemory] = sums.Requests.CPUMilli, sums.Requests.MemoryBytes
	c.use[limitsCPU], c.use[limitsMemory] = sums.Limits.CPUMilli, sums.Limits.MemoryBytes
	return c
}

// end leaves the object and nothing of its size.
func (c *claim) end() { c.use = use{objects: c.use[objects]} }
