package v1alpha1

import (
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

	// AnnotationPrice is what the pod costs for an hour at list, at the size that it is admitted with: "0.0375 CNY". It
	// changes with each resize. Only the control plane writes it.
	AnnotationPrice = "swell.dev/price-per-hour"

	// AnnotationBilledSize stands on what a dry run answers: the size that would be billed, which is the pod's or what
	// the price book's grid makes of it: "cpu=500m,memory=1Gi".
	AnnotationBilledSize = "swell.dev/billed-size"

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
