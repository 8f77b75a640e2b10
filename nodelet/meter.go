package nodelet

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/api/v1alpha1"
)

// meter keeps a pod's open segment at its actuated size. Metering begins right before the pod's first
// container starts, init container or not, and goes on through restarts and their backoffs, because the
// capacity is held; it ends when the last container has ended for good.
type meter struct {
	journal Journal
	mu      sync.Mutex // guards what follows, and orders the journal's entries
	segment usagev1.Segment
	open    bool
}

// set makes segment the present size: at once if the pod is metered, otherwise from its start on.
func (m *meter) set(segment usagev1.Segment) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.segment = segment
	if !m.open {
		return nil
	}
	return m.journal.Start(segment)
}

func (m *meter) start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open {
		return nil
	}
	if err := m.journal.Start(m.segment); err != nil {
		return err
	}
	m.open = true
	return nil
}

// void ends, at its beginning, a segment that was begun for a container which then didn't start, because the
// nodelet was killed in between.
func (m *meter) void(podUID string) error {
	return m.stop(podUID, time.Unix(0, 1)) // long ago, which the journal takes for the beginning
}

func (m *meter) stop(podUID string, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.journal.Stop(podUID, at); err != nil {
		return err
	}
	m.open = false
	return nil
}

// segment describes the pod at the sizes that the kernel holds.
func segment(pod *corev1.Pod, node string, actuated v1alpha1.Sizes) usagev1.Segment {
	cpu, memory := actuated.Total(pod)
	return usagev1.Segment{
		ID:        usagev1.ID{PodUID: string(pod.UID), Generation: pod.Generation},
		Namespace: pod.Namespace, Pod: pod.Name, Node: node,
		ComputeClass: v1alpha1.ComputeClass(pod), QoS: v1alpha1.QoS(pod),
		CPUMilli: cpu, MemoryBytes: memory, Labels: pod.Labels,
	}
}
