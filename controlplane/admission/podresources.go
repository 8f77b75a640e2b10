package admission

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
)

var resizable = []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory}

// says reports that the pod says itself how much it has of a resource.
func says(whole *corev1.ResourceRequirements, name corev1.ResourceName) bool {
	if whole == nil {
		return false
	}
	_, requested := whole.Requests[name]
	_, limited := whole.Limits[name]
	return requested || limited
}

// together is what a pod's containers come to.
func together(spec *corev1.PodSpec) corev1.ResourceRequirements {
	pod := &corev1.Pod{Spec: *spec}
	sizes := v1alpha1.Asked(pod)
	delete(sizes, v1alpha1.WholePod)
	return sizes.Whole(pod)
}

// defaultPodResources completes what a pod says of itself, as Kubernetes does: a request is that of the containers
// together, else the limit; a limit is the larger of the request and of the containers' limits together, here also
// where containers have none. Containers have their defaults by then.
func defaultPodResources(spec *corev1.PodSpec) {
	if !v1alpha1.HasPodResources(spec) {
		return
	}
	r := spec.Resources
	roundUp(r.Requests)
	roundUp(r.Limits)
	containers := together(spec)
	for _, name := range resizable {
		request, requested := r.Requests[name]
		limit, limited := r.Limits[name]
		if !requested {
			if request = containers.Requests[name]; request.IsZero() {
				request = limit
			}
			put(&r.Requests, name, request)
		}
		if !limited {
			if limit = containers.Limits[name]; limit.Cmp(request) < 0 {
				limit = request
			}
			put(&r.Limits, name, limit)
		}
	}
}

// DefaultResize completes the sizes of a pod that is resized: where it says itself what it has, as at a create, and
// where a container got a limit and no request.
func DefaultResize(next, old *corev1.Pod) {
	containers := func(next, old []corev1.Container) {
		for i := range min(len(next), len(old)) {
			for _, name := range resizable {
				limit, limited := next[i].Resources.Limits[name]
				_, requested := next[i].Resources.Requests[name]
				if _, had := old[i].Resources.Requests[name]; limited && !requested && !had {
					put(&next[i].Resources.Requests, name, limit)
				}
			}
		}
	}
	containers(next.Spec.InitContainers, old.Spec.InitContainers)
	containers(next.Spec.Containers, old.Spec.Containers)
	if v1alpha1.HasPodResources(&old.Spec) && next.Spec.Resources != nil {
		return // it is complete; what is missing was taken away, which is refused
	}
	defaultPodResources(&next.Spec)
}

// validatePodResources holds what a pod says of itself against its containers: together they ask for no more, and
// none may have more.
func validatePodResources(spec *corev1.PodSpec, at *field.Path) field.ErrorList {
	if !v1alpha1.HasPodResources(spec) {
		return nil
	}
	r, containers := spec.Resources, together(spec)
	errs := validateResources(r, at.Child("resources"))
	for _, name := range resizable {
		if request, sum := r.Requests[name], containers.Requests[name]; request.Sign() > 0 && request.Cmp(sum) < 0 {
			errs = append(errs, field.Invalid(at.Child("resources", "requests").Key(string(name)), request.String(),
				fmt.Sprintf("must be greater than or equal to aggregate container requests of %s", sum.String())))
		}
		bound := r.Limits[name]
		if bound.Sign() <= 0 {
			continue
		}
		for list, in := range map[string][]corev1.Container{"initContainers": spec.InitContainers, "containers": spec.Containers} {
			for i := range in {
				if limit := in[i].Resources.Limits[name]; limit.Cmp(bound) > 0 {
					errs = append(errs, field.Invalid(at.Child(list).Index(i).Child("resources", "limits").Key(string(name)), limit.String(),
						fmt.Sprintf("must be less than or equal to pod limits of %s", bound.String())))
				}
			}
		}
	}
	return errs
}

// validatePodResize checks what changes of what a pod says of itself.
func validatePodResize(next, old *corev1.PodSpec, at *field.Path) field.ErrorList {
	errs := validatePodResources(next, at)
	if next.Resources != nil && len(next.Resources.Claims) > 0 {
		errs = append(errs, field.Forbidden(at.Child("resources", "claims"), "claims may not be set for resources of a pod"))
	}
	if old.Resources == nil {
		return errs
	}
	if next.Resources == nil {
		return append(errs, field.Forbidden(at.Child("resources"), "pod-level resources cannot be removed"))
	}
	errs = append(errs, kept(next.Resources.Requests, old.Resources.Requests, at.Child("resources", "requests"))...)
	return append(errs, kept(next.Resources.Limits, old.Resources.Limits, at.Child("resources", "limits"))...)
}
