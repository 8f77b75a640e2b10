package admission

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
)

// ValidatePodUpdate answers what is wrong with an update of a pod. Its spec may not change, but for a
// deadline that becomes shorter and tolerations that are added.
func ValidatePodUpdate(next, old *corev1.Pod) field.ErrorList {
	errs := apivalidation.ValidateObjectMetaUpdate(&next.ObjectMeta, &old.ObjectMeta, field.NewPath("metadata"))
	errs = append(errs, validateMeta(next)...)
	if next.Annotations[v1alpha1.AnnotationAllocated] != old.Annotations[v1alpha1.AnnotationAllocated] {
		errs = append(errs, field.Forbidden(field.NewPath("metadata", "annotations").Key(v1alpha1.AnnotationAllocated), "only the control plane changes it"))
	}
	for _, key := range []string{v1alpha1.AnnotationComputeClass, v1alpha1.AnnotationQoS} {
		if next.Annotations[key] != old.Annotations[key] {
			errs = append(errs, field.Forbidden(field.NewPath("metadata", "annotations").Key(key), "a running pod's class and quality of service can't change"))
		}
	}
	at := field.NewPath("spec")
	if len(next.Spec.Containers) != len(old.Spec.Containers) {
		return append(errs, field.Forbidden(at.Child("containers"), "pod updates may not add or remove containers"))
	}
	same := next.Spec.DeepCopy()
	if d, was := next.Spec.ActiveDeadlineSeconds, old.Spec.ActiveDeadlineSeconds; d != nil && (was == nil || *d <= *was) {
		if *d < 1 {
			errs = append(errs, field.Invalid(at.Child("activeDeadlineSeconds"), *d, "must be greater than 0"))
		}
		same.ActiveDeadlineSeconds = was
	}
	if tolerationsAdded(next.Spec.Tolerations, old.Spec.Tolerations) {
		same.Tolerations = old.Spec.Tolerations
	}
	for i := range same.Containers {
		if same.Containers[i].Image != old.Spec.Containers[i].Image {
			errs = append(errs, field.Forbidden(at.Child("containers").Index(i).Child("image"), "Swell does not change the image of a running pod: create a new one"))
			same.Containers[i].Image = old.Spec.Containers[i].Image
		}
		if !equality.Semantic.DeepEqual(same.Containers[i].Resources, old.Spec.Containers[i].Resources) {
			errs = append(errs, field.Forbidden(at.Child("containers").Index(i).Child("resources"), "pod resources change by the resize subresource only"))
			same.Containers[i].Resources = old.Spec.Containers[i].Resources
		}
	}
	if !equality.Semantic.DeepEqual(*same, old.Spec) {
		errs = append(errs, field.Forbidden(at, "pod updates may not change fields other than `spec.activeDeadlineSeconds` and `spec.tolerations` (only additions to existing tolerations)"))
	}
	return errs
}

func tolerationsAdded(next, old []corev1.Toleration) bool {
	for _, o := range old {
		found := false
		for _, n := range next {
			found = found || equality.Semantic.DeepEqual(o, n)
		}
		if !found {
			return false
		}
	}
	return true
}

// ValidateResize answers what is wrong with a resize. next differs from old in nothing but the requests
// and limits of containers; that its QoS class stays is for the caller to see.
func ValidateResize(next, old *corev1.Pod) field.ErrorList {
	at := field.NewPath("spec", "containers")
	if len(next.Spec.Containers) != len(old.Spec.Containers) {
		return field.ErrorList{field.Forbidden(at, "containers may not be added or removed by a resize")}
	}
	var errs field.ErrorList
	for i := range next.Spec.Containers {
		n, o, at := &next.Spec.Containers[i], &old.Spec.Containers[i], at.Index(i)
		if n.Name != o.Name {
			errs = append(errs, field.Forbidden(at.Child("name"), "containers may not be renamed or reordered by a resize"))
			continue
		}
		if equality.Semantic.DeepEqual(n.Resources, o.Resources) {
			continue
		}
		at = at.Child("resources")
		errs = append(errs, validateResources(&n.Resources, at)...)
		errs = append(errs, kept(n.Resources.Requests, o.Resources.Requests, at.Child("requests"))...)
		errs = append(errs, kept(n.Resources.Limits, o.Resources.Limits, at.Child("limits"))...)
		if !equality.Semantic.DeepEqual(n.ResizePolicy, o.ResizePolicy) {
			errs = append(errs, field.Forbidden(field.NewPath("spec", "containers").Index(i).Child("resizePolicy"), "may not be changed"))
		}
		if old.Spec.RestartPolicy == corev1.RestartPolicyNever {
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
	for name := range old {
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
