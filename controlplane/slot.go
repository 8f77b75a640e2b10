package controlplane

import (
	"hash/maphash"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
)

// Workload is what pods have in common that a host can make ready ahead of them: their tenant, which is their
// namespace, and their template. The zero Workload is none.
type Workload struct {
	Namespace string
	Template  uint64 // see PodTemplate; means nothing outside of this process
}

// SlotDepth is how far a slot is made ready ahead of its pod. Each depth includes those before it. The values
// are the protocol's (api/node/v1).
type SlotDepth uint8

const (
	SlotNone      SlotDepth = iota // no slot
	SlotCapacity                   // room is held; nothing is on the host
	SlotSandbox                    // image, network namespace, cgroup and volumes are there
	SlotContainer                  // the first container is created and waits at its start
)

func (d SlotDepth) String() string {
	switch d {
	case SlotCapacity:
		return "Capacity"
	case SlotSandbox:
		return "Sandbox"
	case SlotContainer:
		return "Container"
	}
	return "None"
}

// Placement is where a pod is placed.
type Placement struct {
	Node string
	// Slot is the UID of the slot that the pod takes, empty if it takes none. The pod has to bear it: by that
	// name things are on the host already.
	Slot  string
	Depth SlotDepth // how far that slot has come
}

var templateSeed = maphash.MakeSeed()

// encodings are buffers for the templates' encodings.
var encodings = sync.Pool{New: func() any { return new([]byte) }}

// PodTemplate hashes everything of a defaulted pod that decides what a host makes ready for it. What a slot is
// made to fit when its pod comes is left out: the containers' environment, the host name, the pod's name and
// labels, and the node; so is the priority, which no host knows. How a quantity is spelled doesn't matter, nor
// whether something empty is there or isn't. The seed is this process's own, so nobody can
// make two templates meet.
func PodTemplate(pod *corev1.Pod) uint64 { return SpecTemplate(&pod.Spec).Of(pod) }

// PodSpecTemplate is the spec's part of a template.
type PodSpecTemplate uint64

// Of answers the template of a pod with that spec.
func (t PodSpecTemplate) Of(pod *corev1.Pod) uint64 {
	class, qos := pod.Annotations[v1alpha1.AnnotationComputeClass], pod.Annotations[v1alpha1.AnnotationQoS]
	if class == "" && qos == "" {
		return uint64(t)
	}
	return maphash.Comparable(templateSeed, [3]any{t, class, qos})
}

// SpecTemplate hashes what PodTemplate does but for the annotations. It is worth remembering where many pods have
// one spec.
func SpecTemplate(of *corev1.PodSpec) PodSpecTemplate {
	spec := *of // shallow: nothing below is changed in place
	spec.NodeName, spec.Hostname = "", ""
	spec.PriorityClassName, spec.Priority, spec.PreemptionPolicy = "", nil, nil // a slot has none: it is given up first
	var h maphash.Hash
	h.SetSeed(templateSeed)
	spec.InitContainers, spec.Containers = plainContainers(&h, spec.InitContainers), plainContainers(&h, spec.Containers)
	spec.Volumes = plainVolumes(&h, spec.Volumes)
	if r := spec.Resources; r != nil {
		writeQuantities(&h, r.Requests)
		writeQuantities(&h, r.Limits)
		spec.Resources = nil
	}
	if a := spec.Affinity; a != nil && *a == (corev1.Affinity{}) {
		spec.Affinity = nil
	}
	if d := spec.DNSConfig; d != nil && len(d.Nameservers)+len(d.Searches)+len(d.Options) == 0 {
		spec.DNSConfig = nil
	}

	buf := encodings.Get().(*[]byte)
	defer encodings.Put(buf)
	if n := spec.Size(); cap(*buf) < n {
		*buf = make([]byte, n)
	} else {
		*buf = (*buf)[:n]
	}
	// The encoding is deterministic (maps are sorted), and fields that Kubernetes adds count by themselves.
	if n, err := spec.MarshalToSizedBuffer(*buf); err == nil {
		h.Write((*buf)[len(*buf)-n:])
	}
	return PodSpecTemplate(h.Sum64())
}

// plainContainers answers the containers without their literal environment, and without what can be said in more
// than one way: quantities are written to h by their values, and what is there but empty is left out.
func plainContainers(h *maphash.Hash, list []corev1.Container) []corev1.Container {
	if len(list) == 0 {
		return nil
	}
	out := make([]corev1.Container, len(list))
	copy(out, list)
	maphash.WriteComparable(h, len(out))
	for i := range out {
		c := &out[i]
		c.Env = nil
		for _, sizes := range []*corev1.ResourceList{&c.Resources.Requests, &c.Resources.Limits} {
			writeQuantities(h, *sizes)
			*sizes = nil
		}
		if s := c.SecurityContext; s != nil && *s == (corev1.SecurityContext{}) {
			c.SecurityContext = nil
		}
		if l := c.Lifecycle; l != nil && *l == (corev1.Lifecycle{}) {
			c.Lifecycle = nil
		}
	}
	return out
}

// plainVolumes does for volumes what plainContainers does.
func plainVolumes(h *maphash.Hash, list []corev1.Volume) []corev1.Volume {
	out := list
	for i := range list {
		if d := list[i].EmptyDir; d != nil && d.SizeLimit != nil {
			if &out[0] == &list[0] {
				out = slices.Clone(list)
			}
			maphash.WriteComparable(h, amount{"", i, d.SizeLimit.Value(), d.SizeLimit.MilliValue()})
			out[i].EmptyDir = &corev1.EmptyDirVolumeSource{Medium: d.Medium}
		}
	}
	return out
}

// amount is a quantity by its value. Either part alone stops short of something.
type amount struct {
	name         string
	index        int
	whole, milli int64
}

func writeQuantities(h *maphash.Hash, list corev1.ResourceList) {
	var few [4]corev1.ResourceName
	names := few[:0]
	for name := range list {
		names = append(names, name)
	}
	slices.Sort(names)
	maphash.WriteComparable(h, len(names))
	for i, name := range names {
		q := list[name]
		maphash.WriteComparable(h, amount{string(name), i, q.Value(), q.MilliValue()})
	}
}
