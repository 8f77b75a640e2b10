package nodelet

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// ErrMemoryInUse is a memory limit below what a container uses and doesn't give back.
var ErrMemoryInUse = errors.New("memory is in use")

// PodSize is what a pod's cgroups are made after.
type PodSize struct {
	Class      corev1.PodQOSClass
	Pod        *corev1.ResourceRequirements // what the pod has as a whole; nil: what its containers have together
	Shared     bool                         // Pod is what the pod says: a limit that a container doesn't say is the pod's
	Containers map[string]corev1.ResourceRequirements
	OOMScores  map[string]int // oom_score_adj of containers' processes; it follows the request of memory
	Guarded    bool           // Bursts looks after its memory: where an earlier nodelet's did, what waits at a limit waits on until it does
}

// Cgroups owns the pods' part of the cgroup tree: <parent>/pod<UID>, and below it one cgroup per
// container that the runtime makes at Container.CgroupPath.
type Cgroups interface {
	// EnsurePod makes the pod's cgroup with the limits that follow from its containers. ErrMemoryInUse is the answer
	// where one that was there has more memory in use: it is made, and keeps the memory that it had.
	EnsurePod(podUID string, size PodSize) error
	// ContainerPath answers Container.CgroupPath for a container of the pod.
	ContainerPath(podUID, container string) string
	// Unified answers what a container of a pod is made with on cgroup v2 besides its limits: file → value.
	Unified(size PodSize, container string) map[string]string
	// Resize writes new limits in place, in the order that the kernel accepts and that Kubernetes
	// documents (memory before CPU; growing pod → containers, shrinking containers → pod; a failed
	// decrease cancels the increases), gives processes that run their new oom_score_adj, and answers what the kernel holds afterwards, per container.
	// A memory limit that the container's usage doesn't allow is ErrMemoryInUse and changes nothing.
	// Containers that aren't running have no cgroup and are left out of the answer.
	Resize(ctx context.Context, podUID string, size PodSize) (Actual, error)
	// Read answers what the kernel holds, per container.
	Read(podUID string, containers []string) (Actual, error)
	// Usage answers cumulative CPU time and memory per container.
	Usage(podUID string, containers []string) (map[string]Usage, error)
	// RemovePod kills what is left in it and removes it. One that doesn't exist is no error.
	RemovePod(podUID string) error
	// List answers the pods that have one.
	List() ([]string, error)
}

// Actual is, per container, the resources that the kernel's values stand for: requests from
// cpu.shares/weight, limits from quota and memory limit. For a pod that says what it has as a whole it is under
// v1alpha1.WholePod.
type Actual map[string]corev1.ResourceRequirements

// Usage is a reading of a container's counters.
type Usage struct {
	CPU        time.Duration // since it started
	Memory     int64         // working set in bytes: usage less inactive file pages
	Throttled  time.Duration // since it started
	OOMKills   int64
	MeasuredAt time.Time
}
