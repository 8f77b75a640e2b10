package admission

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What of an affinity is honoured.
var (
	nodeTermFields = append(
		below("matchExpressions/*", "key", "operator", "values/**"),
		below("matchFields/*", "key", "operator", "values/**")...)
	podTermFields = append([]string{"namespaces/**", "topologyKey", "matchLabelKeys/**", "mismatchLabelKeys/**"},
		append(below("labelSelector", selectorFields...), below("namespaceSelector", selectorFields...)...)...)
	selectorFields = []string{"matchLabels/**", "matchExpressions/*/key", "matchExpressions/*/operator", "matchExpressions/*/values/**"}
	spreadFields   = append([]string{
		"maxSkew", "topologyKey", "whenUnsatisfiable", "minDomains", "nodeAffinityPolicy", "nodeTaintsPolicy", "matchLabelKeys/**",
	}, below("labelSelector", selectorFields...)...)
)

func validateAffinity(a *corev1.Affinity, at *field.Path) field.ErrorList {
	if a == nil {
		return nil
	}
	var errs field.ErrorList
	if n := a.NodeAffinity; n != nil {
		at := at.Child("nodeAffinity")
		if r := n.RequiredDuringSchedulingIgnoredDuringExecution; r != nil {
			at := at.Child("requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
			if len(r.NodeSelectorTerms) == 0 {
				errs = append(errs, field.Required(at, "must have at least one node selector term"))
			}
			for i := range r.NodeSelectorTerms {
				errs = append(errs, validateNodeTerm(&r.NodeSelectorTerms[i], at.Index(i))...)
			}
		}
		for i := range n.PreferredDuringSchedulingIgnoredDuringExecution {
			t, at := &n.PreferredDuringSchedulingIgnoredDuringExecution[i], at.Child("preferredDuringSchedulingIgnoredDuringExecution").Index(i)
			errs = append(errs, validateWeight(t.Weight, at)...)
			errs = append(errs, validateNodeTerm(&t.Preference, at.Child("preference"))...)
		}
	}
	if p := a.PodAffinity; p != nil {
		errs = append(errs, validatePodTerms(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAffinity"))...)
	}
	if p := a.PodAntiAffinity; p != nil {
		errs = append(errs, validatePodTerms(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAntiAffinity"))...)
	}
	return errs
}

func validateWeight(w int32, at *field.Path) field.ErrorList {
	if w < 1 || w > 100 {
		return field.ErrorList{field.Invalid(at.Child("weight"), w, "must be in the range 1-100")}
	}
	return nil
}

func validateNodeTerm(t *corev1.NodeSelectorTerm, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, r := range t.MatchExpressions {
		at := at.Child("matchExpressions").Index(i)
		values := at.Child("values")
		switch r.Operator {
		case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
			if len(r.Values) == 0 {
				errs = append(errs, field.Required(values, "must be specified when `operator` is 'In' or 'NotIn'"))
			}
		case corev1.NodeSelectorOpExists, corev1.NodeSelectorOpDoesNotExist:
			if len(r.Values) > 0 {
				errs = append(errs, field.Forbidden(values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
			}
		case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
			if len(r.Values) != 1 {
				errs = append(errs, field.Required(values, "must be specified single value when `operator` is 'Lt' or 'Gt'"))
			}
		default:
			errs = append(errs, field.Invalid(at.Child("operator"), r.Operator, "not a valid selector operator"))
		}
		errs = append(errs, metavalidation.ValidateLabelName(r.Key, at.Child("key"))...)
		for j, v := range r.Values {
			errs = append(errs, invalid(values.Index(j), v, validation.IsValidLabelValue(v))...)
		}
	}
	for i, r := range t.MatchFields {
		at := at.Child("matchFields").Index(i)
		if r.Operator != corev1.NodeSelectorOpIn && r.Operator != corev1.NodeSelectorOpNotIn {
			errs = append(errs, field.Invalid(at.Child("operator"), r.Operator, "not a valid selector operator"))
		} else if len(r.Values) != 1 {
			errs = append(errs, field.Required(at.Child("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"))
		}
		if r.Key != metav1.ObjectNameField {
			errs = append(errs, field.Invalid(at.Child("key"), r.Key, "not a valid field selector key"))
		}
	}
	return errs
}

func validatePodTerms(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range required {
		errs = append(errs, validatePodTerm(&required[i], at.Child("requiredDuringSchedulingIgnoredDuringExecution").Index(i))...)
	}
	for i := range preferred {
		at := at.Child("preferredDuringSchedulingIgnoredDuringExecution").Index(i)
		errs = append(errs, validateWeight(preferred[i].Weight, at)...)
		errs = append(errs, validatePodTerm(&preferred[i].PodAffinityTerm, at.Child("podAffinityTerm"))...)
	}
	return errs
}

// refuseNamespaces refuses rules that select namespaces by their labels.
func refuseNamespaces(a *corev1.Affinity, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	look := func(t *corev1.PodAffinityTerm, at *field.Path) {
		if s := t.NamespaceSelector; s != nil && len(s.MatchLabels)+len(s.MatchExpressions) > 0 {
			errs = append(errs, field.Forbidden(at.Child("namespaceSelector"), "only {}, which is all namespaces, is supported by Swell: name the others in `namespaces`"))
		}
	}
	each := func(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm, at *field.Path) {
		for i := range required {
			look(&required[i], at.Child("requiredDuringSchedulingIgnoredDuringExecution").Index(i))
		}
		for i := range preferred {
			look(&preferred[i].PodAffinityTerm, at.Child("preferredDuringSchedulingIgnoredDuringExecution").Index(i).Child("podAffinityTerm"))
		}
	}
	if a == nil {
		return nil
	}
	if p := a.PodAffinity; p != nil {
		each(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAffinity"))
	}
	if p := a.PodAntiAffinity; p != nil {
		each(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAntiAffinity"))
	}
	return errs
}

func validatePodTerm(t *corev1.PodAffinityTerm, at *field.Path) field.ErrorList {
	errs := validateSelector(t.LabelSelector, at.Child("labelSelector"))
	for i, ns := range t.Namespaces {
		errs = append(errs, invalid(at.Child("namespaces").Index(i), ns, validation.IsDNS1123Label(ns))...)
	}
	if t.TopologyKey == "" {
		errs = append(errs, field.Required(at.Child("topologyKey"), "can not be empty"))
	} else {
		errs = append(errs, metavalidation.ValidateLabelName(t.TopologyKey, at.Child("topologyKey"))...)
	}
	return append(errs, validateLabelKeys(t.LabelSelector, t.MatchLabelKeys, t.MismatchLabelKeys, at)...)
}

func validateSelector(s *metav1.LabelSelector, at *field.Path) field.ErrorList {
	return metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{}, at)
}

// validateLabelKeys checks the keys whose values a rule takes over from the pod.
func validateLabelKeys(s *metav1.LabelSelector, match, mismatch []string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s == nil && len(match) > 0 {
		errs = append(errs, field.Forbidden(at.Child("matchLabelKeys"), "must not be specified when labelSelector is not set"))
	}
	if s == nil && len(mismatch) > 0 {
		errs = append(errs, field.Forbidden(at.Child("mismatchLabelKeys"), "must not be specified when labelSelector is not set"))
	}
	used := sets.New[string]()
	if s != nil {
		for k := range s.MatchLabels {
			used.Insert(k)
		}
		for _, r := range s.MatchExpressions {
			used.Insert(r.Key)
		}
	}
	for _, list := range []struct {
		name string
		keys []string
	}{{"matchLabelKeys", match}, {"mismatchLabelKeys", mismatch}} {
		for i, k := range list.keys {
			at := at.Child(list.name).Index(i)
			errs = append(errs, metavalidation.ValidateLabelName(k, at)...)
			if used.Has(k) {
				errs = append(errs, field.Invalid(at, k, "exists in both matchLabelKeys or mismatchLabelKeys and labelSelector, or twice"))
			}
			used.Insert(k)
		}
	}
	return errs
}

func validateSpread(list []corev1.TopologySpreadConstraint, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := sets.New[string]()
	for i := range list {
		t, at := &list[i], at.Index(i)
		if t.MaxSkew <= 0 {
			errs = append(errs, field.Invalid(at.Child("maxSkew"), t.MaxSkew, "must be greater than 0"))
		}
		if t.TopologyKey == "" {
			errs = append(errs, field.Required(at.Child("topologyKey"), "can not be empty"))
		} else {
			errs = append(errs, metavalidation.ValidateLabelName(t.TopologyKey, at.Child("topologyKey"))...)
		}
		errs = append(errs, supported(at.Child("whenUnsatisfiable"), t.WhenUnsatisfiable, corev1.DoNotSchedule, corev1.ScheduleAnyway)...)
		if key := fmt.Sprintf("{%s, %s}", t.TopologyKey, t.WhenUnsatisfiable); seen.Has(key) {
			errs = append(errs, field.Duplicate(at.Child("{topologyKey, whenUnsatisfiable}"), key))
		} else {
			seen.Insert(key)
		}
		if d := t.MinDomains; d != nil {
			if *d <= 0 {
				errs = append(errs, field.Invalid(at.Child("minDomains"), *d, "must be greater than 0"))
			}
			if t.WhenUnsatisfiable != corev1.DoNotSchedule {
				errs = append(errs, field.Invalid(at.Child("minDomains"), *d, fmt.Sprintf("can only use minDomains if whenUnsatisfiable=%s, not %s", corev1.DoNotSchedule, t.WhenUnsatisfiable)))
			}
		}
		if p := t.NodeAffinityPolicy; p != nil {
			errs = append(errs, supported(at.Child("nodeAffinityPolicy"), *p, corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore)...)
		}
		if p := t.NodeTaintsPolicy; p != nil {
			errs = append(errs, supported(at.Child("nodeTaintsPolicy"), *p, corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore)...)
		}
		errs = append(errs, validateSelector(t.LabelSelector, at.Child("labelSelector"))...)
		errs = append(errs, validateLabelKeys(t.LabelSelector, t.MatchLabelKeys, nil, at)...)
	}
	return errs
}
