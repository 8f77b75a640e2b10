package sizing

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// sizeOf is a container's size: its limit, or its request where that is alone.
func sizeOf(r *corev1.ResourceRequirements) amounts {
	return amounts{
		max(r.Limits.Cpu().MilliValue(), r.Requests.Cpu().MilliValue()),
		max(r.Limits.Memory().Value(), r.Requests.Memory().Value()),
	}
}

// sized answers the resources with another size. The limit, or the request that is alone, becomes the size; a
// request keeps its proportion to its limit, and stays below it where it was, so that the QoS class stays.
func sized(r *corev1.ResourceRequirements, to amounts) corev1.ResourceRequirements {
	out := *r.DeepCopy()
	was := sizeOf(r)
	scale := func(name corev1.ResourceName, was, to, unit int64) {
		if was == to || was == 0 {
			return
		}
		limit, limited := r.Limits[name]
		request, requested := r.Requests[name]
		if limited {
			out.Limits[name] = quantity(name, to)
		}
		if !requested {
			return
		}
		if !limited || request.Cmp(limit) == 0 {
			out.Requests[name] = quantity(name, to)
			return
		}
		less := roundUp(float64(value(name, request))/float64(was)*float64(to), unit)
		if value(name, request) > 0 {
			less = max(less, 1)
		}
		if less >= to { // by rounding only
			less = max(to-1, 0)
		}
		out.Requests[name] = quantity(name, less)
	}
	scale(corev1.ResourceCPU, was.cpu, to.cpu, 1)
	scale(corev1.ResourceMemory, was.memory, to.memory, mebibyte)
	return out
}

func value(name corev1.ResourceName, q resource.Quantity) int64 {
	if name == corev1.ResourceCPU {
		return q.MilliValue()
	}
	return q.Value()
}

func quantity(name corev1.ResourceName, v int64) resource.Quantity {
	q := resource.NewQuantity(v, resource.BinarySI)
	if name == corev1.ResourceCPU {
		q = resource.NewMilliQuantity(v, resource.DecimalSI)
	}
	_ = q.String() // it keeps what it answers
	return *q
}

func listOf(a amounts) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: quantity(corev1.ResourceCPU, a.cpu), corev1.ResourceMemory: quantity(corev1.ResourceMemory, a.memory)}
}

// restarts tells for which resources a resize would restart the container.
func restarts(c *corev1.Container) (cpu, memory bool) {
	for _, p := range c.ResizePolicy {
		if p.RestartPolicy == corev1.RestartContainer {
			cpu = cpu || p.ResourceName == corev1.ResourceCPU
			memory = memory || p.ResourceName == corev1.ResourceMemory
		}
	}
	return cpu, memory
}
