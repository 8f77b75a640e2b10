package admission

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
)

// DefaultAutosize fills in what an autosize policy leaves open.
func DefaultAutosize(p *v1alpha1.Autosize) {
	s := &p.Spec
	set(&s.Mode, v1alpha1.AutosizeAuto)
	set(&s.CPU.Percentile, v1alpha1.DefaultCPUPercentile)
	set(&s.Memory.Percentile, v1alpha1.DefaultMemoryPercentile)
	setPtr(&s.CPU.MarginPercent, int32(v1alpha1.DefaultMarginPercent))
	setPtr(&s.Memory.MarginPercent, int32(v1alpha1.DefaultMarginPercent))
	setPtr(&s.CooldownSeconds, int32(v1alpha1.DefaultCooldownSeconds))
	setPtr(&s.HistorySeconds, int32(v1alpha1.DefaultHistorySeconds))
	set(&s.ChangePercent, v1alpha1.DefaultChangePercent)
	set(&s.UpPercent, v1alpha1.DefaultUpPercent)
	set(&s.DownPercent, v1alpha1.DefaultDownPercent)
	for i := range s.Containers {
		set(&s.Containers[i].Mode, v1alpha1.AutosizeContainerAuto)
	}
}

// ValidateAutosize answers what is wrong with a defaulted autosize policy.
func ValidateAutosize(p *v1alpha1.Autosize) field.ErrorList {
	at := field.NewPath("spec")
	s := &p.Spec
	errs := supported(at.Child("mode"), s.Mode, v1alpha1.AutosizeOff, v1alpha1.AutosizeInitial, v1alpha1.AutosizeAuto)
	if w := s.Workload; w != nil {
		if w.Kind == "" {
			errs = append(errs, field.Required(at.Child("workload", "kind"), "the kind of the pods' controller, or App or Pod"))
		}
		if w.Name == "" {
			errs = append(errs, field.Required(at.Child("workload", "name"), ""))
		}
		if s.Selector != nil {
			errs = append(errs, field.Forbidden(at.Child("selector"), "may not be given with workload"))
		}
	}
	if s.Selector != nil {
		errs = append(errs, metavalidation.ValidateLabelSelector(s.Selector, metavalidation.LabelSelectorValidationOptions{}, at.Child("selector"))...)
	}
	between := func(at *field.Path, v, least, most int32) {
		if v < least || v > most {
			errs = append(errs, field.Invalid(at, v, fmt.Sprintf("must be between %d and %d", least, most)))
		}
	}
	for _, t := range []struct {
		name string
		of   *v1alpha1.AutosizeTarget
	}{{"cpu", &s.CPU}, {"memory", &s.Memory}} {
		between(at.Child(t.name, "percentile"), t.of.Percentile, 1, 100)
		between(at.Child(t.name, "marginPercent"), *t.of.MarginPercent, 0, 1000)
	}
	between(at.Child("cooldownSeconds"), *s.CooldownSeconds, 0, 7*24*3600)
	between(at.Child("historySeconds"), *s.HistorySeconds, 0, 7*24*3600)
	between(at.Child("changePercent"), s.ChangePercent, 1, 1000)
	between(at.Child("upPercent"), s.UpPercent, 1, 10_000)
	between(at.Child("downPercent"), s.DownPercent, 1, 99)
	seen := map[string]bool{}
	for i := range s.Containers {
		errs = append(errs, validateAutosizeContainer(&s.Containers[i], seen, at.Child("containers").Index(i))...)
	}
	return errs
}

var sizedResources = []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory}

func validateAutosizeContainer(c *v1alpha1.AutosizeContainer, seen map[string]bool, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case c.Name == "":
		errs = append(errs, field.Required(at.Child("name"), "a container's name, or * for those that aren't named"))
	case seen[c.Name]:
		errs = append(errs, field.Duplicate(at.Child("name"), c.Name))
	case c.Name != "*":
		for _, problem := range validation.IsDNS1123Label(c.Name) {
			errs = append(errs, field.Invalid(at.Child("name"), c.Name, problem+", or *"))
		}
	}
	seen[c.Name] = true
	errs = append(errs, supported(at.Child("mode"), c.Mode, v1alpha1.AutosizeContainerAuto, v1alpha1.AutosizeContainerOff)...)
	for i, r := range c.Resources {
		if !slices.Contains(sizedResources, r) {
			errs = append(errs, field.NotSupported(at.Child("resources").Index(i), r, sizedResources))
		} else if slices.Contains(c.Resources[:i], r) {
			errs = append(errs, field.Duplicate(at.Child("resources").Index(i), r))
		}
	}
	for _, l := range []struct {
		name string
		list corev1.ResourceList
	}{{"min", c.Min}, {"max", c.Max}} {
		errs = append(errs, validateQuantities(l.list, at.Child(l.name))...)
	}
	for _, name := range sizedResources {
		least, bounded := c.Min[name]
		most, too := c.Max[name]
		if bounded && too && most.Cmp(least) < 0 {
			errs = append(errs, field.Invalid(at.Child("max").Key(string(name)), most.String(), "must not be less than min of "+least.String()))
		}
	}
	return errs
}
