package admission

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
)

// maxSlots bounds what one policy may ask for.
const maxSlots = 100_000

// DefaultSlotPolicy fills in what a slot policy leaves open. Its template is defaulted as pods are, when it is
// used.
func DefaultSlotPolicy(p *v1alpha1.SlotPolicy) {
	set(&p.Spec.Mode, v1alpha1.SlotModeAutomatic)
	set(&p.Spec.Depth, v1alpha1.SlotDepthContainer)
	set(&p.Spec.IdleCost, v1alpha1.DefaultIdleCost)
	set(&p.Spec.ColdStartCost, v1alpha1.DefaultColdStartCost)
	for i := range p.Spec.Schedule {
		set(&p.Spec.Schedule[i].TimeZone, "UTC")
	}
}

// ValidateSlotPolicy answers what is wrong with a defaulted slot policy. Its template has to be a pod that
// this operator lets users create.
func (o Policy) ValidateSlotPolicy(p *v1alpha1.SlotPolicy) field.ErrorList {
	at := field.NewPath("spec")
	s := &p.Spec
	errs := supported(at.Child("mode"), s.Mode, v1alpha1.SlotModeAutomatic, v1alpha1.SlotModeOff)
	errs = append(errs, supported(at.Child("depth"), s.Depth, v1alpha1.SlotDepthCapacity, v1alpha1.SlotDepthSandbox, v1alpha1.SlotDepthContainer)...)
	if s.Selector != nil {
		errs = append(errs, metavalidation.ValidateLabelSelector(s.Selector, metavalidation.LabelSelectorValidationOptions{}, at.Child("selector"))...)
	}
	count := func(at *field.Path, n int32) {
		if n < 0 || n > maxSlots {
			errs = append(errs, field.Invalid(at, n, "must be between 0 and 100000"))
		}
	}
	count(at.Child("min"), s.Min)
	if s.Max != nil {
		count(at.Child("max"), *s.Max)
		if *s.Max < s.Min {
			errs = append(errs, field.Invalid(at.Child("max"), *s.Max, "must not be less than min"))
		}
	}
	for _, c := range []struct {
		name string
		cost int32
	}{{"idleCost", s.IdleCost}, {"coldStartCost", s.ColdStartCost}} {
		if c.cost < 1 || c.cost > 1_000_000 {
			errs = append(errs, field.Invalid(at.Child(c.name), c.cost, "must be between 1 and 1000000"))
		}
	}
	for i := range s.Schedule {
		w := at.Child("schedule").Index(i)
		errs = append(errs, validateWindow(&s.Schedule[i], w)...)
		count(w.Child("min"), s.Schedule[i].Min)
		if s.Max != nil && s.Schedule[i].Min > *s.Max {
			errs = append(errs, field.Invalid(w.Child("min"), s.Schedule[i].Min, "must not be more than spec.max"))
		}
	}
	if s.Template != nil {
		errs = append(errs, o.validateTemplate(s, at.Child("template"))...)
	}
	return errs
}

var weekdays = []string{"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}

func validateWindow(w *v1alpha1.SlotWindow, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, d := range w.Days {
		if !slices.Contains(weekdays, d) {
			errs = append(errs, field.NotSupported(at.Child("days").Index(i), d, weekdays))
		} else if slices.Contains(w.Days[:i], d) {
			errs = append(errs, field.Duplicate(at.Child("days").Index(i), d))
		}
	}
	for _, t := range []struct{ name, text string }{{"from", w.From}, {"to", w.To}} {
		if _, err := time.Parse("15:04", t.text); err != nil || len(t.text) != len("15:04") {
			errs = append(errs, field.Invalid(at.Child(t.name), t.text, "must be a time of day such as 08:30"))
		}
	}
	if _, err := time.LoadLocation(w.TimeZone); err != nil || w.TimeZone == "Local" {
		errs = append(errs, field.Invalid(at.Child("timeZone"), w.TimeZone, "must be a name of the IANA time zone database, such as Europe/Berlin"))
	}
	return errs
}

// validateTemplate holds the template to what holds for pods, and to the policy's selector.
func (o Policy) validateTemplate(s *v1alpha1.SlotPolicySpec, at *field.Path) field.ErrorList {
	pod := &corev1.Pod{ObjectMeta: *s.Template.ObjectMeta.DeepCopy(), Spec: *s.Template.Spec.DeepCopy()}
	pod.Name, pod.Namespace = "slot", metav1.NamespaceDefault
	DefaultPod(pod)
	errs := o.ValidatePod(pod)
	for _, e := range errs {
		e.Field = at.String() + "." + e.Field
	}
	if s.Template.Spec.NodeName != "" {
		errs = append(errs, field.Forbidden(at.Child("spec", "nodeName"), "slots are placed"))
	}
	return errs
}
