package admission

import (
	corev1 "k8s.io/api/core/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
)

// ValidateStartupBoost answers what is wrong with a policy.
func ValidateStartupBoost(p *v1alpha1.StartupBoost) field.ErrorList {
	at := field.NewPath("spec")
	s := &p.Spec
	var errs field.ErrorList
	if s.Selector != nil {
		errs = append(errs, metavalidation.ValidateLabelSelector(s.Selector, metavalidation.LabelSelectorValidationOptions{}, at.Child("selector"))...)
	}
	switch {
	case s.CPU != "":
		errs = append(errs, validateBoost(s.CPU, s.For, at)...)
	case len(s.Containers) == 0:
		errs = append(errs, field.Required(at.Child("cpu"), "must be a quantity such as 2 or 1500m, or a multiple such as 3x, unless there are spec.containers"))
	case s.For != "":
		errs = append(errs, field.Forbidden(at.Child("for"), "is of spec.cpu, which isn't set; a container has its own"))
	}
	seen := map[string]bool{}
	for i, c := range s.Containers {
		at := at.Child("containers").Index(i)
		errs = append(errs, invalid(at.Child("name"), c.Name, validation.IsDNS1123Label(c.Name))...)
		if seen[c.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), c.Name))
		}
		seen[c.Name] = true
		errs = append(errs, validateBoost(c.CPU, c.For, at)...)
	}
	return errs
}

func validateBoost(cpu v1alpha1.BoostCPU, limit string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	cpuErr, limitErr := v1alpha1.ValidateBoost(cpu, limit)
	if cpuErr != nil {
		errs = append(errs, field.Invalid(at.Child("cpu"), string(cpu), cpuErr.Error()))
	}
	if limitErr != nil {
		errs = append(errs, field.Invalid(at.Child("for"), limit, limitErr.Error()))
	}
	return errs
}

// validateBoostOf checks the pod's annotation, which names its containers.
func validateBoostOf(pod *corev1.Pod, annotations *field.Path) field.ErrorList {
	if err := v1alpha1.CheckBoosts(pod); err != nil {
		key := v1alpha1.AnnotationStartupBoost
		return field.ErrorList{field.Invalid(annotations.Key(key), pod.Annotations[key], err.Error())}
	}
	return nil
}
