package v1alpha1

import (
	"encoding/json"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// WholePod is the name in Sizes of what a pod has as a whole. No container is called that.
const WholePod = ""

// Sizes are the resources of a pod's containers by name, init containers included, and under WholePod those of the
// pod itself, if it says them (spec.resources).
type Sizes map[string]corev1.ResourceRequirements

// Asked returns what the pod's spec says, admitted or not.
func Asked(pod *corev1.Pod) Sizes {
	out := make(Sizes, len(pod.Spec.Containers))
	for i := range pod.Spec.Containers {
		out[pod.Spec.Containers[i].Name] = pod.Spec.Containers[i].Resources
	}
	for i := range pod.Spec.InitContainers {
		out[pod.Spec.InitContainers[i].Name] = pod.Spec.InitContainers[i].Resources
	}
	if HasPodResources(&pod.Spec) {
		out[WholePod] = *pod.Spec.Resources
	}
	return out
}

// HasPodResources reports a pod that says what it has as a whole.
func HasPodResources(spec *corev1.PodSpec) bool {
	return spec.Resources != nil && len(spec.Resources.Requests)+len(spec.Resources.Limits) > 0
}

// Allocated returns the pod's admitted resources: what the spec says, unless a resize still waits. The nodelet
// actuates these and nothing else.
func Allocated(pod *corev1.Pod) (Sizes, error) {
	out := Asked(pod)
	raw, ok := pod.Annotations[AnnotationAllocated]
	if !ok {
		return out, nil
	}
	var held Sizes
	if err := json.Unmarshal([]byte(raw), &held); err != nil {
		return nil, fmt.Errorf("pod %s/%s: annotation %s: %w", pod.Namespace, pod.Name, AnnotationAllocated, err)
	}
	if _, had := held[WholePod]; !had {
		delete(out, WholePod) // the resize that waits adds it
	}
	for name, res := range held {
		if _, ok := out[name]; ok {
			out[name] = res
		}
	}
	return out, nil
}

// Of returns what a container has. As with a kubelet, a limit that it doesn't say is the pod's.
func (s Sizes) Of(container string) corev1.ResourceRequirements {
	res := s[container]
	whole := s[WholePod].Limits
	limits := res.Limits
	for name, q := range whole {
		if _, said := res.Limits[name]; said {
			continue
		}
		if len(limits) == len(res.Limits) {
			limits = make(corev1.ResourceList, len(res.Limits)+len(whole))
			maps.Copy(limits, res.Limits)
		}
		limits[name] = q
	}
	res.Limits = limits
	return res
}

// Total returns what a pod of these sizes takes from a node and is billed for, in milli-CPU and bytes. Nodes are
// never oversubscribed, so a container counts with its limit, or with its request where that is larger or alone, and
// what the pod says as a whole counts in place of its containers.
func (s Sizes) Total(pod *corev1.Pod) (cpuMilli, memoryBytes int64) {
	return s.sum(pod, SizeOf)
}

// Whole returns the requests and limits of a pod of these sizes: its own, else those of its containers together.
func (s Sizes) Whole(pod *corev1.Pod) corev1.ResourceRequirements {
	list := func(cpu, memory int64) corev1.ResourceList {
		return corev1.ResourceList{
			corev1.ResourceCPU:    *resource.NewMilliQuantity(cpu, resource.DecimalSI),
			corev1.ResourceMemory: *resource.NewQuantity(memory, resource.BinarySI),
		}
	}
	return corev1.ResourceRequirements{Requests: list(s.Requests(pod)), Limits: list(s.Limits(pod))}
}

// Requests returns those of Whole, in milli-CPU and bytes.
func (s Sizes) Requests(pod *corev1.Pod) (cpuMilli, memoryBytes int64) {
	return s.sum(pod, func(res corev1.ResourceRequirements) (int64, int64) { return amounts(res.Requests) })
}

// Limits returns those of Whole, in milli-CPU and bytes.
func (s Sizes) Limits(pod *corev1.Pod) (cpuMilli, memoryBytes int64) {
	return s.sum(pod, func(res corev1.ResourceRequirements) (int64, int64) { return amounts(res.Limits) })
}

func amounts(list corev1.ResourceList) (cpuMilli, memoryBytes int64) {
	cpu, memory := list[corev1.ResourceCPU], list[corev1.ResourceMemory]
	return cpu.MilliValue(), memory.Value()
}

// sum adds up as Kubernetes does: a pod has the most that it ever holds at once, which is its containers with the
// sidecars (init containers that restart always), or one init container with the sidecars before it.
func (s Sizes) sum(pod *corev1.Pod, of func(corev1.ResourceRequirements) (cpuMilli, memoryBytes int64)) (cpuMilli, memoryBytes int64) {
	value := func(c *corev1.Container) (int64, int64) {
		if res, ok := s[c.Name]; ok {
			return of(res)
		}
		return of(c.Resources)
	}
	for i := range pod.Spec.Containers {
		c, m := value(&pod.Spec.Containers[i])
		cpuMilli += c
		memoryBytes += m
	}
	var sidecarCPU, sidecarMemory, initCPU, initMemory int64
	for i := range pod.Spec.InitContainers {
		init := &pod.Spec.InitContainers[i]
		c, m := value(init)
		initCPU, initMemory = max(initCPU, sidecarCPU+c), max(initMemory, sidecarMemory+m)
		if Sidecar(init) {
			sidecarCPU += c
			sidecarMemory += m
		}
	}
	cpuMilli, memoryBytes = max(cpuMilli+sidecarCPU, initCPU), max(memoryBytes+sidecarMemory, initMemory)
	if whole, ok := s[WholePod]; ok {
		c, m := of(whole)
		if c > 0 {
			cpuMilli = c
		}
		if m > 0 {
			memoryBytes = m
		}
	}
	return cpuMilli, memoryBytes
}

// Boosted returns the sizes while containers have that CPU, in thousandths. A pod that says what it has as a whole
// has as much more.
func (s Sizes) Boosted(cpu map[string]int64) Sizes {
	if len(cpu) == 0 {
		return s
	}
	out := maps.Clone(s)
	whole, ok := s[WholePod]
	var more int64
	for name, milli := range cpu {
		if _, known := s[name]; !known {
			continue
		}
		res := s.Of(name)
		cpu, _ := SizeOf(res)
		more += max(milli-cpu, 0)
		out[name] = Boosted(res, milli)
	}
	if ok {
		cpu, _ := SizeOf(whole)
		out[WholePod] = Boosted(whole, cpu+more)
	}
	return out
}

// SizeOf returns what resources count as, in milli-CPU and bytes: the limit, or the request where that is larger.
func SizeOf(res corev1.ResourceRequirements) (cpuMilli, memoryBytes int64) {
	return max(res.Limits.Cpu().MilliValue(), res.Requests.Cpu().MilliValue()),
		max(res.Limits.Memory().Value(), res.Requests.Memory().Value())
}

// PodSize is what a pod takes from a node and what it is billed for, in milli-CPU and bytes, as far as it is admitted.
func PodSize(pod *corev1.Pod) (cpuMilli, memoryBytes int64, err error) {
	allocated, err := Allocated(pod)
	if err != nil {
		return 0, 0, err
	}
	cpuMilli, memoryBytes = allocated.Total(pod)
	return cpuMilli, memoryBytes, nil
}

// PodQOS is Kubernetes' quality-of-service class: guaranteed where every container's cpu and memory
// requests equal its limits, best effort where none has either, burstable otherwise. What a pod says as a whole
// decides alone.
func PodQOS(spec *corev1.PodSpec) corev1.PodQOSClass {
	guaranteed, anything := true, false
	visit := func(r *corev1.ResourceRequirements) {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			request, limit := positive(r.Requests, name), positive(r.Limits, name)
			if request != nil || limit != nil {
				anything = true
			}
			if limit == nil || request != nil && request.Cmp(*limit) != 0 {
				guaranteed = false
			}
		}
	}
	if HasPodResources(spec) {
		visit(spec.Resources)
	} else {
		for i := range spec.InitContainers {
			visit(&spec.InitContainers[i].Resources)
		}
		for i := range spec.Containers {
			visit(&spec.Containers[i].Resources)
		}
	}
	switch {
	case !anything:
		return corev1.PodQOSBestEffort
	case guaranteed:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}

func positive(list corev1.ResourceList, name corev1.ResourceName) *resource.Quantity {
	if q, ok := list[name]; ok && q.Sign() > 0 {
		return &q
	}
	return nil
}
