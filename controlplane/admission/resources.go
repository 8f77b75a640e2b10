package admission

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Sizes of a container and of a pod beyond these are typing errors, and sums of them would be beyond what
// can be counted in an int64.
var (
	maxCPU    = resource.MustParse("1000000")
	maxMemory = resource.MustParse("1Pi")
)

func validateResources(r *corev1.ResourceRequirements, at *field.Path) field.ErrorList {
	errs := validateQuantities(r.Limits, at.Child("limits"))
	errs = append(errs, validateQuantities(r.Requests, at.Child("requests"))...)
	for _, name := range slices.Sorted(maps.Keys(r.Requests)) {
		request := r.Requests[name]
		if limit, ok := r.Limits[name]; ok && request.Cmp(limit) > 0 {
			errs = append(errs, field.Invalid(at.Child("requests"), request.String(), fmt.Sprintf("must be less than or equal to %s limit of %s", name, limit.String())))
		}
	}
	return errs
}

func validateQuantities(list corev1.ResourceList, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(list)) {
		q, p := list[name], at.Key(string(name))
		largest := maxCPU
		switch name {
		case corev1.ResourceCPU:
		case corev1.ResourceMemory:
			largest = maxMemory
		default:
			errs = append(errs, field.NotSupported(p, name, []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory}))
			continue
		}
		switch {
		case q.Sign() < 0:
			errs = append(errs, field.Invalid(p, q.String(), "must be greater than or equal to 0"))
		case q.Sign() == 0:
			errs = append(errs, field.Invalid(p, q.String(), "must be greater than 0: a container without nodes has exactly the size that it asks for"))
		case q.Cmp(largest) > 0:
			errs = append(errs, field.Invalid(p, q.String(), fmt.Sprintf("must be less than or equal to %s", largest.String())))
		case name == corev1.ResourceMemory && q.MilliValue()%1000 != 0:
			errs = append(errs, field.Invalid(p, q.String(), "must be an integer"))
		}
	}
	return errs
}

// validateTotal bounds the sum of the containers, counting each with the larger of its request and limit.
// A container that is too large by itself has been named already.
func validateTotal(spec *corev1.PodSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, r := range []struct {
		name    corev1.ResourceName
		largest resource.Quantity
	}{{corev1.ResourceCPU, maxCPU}, {corev1.ResourceMemory, maxMemory}} {
		var sum resource.Quantity
		for _, list := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
			for i := range list {
				q, limit := list[i].Resources.Requests[r.name], list[i].Resources.Limits[r.name]
				if limit.Cmp(q) > 0 {
					q = limit
				}
				if q.Sign() > 0 && q.Cmp(r.largest) <= 0 {
					sum.Add(q)
				}
			}
		}
		if sum.Cmp(r.largest) > 0 {
			errs = append(errs, field.Invalid(at.Child("containers"), sum.String(), fmt.Sprintf("the containers' %s must be less than or equal to %s together", r.name, r.largest.String())))
		}
	}
	return errs
}
