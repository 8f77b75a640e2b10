package v1alpha1

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// Default size of a container that names neither requests nor limits: the smallest cell of the grid
// that serverless providers sell.
const (
	DefaultCPUMilli    = 250
	DefaultMemoryBytes = 512 << 20
)

// Annotations on pods.
const (
	AnnotationComputeClass = "swell.dev/compute-class" // general-purpose (default), performance or gpu
	AnnotationQoS          = "swell.dev/qos"           // default or best-effort

	// AnnotationResizePolicy is what a resize does that its node has no room for; it may change while the
	// pod runs. Default: preempt.
	AnnotationResizePolicy = "swell.dev/resize-policy" // preempt or wait

	// AnnotationAllocated stands on a pod whose spec asks for a size that is not admitted yet (deferred
	// or infeasible). It holds what is admitted: JSON, container name → resources. Only the control
	// plane writes it.
	AnnotationAllocated = "swell.dev/allocated-resources"

	// AnnotationAutosized stands on a pod whose size an Autosize policy has set: JSON with the time and the sizes.
	AnnotationAutosized = "swell.dev/autosized"
)

// AnnotationReflexPool on a node shows its reflex pool: what is granted, held by bursts, and wanted. The control
// plane writes it.
const AnnotationReflexPool = "swell.dev/reflex-pool"

// LabelComputeClass on a node lists the compute classes that it offers, separated by dots:
// general-purpose.performance.gpu. A node without it offers general-purpose and performance.
const LabelComputeClass = AnnotationComputeClass

// Values of the annotations.
const (
	ClassGeneralPurpose = "general-purpose"
	ClassPerformance    = "performance"
	ClassGPU            = "gpu"
	QoSDefault          = "default"
	QoSBestEffort       = "best-effort"
	ResizePreempt       = "preempt" // best-effort pods of the node give way
	ResizeWait          = "wait"    // until room frees by itself
)

// ComputeClass returns the pod's compute class, defaulted.
func ComputeClass(pod *corev1.Pod) string {
	if v := pod.Annotations[AnnotationComputeClass]; v != "" {
		return v
	}
	return ClassGeneralPurpose
}

// QoS returns the pod's billing quality of service, defaulted.
func QoS(pod *corev1.Pod) string {
	if v := pod.Annotations[AnnotationQoS]; v != "" {
		return v
	}
	return QoSDefault
}

// ResizePolicy returns what the pod's resizes do for room, defaulted.
func ResizePolicy(pod *corev1.Pod) string {
	if v := pod.Annotations[AnnotationResizePolicy]; v != "" {
		return v
	}
	return ResizePreempt
}

// Sidecar reports whether an init container restarts always: it runs beside the others, and is resized as they are.
func Sidecar(init *corev1.Container) bool {
	return init.RestartPolicy != nil && *init.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// Allocated returns the admitted resources of the pod's containers and sidecars: what the spec says, unless a
// resize still waits. The nodelet actuates these and nothing else.
func Allocated(pod *corev1.Pod) (map[string]corev1.ResourceRequirements, error) {
	out := make(map[string]corev1.ResourceRequirements, len(pod.Spec.Containers))
	for i := range pod.Spec.Containers {
		out[pod.Spec.Containers[i].Name] = pod.Spec.Containers[i].Resources
	}
	for i := range pod.Spec.InitContainers {
		if init := &pod.Spec.InitContainers[i]; Sidecar(init) {
			out[init.Name] = init.Resources
		}
	}
	raw, ok := pod.Annotations[AnnotationAllocated]
	if !ok {
		return out, nil
	}
	var held map[string]corev1.ResourceRequirements
	if err := json.Unmarshal([]byte(raw), &held); err != nil {
		return nil, fmt.Errorf("pod %s/%s: annotation %s: %w", pod.Namespace, pod.Name, AnnotationAllocated, err)
	}
	for name, res := range held {
		if _, ok := out[name]; ok {
			out[name] = res
		}
	}
	return out, nil
}

// PodSize is what a pod takes from a node and what it is billed for, in milli-CPU and bytes. Nodes are
// never oversubscribed, so a container counts with its limit, or with its request where that is larger
// or alone. As in Kubernetes, a pod takes the most that it ever holds at once: its containers with the
// sidecars (init containers that restart always), or one init container with the sidecars before it.
func PodSize(pod *corev1.Pod) (cpuMilli, memoryBytes int64, err error) {
	allocated, err := Allocated(pod)
	if err != nil {
		return 0, 0, err
	}
	for i := range pod.Spec.Containers {
		c, m := containerSize(allocated[pod.Spec.Containers[i].Name])
		cpuMilli += c
		memoryBytes += m
	}
	var sidecarCPU, sidecarMemory, initCPU, initMemory int64
	for i := range pod.Spec.InitContainers {
		init := &pod.Spec.InitContainers[i]
		res, sidecar := allocated[init.Name]
		if !sidecar {
			res = init.Resources
		}
		c, m := containerSize(res)
		initCPU, initMemory = max(initCPU, sidecarCPU+c), max(initMemory, sidecarMemory+m)
		if sidecar {
			sidecarCPU += c
			sidecarMemory += m
		}
	}
	return max(cpuMilli+sidecarCPU, initCPU), max(memoryBytes+sidecarMemory, initMemory), nil
}

func containerSize(res corev1.ResourceRequirements) (cpuMilli, memoryBytes int64) {
	return max(res.Limits.Cpu().MilliValue(), res.Requests.Cpu().MilliValue()),
		max(res.Limits.Memory().Value(), res.Requests.Memory().Value())
}
