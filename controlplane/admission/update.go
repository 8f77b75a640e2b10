package admission

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
)

// ValidatePodUpdate answers what is wrong with an update of a pod. Its spec may not change, but for images, a
// deadline that becomes shorter and tolerations that are added. What doesn't change isn't judged again: a
// pod that was let in can be labelled and let go by whatever rules hold today.
func ValidatePodUpdate(next, old *corev1.Pod) field.ErrorList {
	errs := apivalidation.ValidateObjectMetaUpdate(&next.ObjectMeta, &old.ObjectMeta, field.NewPath("metadata"))
	errs = append(errs, ValidateMeta(next)...)
	if next.Annotations[v1alpha1.AnnotationAllocated] != old.Annotations[v1alpha1.AnnotationAllocated] {
		errs = append(errs, field.Forbidden(field.NewPath("metadata", "annotations").Key(v1alpha1.AnnotationAllocated), "only the control plane changes it"))
	}
	for _, key := range []string{v1alpha1.AnnotationComputeClass, v1alpha1.AnnotationQoS} {
		if next.Annotations[key] != old.Annotations[key] {
			errs = append(errs, field.Forbidden(field.NewPath("metadata", "annotations").Key(key), "a running pod's class and quality of service can't change"))
		}
	}
	return append(errs, validateSpecUpdate(&next.Spec, &old.Spec)...)
}

// validateSpecUpdate checks what may change, takes it back, and holds the rest to be the same.
func validateSpecUpdate(next, old *corev1.PodSpec) field.ErrorList {
	at := field.NewPath("spec")
	same := next.DeepCopy()
	errs, ok := validateContainerUpdates(same.Containers, old.Containers, at.Child("containers"))
	if !ok {
		return errs
	}
	initErrs, ok := validateContainerUpdates(same.InitContainers, old.InitContainers, at.Child("initContainers"))
	if errs = append(errs, initErrs...); !ok {
		return errs
	}
	same.ActiveDeadlineSeconds = old.ActiveDeadlineSeconds
	switch d, was, p := next.ActiveDeadlineSeconds, old.ActiveDeadlineSeconds, at.Child("activeDeadlineSeconds"); {
	case d == nil && was != nil:
		errs = append(errs, field.Invalid(p, nil, "must not update from a positive integer to nil value"))
	case d == nil:
	case *d < 1 || *d > 1<<31-1:
		errs = append(errs, field.Invalid(p, *d, validation.InclusiveRangeError(1, 1<<31-1)))
	case was != nil && *d > *was:
		errs = append(errs, field.Invalid(p, *d, "must be less than or equal to previous value"))
	}
	same.Tolerations = old.Tolerations
	if !tolerationsKept(next.Tolerations, old.Tolerations) {
		errs = append(errs, field.Forbidden(at.Child("tolerations"), "existing toleration can not be modified except its tolerationSeconds"))
	} else if !equality.Semantic.DeepEqual(next.Tolerations, old.Tolerations) {
		errs = append(errs, validateTolerations(next.Tolerations, at.Child("tolerations"))...)
	}
	if !equality.Semantic.DeepEqual(same.Resources, old.Resources) {
		errs = append(errs, field.Forbidden(at.Child("resources"), "pod resources change by the resize subresource only"))
		same.Resources = old.Resources
	}
	if !equality.Semantic.DeepEqual(same, old) {
		errs = append(errs, field.Forbidden(at, "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations)"))
	}
	return errs
}

// validateContainerUpdates takes allowed changes back in next. It reports false where the lists can't be
// compared.
func validateContainerUpdates(next, old []corev1.Container, at *field.Path) (errs field.ErrorList, ok bool) {
	if len(next) != len(old) {
		return field.ErrorList{field.Forbidden(at, "pod updates may not add or remove containers")}, false
	}
	for i := range next {
		n, o, at := &next[i], &old[i], at.Index(i)
		if n.Image != o.Image {
			errs = append(errs, validateImage(n.Image, at.Child("image"))...)
			n.Image = o.Image
		}
		if !equality.Semantic.DeepEqual(n.Resources, o.Resources) {
			errs = append(errs, field.Forbidden(at.Child("resources"), "pod resources change by the resize subresource only"))
			n.Resources = o.Resources
		}
	}
	return errs, true
}

// tolerationsKept reports that none of the old ones is missing; how long one lasts may change.
func tolerationsKept(next, old []corev1.Toleration) bool {
	for _, o := range old {
		if !slices.ContainsFunc(next, func(n corev1.Toleration) bool {
			n.TolerationSeconds = o.TolerationSeconds
			return equality.Semantic.DeepEqual(o, n)
		}) {
			return false
		}
	}
	return true
}

// ValidateResize answers what is wrong with a resize. next differs from old in nothing but the requests
// and limits of containers and of the pod itself; that its QoS class stays is for the caller to see.
func ValidateResize(next, old *corev1.Pod) field.ErrorList {
	errs := validateTotal(&next.Spec, field.NewPath("spec"))
	errs = append(errs, validatePodResize(&next.Spec, &old.Spec, field.NewPath("spec"))...)
	for _, s := range old.Status.ContainerStatuses {
		if s.State.Running == nil {
			continue
		}
		if s.Resources == nil {
			errs = append(errs, field.Forbidden(field.NewPath("spec"), "Pod running on node without support for resize"))
		}
		break // as in Kubernetes, the first tells
	}
	errs = append(errs, validateResizes(next.Spec.Containers, old.Spec.Containers, &old.Spec, field.NewPath("spec", "containers"))...)
	at := field.NewPath("spec", "initContainers")
	errs = append(errs, validateResizes(next.Spec.InitContainers, old.Spec.InitContainers, &old.Spec, at)...)
	for i := range next.Spec.InitContainers {
		c := &next.Spec.InitContainers[i]
		if i >= len(old.Spec.InitContainers) || v1alpha1.Sidecar(c) || equality.Semantic.DeepEqual(c.Resources, old.Spec.InitContainers[i].Resources) {
			continue
		}
		for _, p := range c.ResizePolicy { // one that has run isn't run again
			if p.RestartPolicy == corev1.RestartContainer {
				errs = append(errs, field.Forbidden(at.Index(i), "non-sidecar init containers with a resize policy of RestartContainer cannot be resized"))
			}
		}
	}
	return errs
}

func validateResizes(next, old []corev1.Container, spec *corev1.PodSpec, at *field.Path) field.ErrorList {
	if len(next) != len(old) {
		return field.ErrorList{field.Forbidden(at, "containers may not be added or removed on resize")}
	}
	var errs field.ErrorList
	for i := range next {
		n, o, at := &next[i], &old[i], at.Index(i)
		if n.Name != o.Name {
			errs = append(errs, field.Forbidden(at.Child("name"), "containers may not be renamed or reordered on resize"))
			continue
		}
		if !equality.Semantic.DeepEqual(n.ResizePolicy, o.ResizePolicy) {
			errs = append(errs, field.Forbidden(at.Child("resizePolicy"), "may not be changed"))
		}
		if equality.Semantic.DeepEqual(n.Resources, o.Resources) {
			continue
		}
		at = at.Child("resources")
		errs = append(errs, validateResources(&n.Resources, at)...)
		errs = append(errs, kept(n.Resources.Requests, o.Resources.Requests, at.Child("requests"))...)
		errs = append(errs, kept(n.Resources.Limits, o.Resources.Limits, at.Child("limits"))...)
		if spec.RestartPolicy == corev1.RestartPolicyNever {
			for _, p := range o.ResizePolicy {
				if p.RestartPolicy == corev1.RestartContainer && changes(n, o, p.ResourceName) {
					errs = append(errs, field.Forbidden(at, fmt.Sprintf("%s needs a restart to change, and the pod's restartPolicy is Never", p.ResourceName)))
				}
			}
		}
	}
	return errs
}

// kept refuses to take a request or a limit away.
func kept(next, old corev1.ResourceList, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if _, ok := next[name]; !ok {
			errs = append(errs, field.Forbidden(at, fmt.Sprintf("resource %s cannot be removed", name)))
		}
	}
	return errs
}

func changes(next, old *corev1.Container, name corev1.ResourceName) bool {
	differ := func(a, b corev1.ResourceList) bool { x, y := a[name], b[name]; return x.Cmp(y) != 0 }
	return differ(next.Resources.Requests, old.Resources.Requests) || differ(next.Resources.Limits, old.Resources.Limits)
}
